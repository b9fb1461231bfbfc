"""What Quant Search's page says in words, against a server as it is started."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.end_to_end.product import Client, Product

SITE = "promised-site"
PAGES = f"/organisations/acme/ai-search/sites/{SITE}/pages"


@pytest.fixture(scope="module")
def client(product: Product) -> Iterator[Client]:
    client = product.client()
    yield client
    client.close()


def ingest(client: Client, *pages: dict[str, Any]) -> None:
    answer = client.ok("POST", PAGES, {"pages": pages}, {"wait": "true"})
    assert answer["processed"] == len(pages), answer


def found(client: Client, query: str, url: str, **options: Any) -> dict[str, Any]:
    (hit,) = client.search(SITE, query, url=url, **options)
    return hit


def html(title: str, body: str) -> str:
    return (
        f"<!doctype html><html><head><title>{title}</title></head><body>"
        "<nav><a href='/'>Home</a> <a href='/prices'>Subscribe to our newsletter</a></nav>"
        f"<header>Cookie banner</header><main><h1>{title}</h1>{body}</main>"
        "<footer>All rights reserved, Lighthouse Ltd.</footer></body></html>"
    )


BODY = (
    "<p>The lighthouse was built in 1884 and is painted in red and white stripes.</p>"
    "<p>Visitors may climb its two hundred steps every Sunday between April and October, "
    "and see the whole of the bay from the gallery.</p>"
)


@pytest.mark.requirement("Q-05", "Q-09")
def test_html_gives_its_title_and_loses_what_surrounds_its_content(client: Client) -> None:
    url = "https://site.example/lighthouse"
    ingest(client, {"url": url, "content": html("The lighthouse of Arden", BODY)})
    hit = found(client, "lighthouse stripes", url)
    assert hit["title"] == "The lighthouse of Arden"
    passages = client.ok("GET", f"/documents/{hit['documentId']}/passages")["passages"]
    text = " ".join(passage["text"] for passage in passages)
    assert "two hundred steps" in text
    for surrounding in ("newsletter", "Cookie banner", "rights reserved"):
        assert surrounding not in text


@pytest.mark.requirement("Q-09")
def test_html_is_cleaned_whatever_is_sent_with_it(client: Client) -> None:
    url = "https://site.example/whole"
    given = {"title": "Our own title", "summary": "Our own summary.", "tags": ["our", "own"]}
    ingest(client, {"url": url, "content": html("Another title", BODY)} | given)
    hit = found(client, "lighthouse stripes", url)
    assert {name: hit[name] for name in given} == given
    passages = client.ok("GET", f"/documents/{hit['documentId']}/passages")["passages"]
    assert not [passage for passage in passages if "newsletter" in passage["text"]]


@pytest.mark.requirement("Q-10")
def test_what_was_not_sent_is_found_in_the_content(client: Client) -> None:
    url = "https://site.example/plain"
    content = (
        "Tide tables for Arden bay\n\nThe tide tables show high water and low water for each "
        "day. Spring tides come with the new moon and the full moon. The tide turns every six "
        "hours, and tide tables are printed each January."
    )
    ingest(client, {"url": url, "content": content})
    hit = found(client, "when is high water", url)
    assert hit["title"]
    assert hit["summary"]
    assert hit["summary"].split()[0] in content
    assert any("tide" in tag.lower() for tag in hit["tags"])


@pytest.mark.requirement("Q-11")
def test_a_long_page_is_searched_by_its_passages(client: Client) -> None:
    url = "https://site.example/long"
    sections = "".join(
        f"<h2>{subject}</h2><p>{f'All that we know of the {subject} in this place. ' * 30}</p>"
        for subject in ("harbour", "windmill", "orchard")
    )
    ingest(client, {"url": url, "content": html("A long page", sections)})
    hit = found(client, "windmill", url)
    assert "windmill" in hit["text"]
    assert "orchard" not in hit["text"]


@pytest.mark.requirement("Q-12")
def test_a_page_is_found_by_words_that_it_does_not_use(client: Client) -> None:
    url = "https://site.example/heart"
    content = "Physicians recommend a daily stroll for cardiac wellbeing."
    ingest(client, {"url": url, "content": content})
    hits = client.search(SITE, "doctors say walking is healthy for the heart", mode="vector")
    assert hits[0]["url"] == url


@pytest.mark.requirement("Q-06", "Q-07", "Q-19")
def test_summary_and_tags_are_shown_and_tags_count_for_relevance(client: Client) -> None:
    same = {"title": "Notes", "content": "Some notes.", "summary": "Notes of ours."}
    plain, tagged = "https://site.example/untagged", "https://site.example/tagged"
    ingest(
        client,
        same | {"url": plain, "tags": ["general"]},
        same | {"url": tagged, "tags": ["beekeeping"]},
    )
    first = client.search(SITE, "beekeeping notes")[0]
    assert (first["url"], first["summary"], first["tags"]) == (
        tagged,
        "Notes of ours.",
        ["beekeeping"],
    )
    assert [hit["url"] for hit in client.search(SITE, "notes", tags="beekeeping")] == [tagged]


@pytest.mark.requirement("Q-16", "Q-17", "Q-18")
def test_a_page_is_replaced_and_removed_by_its_exact_url(client: Client) -> None:
    url, neighbour = "https://site.example/turbine", "https://site.example/turbine/"
    ingest(client, {"url": url, "content": "The turbine spins."})
    ingest(
        client,
        {"url": url, "content": "The turbine stands still."},
        {"url": neighbour, "content": "A neighbour of the turbine."},
    )
    texts = {hit["url"]: hit["text"] for hit in client.search(SITE, "turbine", mode="text")}
    assert texts == {url: "The turbine stands still.", neighbour: "A neighbour of the turbine."}

    for inexact in (url.upper(), url + "?", url + "#top", "/turbine"):
        assert client.ok("DELETE", PAGES, {"url": inexact})["deleted"] == 0
    assert client.ok("DELETE", PAGES, {"url": url})["deleted"] == 1
    hits = client.search(SITE, "turbine", mode="text")
    assert [hit["url"] for hit in hits] == [neighbour]

"""Titles, summaries and tags of pages that come without, for a person to judge.

    python -m benchmarks.found_metadata

Forty of the PostgreSQL pages, evenly out of the manifest, are pushed as Quant Search's clients
do, with nothing but url and content. Titles have to be those of the pages; summaries and tags
are shown. The method was made on the demo's content and on Debian's manuals of git, Apache,
Borg and SQLite, and not changed for what is seen here. Then the same pages are pushed as plain
text with everything, which no extractor may run for.
"""

from collections.abc import Sequence

from benchmarks.postgresql_pages import BASE_URL, Page, postgresql_pages
from benchmarks.results import BenchmarkFailed, Result, show
from benchmarks.server import Client, running_server

PAGES = 40
SITE = "found-metadata"
EXTRACTED = "reaktly_documents_extracted_total"


def run() -> list[Result]:
    """Push the pages both ways; titles and extractions are judged, the rest is shown."""
    pages = _chosen(postgresql_pages())
    with running_server() as server, server.client(timeout=600.0) as client:
        before = client.metrics().get(EXTRACTED, 0.0)
        _push(client, [{"url": BASE_URL + page.path, "content": page.html} for page in pages])
        extracted = client.metrics()[EXTRACTED] - before
        found = {str(entry["url"]): entry for entry in _documents(client)}
        shown = [_shown(page, found[BASE_URL + page.path]) for page in pages]
        equal = sum(found[BASE_URL + page.path]["title"] == page.title for page in pages)
        before += extracted
        _push(client, [_whole(page, found[BASE_URL + page.path]) for page in pages])
        needless = client.metrics()[EXTRACTED] - before
    return [
        Result(
            "found-titles",
            "titles that are those of the pages",
            equal,
            f"of {PAGES}",
            f"{PAGES} of {PAGES}",
            equal == PAGES,
            f"HTML without title, summary and tags; {extracted:.0f} extractions",
        ),
        Result(
            "needless-extractions",
            "extractions of plain text that has all three",
            needless,
            "",
            "0",
            needless == 0,
            f"{PAGES} pages, counted by the worker",
        ),
        *shown,
    ]


def _chosen(pages: Sequence[Page]) -> list[Page]:
    return [pages[place * len(pages) // PAGES] for place in range(PAGES)]


def _push(client: Client, pages: Sequence[dict[str, object]]) -> None:
    answer = client.post(f"/sites/{SITE}/pages?wait=true", {"pages": pages})
    if answer["processed"] != len(pages):
        raise BenchmarkFailed(f"of {len(pages)} pages became: {answer}")


def _documents(client: Client) -> list[dict[str, object]]:
    listed = client.get(f"/documents?knowledgeBaseId={SITE}&limit=100")["documents"]
    return [client.get(f"/documents/{entry['documentId']}") for entry in listed]


def _whole(page: Page, found: dict[str, object]) -> dict[str, object]:
    return {
        "url": BASE_URL + page.path,
        "content": f"{found['title']}. {found['summary']}",
        "contentType": "text/plain",
        "title": page.title,
        "summary": found["summary"],
        "tags": found["tags"],
    }


def _shown(page: Page, found: dict[str, object]) -> Result:
    tags = found["tags"]
    assert isinstance(tags, list)
    return Result(
        f"found-{page.path}",
        str(found["title"]),
        len(tags),
        "tags",
        detail=f"{', '.join(tags)}. — {found['summary']}",
    )


if __name__ == "__main__":
    raise SystemExit(show(run()))

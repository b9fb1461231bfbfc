"""What did not change is not embedded again, whichever store has the vectors."""

import pytest

from tests.end_to_end.product import Client, Identity, Product, item

pytestmark = pytest.mark.timeout(180)

BASE = "unchanged"
HANDBOOK = Identity(BASE, "cms", "handbook")
SECTIONS = [
    f"# Part {number}\n\nWater bed {number} of the walled garden at dusk." for number in range(5)
]


def handbook(sections: list[str], price: int = 1) -> dict[str, object]:
    content = "\n\n".join(sections)
    return item(HANDBOOK, content, contentType="text/markdown", sourceData={"price": price})


def embedded_by(client: Client, pushed: dict[str, object]) -> float:
    """How many chunks are embedded until the push can be found."""
    before = client.counter("reaktly_chunks_embedded_total")
    client.push(pushed, wait=True)
    return client.counter("reaktly_chunks_embedded_total") - before


def test_only_what_changed_is_embedded(served: Product) -> None:
    client = served.shared_client
    assert embedded_by(client, handbook(SECTIONS)) == len(SECTIONS)
    assert embedded_by(client, handbook(SECTIONS)) == 0
    assert embedded_by(client, handbook(SECTIONS, price=2)) == 0
    (found,) = client.search(BASE, "water bed", **{"sourceData.price": {"gte": 2}})  # type: ignore[arg-type]
    assert found["sourceData"] == {"price": 2}

    edited = [*SECTIONS[:2], "# Part 2\n\nHarvest quinces before the frost.", *SECTIONS[3:]]
    assert embedded_by(client, handbook(edited, price=2)) == 1
    (found,) = client.search(BASE, "harvest quinces", mode="text")
    assert "quinces" in found["passages"][0]["text"]
    passages = client.ok("GET", f"/documents/{found['documentId']}/passages")["passages"]
    assert len(passages) == len(SECTIONS)

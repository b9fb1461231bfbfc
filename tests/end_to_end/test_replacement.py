"""Replacement without a gap, on a real server; `benchmarks/replacement.py` does it at length."""

import pytest

from benchmarks.replacement import MODES, observe, wrong_with
from benchmarks.server import Client
from tests.end_to_end.product import Product

pytestmark = pytest.mark.timeout(240)

# A short run: `python -m benchmarks.replacement` makes 1,000 and 10,000 of them.
REPLACEMENTS = 60
SEARCHES = 600


def test_each_search_finds_exactly_one_version_while_documents_are_replaced(
    served: Product,
) -> None:
    observed = observe(
        lambda: Client(served.port, served.key),
        replacements=REPLACEMENTS,
        searches=SEARCHES,
        time_limit=200,
    )
    assert observed.faults == []
    assert observed.replacements >= REPLACEMENTS
    assert all(observed.searches[mode] >= SEARCHES / len(MODES) / 2 for mode in MODES)
    assert observed.overlapping > SEARCHES / 10, "there was something to go wrong"


def result(*releases: int, external_id: str = "engines/1", metadata: int = 7) -> dict[str, object]:
    passages = [{"text": f"see release-{release} of the notes"} for release in releases]
    return {
        "externalId": external_id,
        "passages": passages,
        "sourceData": {"release": metadata},
    }


@pytest.mark.parametrize(
    ("results", "fault"),
    [
        ([], "0 results"),
        ([result(7), result(8)], "2 results"),
        ([result(7, external_id="engines/2")], "1 results"),
        ([result(7, 8)], "passages of versions"),
        ([result()], "passages of versions"),
        ([result(8)], "with the metadata of"),
        ([result(6, metadata=6)], "not one of 7 to 9"),
        ([result(10, metadata=10)], "not one of 7 to 9"),
    ],
)
def test_a_search_that_shows_less_or_more_than_one_version_is_a_fault(
    results: list[dict[str, object]], fault: str
) -> None:
    found = wrong_with(results, 1, oldest=7, newest=9)
    assert found is not None
    assert fault in found
    assert wrong_with([result(7, 7)], 1, oldest=7, newest=9) is None

"""The benchmarks' server with a core whose searches find the same ten documents at once.

    python -m benchmarks.dialects_server serve --port 8000

What a search still costs is the door's own: reading, validating, authorising, rendering.
"""

from datetime import UTC, datetime

from benchmarks import launcher
from benchmarks.sample_texts import SampleTexts
from llamaindex_reaktly.domain import (
    DocumentKey,
    Passage,
    SearchHit,
    SearchRequest,
    SearchResult,
    SourceType,
)
from llamaindex_reaktly.knowledge_base import KnowledgeBase

BASE = "dialects"
HITS = 10
PASSAGES = 3
# Some 180 words, as documents are cut.
PASSAGE_CHARACTERS = 1_100


def ten_hits() -> SearchResult:
    """Ten documents as a search finds them."""
    texts = SampleTexts(seed=6)
    return SearchResult(tuple(_hit(number, texts) for number in range(HITS)))


def _hit(number: int, texts: SampleTexts) -> SearchHit:
    key = DocumentKey(BASE, "integration:benchmark", f"pages/{number}")
    relevance = 0.9 - number / 20
    return SearchHit(
        document_id=key.document_id,
        key=key,
        version=1,
        source_type=SourceType.ARTICLE,
        title=f"Page {number}: {texts.text(40)}",
        url=f"https://docs.example.org/pages/{number}",
        summary=texts.text(160),
        tags=("manual", "release-4"),
        attributes={"author": "A. N. Author", "price": 39.9, "category": ["docs", "guide"]},
        updated_at=datetime(2026, 5, 4, 12, 30, tzinfo=UTC),
        relevance=relevance,
        passages=tuple(
            Passage(
                f"{number}-{place}",
                texts.text(PASSAGE_CHARACTERS),
                ("Guide", f"Part {place}"),
                relevance - place / 50,
            )
            for place in range(PASSAGES)
        ),
    )


def main() -> None:
    """Run the launcher with that core."""
    found = ten_hits()

    def search(_: KnowledgeBase, _request: SearchRequest) -> SearchResult:
        return found

    setattr(KnowledgeBase, "search", search)  # noqa: B010 (mypy knows a method)
    launcher.main()


if __name__ == "__main__":
    main()

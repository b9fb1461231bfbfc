"""What a worker has taken on, and what it says became of it."""

from dataclasses import dataclass

from llamaindex_reaktly.domain import FoundMetadata, Origin, SourceDocument


@dataclass(frozen=True, slots=True)
class Claim:
    """One document to make searchable, as claimed."""

    document: SourceDocument
    document_id: str
    version: int
    updated_at: float
    rank: int
    attempts: int
    token: str
    queued_at: float
    claimed_at: float
    origin: Origin

    @property
    def is_suspect(self) -> bool:
        """Whether it was tried before, and was at fault, or its worker died over it."""
        return self.attempts > 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a claim: a count of chunks, or an error for the document's owner."""

    claim: Claim
    chunks: int = 0
    error: str | None = None
    found: FoundMetadata | None = None

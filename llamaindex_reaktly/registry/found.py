"""Metadata that was found, as the registry keeps it."""

import orjson

from llamaindex_reaktly.domain import FoundMetadata


def written(found: FoundMetadata) -> str:
    """As JSON."""
    return orjson.dumps(
        {
            "title": found.title,
            "summary": found.summary,
            "tags": found.tags,
            "methods": dict(found.methods),
        }
    ).decode()


def read(kept: str | None) -> FoundMetadata | None:
    """What `written` wrote; None for nothing. Raises `ValueError` for what is damaged."""
    if kept is None:
        return None
    values = orjson.loads(kept)
    return FoundMetadata(
        values["title"], values["summary"], tuple(values["tags"]), values["methods"]
    )

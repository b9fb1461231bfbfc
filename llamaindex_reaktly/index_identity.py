"""Whether a registry and an index belong together.

The registry says what is indexed; with another index behind it, documents would be said
to be searchable that are not. So a registry remembers which index is its own: a Weaviate's
collections of one prefix, or the embedded one in a certain data directory.
"""

import contextlib
import os
import uuid
from pathlib import Path

from llamaindex_reaktly.errors import ConfigurationError
from llamaindex_reaktly.registry.properties import INDEX
from llamaindex_reaktly.registry.registry import Registry
from llamaindex_reaktly.settings import Settings

_EMBEDDED = "embedded"
_FILE = "index.id"
_WAY_OUT = "or have the index made again here: `reaktly rebuild --take-over`"


def require_own_index(registry: Registry, settings: Settings) -> None:
    """Raise `ConfigurationError` if what the registry knows as indexed is in another index."""
    ours = _identity(settings)
    known = registry.properties.settle(INDEX, ours)
    if known == ours:
        return
    if known.partition(" ")[0] != settings.store:
        raise ConfigurationError(
            f"REAKTLY_STORE: the documents of this registry are indexed in the "
            f"{known.partition(' ')[0]} store; set that, {_WAY_OUT}"
        )
    if settings.store != _EMBEDDED:
        raise ConfigurationError(
            f"REAKTLY_WEAVIATE_PREFIX: the documents of this registry are indexed under "
            f"{known.partition(' ')[2]!r}; set that, {_WAY_OUT}"
        )
    if settings.database_url is None:
        # A registry that lies in the data directory itself was put there from a back-up.
        registry.properties.change(INDEX, ours)
        return
    raise ConfigurationError(
        "REAKTLY_DATA_DIR: the documents of this registry (REAKTLY_DATABASE_URL) are indexed in "
        f"another data directory; use that one, share a Weaviate, {_WAY_OUT}"
    )


def take_over(registry: Registry, settings: Settings) -> None:
    """Have the registry take the index of these settings for its own; it must be made again."""
    registry.properties.settle(INDEX, _identity(settings))
    registry.properties.change(INDEX, _identity(settings))


def _identity(settings: Settings) -> str:
    if settings.store != _EMBEDDED:
        # Not its address: a server moves, and a load balancer comes before it.
        return f"{settings.store} {settings.weaviate_prefix}"
    return f"{_EMBEDDED} {_directory_id(settings.data_dir)}"


def _directory_id(directory: Path) -> str:
    """What tells a data directory from all others, wherever it is moved to."""
    path = directory / _FILE
    if not path.exists():
        ready = directory / f"{_FILE}.{uuid.uuid4().hex}"
        ready.write_text(uuid.uuid4().hex, encoding="ascii")
        # Of several processes that start together one is first, and all read its file.
        with contextlib.suppress(FileExistsError):
            os.link(ready, path)
        ready.unlink()
    return path.read_text(encoding="ascii").strip()

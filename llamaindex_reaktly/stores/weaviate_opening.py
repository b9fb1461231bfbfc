"""The Weaviate store that the settings name."""

from collections.abc import Callable

from llamaindex_reaktly.embeddings.protocol import EmbedderIdentity
from llamaindex_reaktly.settings import Settings
from llamaindex_reaktly.stores.weaviate import WeaviateStore
from llamaindex_reaktly.stores.weaviate_connection import WeaviateAddress, consistency_level


def open_weaviate(
    settings: Settings, identity_of: Callable[[str], EmbedderIdentity | None]
) -> WeaviateStore:
    """The store, not yet connected. Raises `ConfigurationError` for an address that is none."""
    assert settings.weaviate_url is not None
    key = settings.weaviate_api_key
    return WeaviateStore(
        WeaviateAddress(
            url=settings.weaviate_url,
            grpc_url=settings.weaviate_grpc_url,
            api_key=None if key is None else key.get_secret_value(),
            read_timeout=settings.weaviate_search_timeout_seconds,
            write_timeout=settings.weaviate_write_timeout_seconds,
        ),
        prefix=settings.weaviate_prefix,
        replication_factor=settings.weaviate_replication_factor,
        consistency=consistency_level(settings.weaviate_consistency),
        identity_of=identity_of,
    )

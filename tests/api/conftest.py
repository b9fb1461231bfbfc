"""The app on a real knowledge base in a temporary directory; nobody indexes anything.

What only a worker or a model could bring about (a finished document, a hit) is put in
the core's mouth by the test that needs it.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from llamaindex_reaktly.embeddings.protocol import TextEmbedder
from llamaindex_reaktly.errors import ModelMissing
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.settings import Settings
from reaktly_api import ApiSettings, create_app

Item = dict[str, Any]


def no_embedder(name: str) -> TextEmbedder:
    raise ModelMissing(f"{name} is not installed here")


@contextmanager
def opened(directory: Path, database_url: str | None = None) -> Iterator[KnowledgeBase]:
    settings = Settings(
        data_dir=directory, database_url=database_url, auto_create_knowledge_bases=False
    )
    with KnowledgeBase(settings, embedder_loader=no_embedder) as core:
        for name in ("kb", "other"):
            core.registry.knowledge_bases.ensure(name, embedder="minilm")
        yield core


@pytest.fixture
def knowledge_base(tmp_path: Path, database_url: str | None) -> Iterator[KnowledgeBase]:
    """Holds the knowledge bases `kb` and `other`, both empty."""
    with opened(tmp_path / "data", database_url) as core:
        yield core


@pytest.fixture(scope="session")
def shared_knowledge_base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeBase]:
    """The same for modules whose tests don't mind each other's documents."""
    with opened(tmp_path_factory.mktemp("api") / "data") as core:
        yield core


@pytest.fixture
def make_key(knowledge_base: KnowledgeBase) -> Callable[..., str]:
    """Makes a key and gives its token; it reaches `kb` unless told otherwise."""

    def make(*bases: str, **options: Any) -> str:
        return knowledge_base.registry.keys.create(
            "test", knowledge_bases=bases or ("kb",), **options
        )[1]

    return make


@pytest.fixture
async def open_client(
    knowledge_base: KnowledgeBase,
) -> AsyncIterator[Callable[..., Any]]:
    """Starts an app with the given settings; gives a client, with a key if there is one."""
    async with AsyncExitStack() as stack:

        async def open_one(token: str | None = None, **settings: Any) -> httpx.AsyncClient:
            # Nobody indexes anything, so nothing is waited for.
            settings = {"quant_answer_seconds": 0.01, **settings}
            app = create_app(knowledge_base, ApiSettings(**settings))
            await stack.enter_async_context(app.router.lifespan_context(app))
            return await stack.enter_async_context(
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(app),
                    base_url="http://reaktly.test",
                    headers={} if token is None else {"x-api-key": token},
                )
            )

        yield open_one


@pytest.fixture
async def client(
    open_client: Callable[..., Any], make_key: Callable[..., str]
) -> httpx.AsyncClient:
    """A client whose key reaches `kb` with the default scopes."""
    opened: httpx.AsyncClient = await open_client(make_key())
    return opened


@pytest.fixture
def item() -> Item:
    """A small item that is accepted as it stands."""
    return {
        "integrationId": "int",
        "knowledgeBaseId": "kb",
        "sourceType": "ARTICLE",
        "externalId": "a1",
        "data": {"title": "Watering", "content": "Water in the morning."},
    }

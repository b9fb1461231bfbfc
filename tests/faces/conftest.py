"""A knowledge base that is indexed by real parts, for LlamaIndex's to work on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from llamaindex_reaktly.domain import DocumentKey, SourceDocument, SourceType
from llamaindex_reaktly.ingestion.worker import Worker
from llamaindex_reaktly.knowledge_base import KnowledgeBase
from llamaindex_reaktly.settings import Settings


def key(external_id: str) -> DocumentKey:
    return DocumentKey("outdoor", "integration:handbook", external_id)


DOCUMENTS = (
    SourceDocument(
        key("tents"),
        SourceType.ARTICLE,
        "Caring for a tent",
        "# Drying\n\nDry the tent before you pack it. A wet tent grows mould within two days.\n\n"
        "# Washing\n\nWash the tent by hand with cold water. A machine ruins its coating.\n",
        url="https://example.com/tents",
        tags=("care",),
        attributes={"price": 0, "section": "camp", "title": "an attribute"},
    ),
    SourceDocument(
        key("stoves"),
        SourceType.PRODUCT,
        "Gas stove",
        "The gas stove boils a litre of water in four minutes. It must not be used in a tent.",
        summary="A stove for one pan.",
        attributes={"price": 59.5, "section": "kitchen", "url": "an attribute"},
    ),
    SourceDocument(
        key("boots"),
        SourceType.PRODUCT,
        "Walking boots",
        "<h1>Boots</h1><p>Grease leather boots twice a year, and dry them away from the fire.</p>",
        url="https://example.com/boots",
        language="en",
        attributes={"price": 180, "section": "feet"},
    ),
)


@pytest.fixture(scope="session")
def knowledge_base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeBase]:
    """Holds the knowledge base `outdoor`, of `DOCUMENTS`; tests leave it as it is."""
    directory: Path = tmp_path_factory.mktemp("faces")
    settings = Settings(data_dir=directory / "data")
    with KnowledgeBase(settings) as core:
        core.submit(DOCUMENTS)
        worker = Worker(settings, core)
        try:
            worker.work_off_everything()
        finally:
            worker.close()
        yield core

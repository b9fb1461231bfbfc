"""The chain of transformations, and what an operator adds to it."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import BaseNode, TextNode, TransformComponent

from llamaindex_reaktly.domain import DocumentKey, SourceDocument, SourceType
from llamaindex_reaktly.errors import ConfigurationError
from llamaindex_reaktly.ingestion.parsing import (
    InlineParsing,
    ParsedDocument,
    ParsingFault,
    TransformationChain,
    load_transformations,
)
from llamaindex_reaktly.settings import load_settings

DOCUMENT = SourceDocument(
    DocumentKey("kb", "integration:int", "a"),
    SourceType.ARTICLE,
    "Espresso machines",
    "# Care\n\nDescale the boiler.",
)


class Shouting(TransformComponent):
    """Writes everything in capitals."""

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:
        """The nodes, louder."""
        for node in nodes:
            assert isinstance(node, TextNode)
            node.set_content(node.text.upper())
        return list(nodes)


class Greedy(TransformComponent):
    """Asks for more memory than there is."""

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:
        """Nothing."""
        raise MemoryError


def parse(tmp_path: Path, *added: TransformComponent) -> ParsedDocument | ParsingFault:
    parsing = InlineParsing(TransformationChain(tmp_path, added))
    return parsing.parse("doc_a", DOCUMENT, "minilm", lambda _outcome: None)


def test_what_is_added_comes_after_the_node_parser_and_before_the_embedding(tmp_path: Path) -> None:
    parsed = parse(tmp_path, Shouting())
    assert isinstance(parsed, ParsedDocument)
    (chunk,) = parsed.chunks
    assert chunk.text == "DESCALE THE BOILER."
    assert chunk.embedded_text == "Espresso machines\nCare\nDESCALE THE BOILER."
    assert chunk.headings == ("Care",)


def test_want_of_memory_is_a_fault_that_may_pass(tmp_path: Path) -> None:
    fault = parse(tmp_path, Greedy())
    assert isinstance(fault, ParsingFault)
    assert not fault.is_final


def test_components_are_classes_or_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules[__name__]
    monkeypatch.setattr(module, "instance", Shouting(), raising=False)
    found = load_transformations([f"{__name__}:Shouting", f"{__name__}:instance"])
    assert [type(component) for component in found] == [Shouting, Shouting]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "nowhere.at_all:Thing",
            "there is no module 'nowhere', which 'nowhere.at_all:Thing' needs",
        ),
        ("json:Thing", "the module 'json' has no 'Thing'"),
        ("json:JSONDecoder", "'json:JSONDecoder' is no LlamaIndex TransformComponent"),
        ("decimal:DivisionByZero", "'decimal:DivisionByZero' is no LlamaIndex TransformComponent"),
        ("pathlib:os", "'pathlib:os' is no LlamaIndex TransformComponent"),
        ("struct:Struct", "'struct:Struct' cannot be made without arguments; name an instance"),
    ],
)
def test_what_is_no_component_is_named(name: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_transformations([name])
    assert raised.value.message == f"REAKTLY_TRANSFORMATIONS: {sentence}"


@pytest.mark.parametrize("value", ["json", "json:", ":Thing", "a b:Thing", "a:b:c", "a..b:Thing"])
def test_a_name_of_another_form_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("REAKTLY_TRANSFORMATIONS", value)
    with pytest.raises(ConfigurationError, match=r"^REAKTLY_TRANSFORMATIONS: .* form module:Name"):
        load_settings()


def test_what_parsing_needs_starts_no_threads() -> None:
    # Else a worker could not fork safely: see the fork server.
    program = (
        "import threading, os, llamaindex_reaktly.ingestion.parsing as parsing, pathlib;"
        "parsing.TransformationChain(pathlib.Path('none')).warm_up('minilm');"
        "assert threading.active_count() == 1;"
        "tasks = pathlib.Path('/proc/self/task');"
        "assert not tasks.is_dir() or len(list(tasks.iterdir())) == 1"
    )
    environment = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # as the CLI sets them
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)

"""From an accepted document to the texts that are embedded: cleaned, cut and analysed.

The steps are LlamaIndex transformations, run in this order: the HTML cleaner, the language
detector, the extractor where metadata is missing, the section node parser, whatever an
operator adds. No model is loaded here, and no thread started: a process may be forked that
does this and nothing else.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog
from llama_index.core.ingestion import run_transformations
from llama_index.core.schema import (
    BaseNode,
    Document,
    MetadataMode,
    TextNode,
    TransformComponent,
)

from llamaindex_reaktly.analysis import Analyzer
from llamaindex_reaktly.content import metadata as keys
from llamaindex_reaktly.content.html_cleaner import HtmlCleaner
from llamaindex_reaktly.content.language import detect_language
from llamaindex_reaktly.domain import FoundMetadata, SourceDocument
from llamaindex_reaktly.embeddings.catalogue import load_tokenizer
from llamaindex_reaktly.errors import ConfigurationError, ReaktlyError
from llamaindex_reaktly.extractors.filler import MetadataFiller, missing_metadata
from llamaindex_reaktly.extractors.local import LocalExtractor, MetadataExtractor
from llamaindex_reaktly.node_parser.section_node_parser import SectionNodeParser

log = structlog.get_logger(__name__)

_VARIABLE = "REAKTLY_TRANSFORMATIONS"


@dataclass(frozen=True, slots=True)
class ParsedChunk:
    """One passage: as shown, as embedded, and as searched by its words."""

    node_id: str
    text: str
    embedded_text: str
    headings: tuple[str, ...]
    terms: str


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """A document in its passages, which lack nothing but their vectors."""

    language: str
    chunks: tuple[ParsedChunk, ...]
    found: FoundMetadata | None = None
    """What an extractor found; None where none was run."""


@dataclass(frozen=True, slots=True)
class ParsingFault:
    """Why a document has no passages; `is_final` if another try would end the same way."""

    reason: str
    is_final: bool = False


Outcome = ParsedDocument | ParsingFault
Deliver = Callable[[Outcome | ReaktlyError], None]


class Parsing(Protocol):
    """How a worker has its documents parsed. Several threads may ask at once."""

    @property
    def is_lost(self) -> bool:
        """Whether nothing can be parsed any more, by this worker."""
        ...

    def parse(
        self, document_id: str, document: SourceDocument, embedder: str, deliver: Deliver
    ) -> Outcome | None:
        """What comes of a document; None if it takes long: then `deliver` is told, later.

        Raises a `ReaktlyError` for what is away, which is no fault of the document.
        """
        ...

    def parse_apart(
        self, document_id: str, document: SourceDocument, embedder: str, deliver: Deliver
    ) -> None:
        """Parse in the slow lane, which the caller has taken; `deliver` is told what comes."""
        ...

    def take_slow_lane(self) -> bool:
        """Take the slow lane for a document; False if it is taken."""
        ...

    def free_slow_lane(self) -> None:
        """Say that the document in the slow lane is done with."""
        ...

    def interrupt(self) -> None:
        """Have every parse end as away, from now on. May be called by a signal handler."""
        ...

    def close(self) -> None:
        """Release everything, after `interrupt` and the last `parse`. Idempotent."""
        ...


class TransformationChain:
    """Runs the transformations, cut to the budget of whichever embedder is named.

    `added` come last; `extractor` finds metadata that is missing. Not for several threads at
    once.
    """

    def __init__(
        self,
        models_dir: Path,
        added: Sequence[TransformComponent] = (),
        *,
        extractor: MetadataExtractor | None = None,
    ) -> None:
        self._models_dir = models_dir
        self._added = tuple(added)
        self._parsers: dict[str, SectionNodeParser] = {}
        self._analyzer = Analyzer()
        self._extractor = extractor or LocalExtractor(self._analyzer)

    def warm_up(self, embedder: str) -> None:
        """Load what the first document would wait for; raises as `parse` does."""
        self._parser(embedder)

    def parse(self, document_id: str, document: SourceDocument, embedder: str) -> ParsedDocument:
        """The document's passages. Raises `ModelMissing` without that embedder's tokenizer."""
        steps: list[TransformComponent] = [HtmlCleaner(), LanguageDetector()]
        filler = None
        if wanted := missing_metadata(document):
            filler = MetadataFiller(extractor=self._extractor, wanted=wanted)
            steps.append(filler)
        steps += [self._parser(embedder), *self._added]
        nodes = [
            node
            for node in run_transformations([_llama_document(document_id, document)], steps)
            if isinstance(node, TextNode)
        ]
        language = next((str(n.metadata.get(keys.LANGUAGE, "en")) for n in nodes), "en")
        found = None if filler is None else filler.found
        tags = document.tags or (() if found is None else found.tags)
        chunks = tuple(self._chunk(node, tags, language) for node in nodes)
        return ParsedDocument(language, chunks, found)

    def _parser(self, embedder: str) -> SectionNodeParser:
        parser = self._parsers.get(embedder)
        if parser is None:
            tokenizer = load_tokenizer(embedder, models_dir=self._models_dir)
            parser = SectionNodeParser(tokenizer=tokenizer, max_tokens=tokenizer.max_tokens)
            self._parsers[embedder] = parser
        return parser

    def _chunk(self, node: TextNode, tags: Sequence[str], language: str) -> ParsedChunk:
        embedded_text = node.get_content(MetadataMode.EMBED)
        # Tags count for relevance (seed 002), so they are among the terms of every chunk.
        searched = "\n".join((embedded_text, *tags))
        return ParsedChunk(
            node_id=node.node_id,
            text=node.text,
            embedded_text=embedded_text,
            headings=tuple(node.metadata.get(keys.HEADINGS, ())),
            terms=" ".join(self._analyzer.terms(searched, language)),
        )


def attempt(
    chain: TransformationChain, document_id: str, document: SourceDocument, embedder: str
) -> Outcome:
    """Parse at the boundary of one document: whatever is wrong with it holds up no other.

    Raises `ReaktlyError` for what is away, and MemoryError.
    """
    try:
        return chain.parse(document_id, document, embedder)
    except (ReaktlyError, MemoryError):
        raise
    except Exception:
        log.exception("document_refused", document_id=document_id)
        return ParsingFault("the content could not be processed", is_final=True)


class InlineParsing:
    """Parsing in the caller's own process, without limits; what takes long is waited for."""

    is_lost = False

    def __init__(self, chain: TransformationChain) -> None:
        self._chain = chain

    def parse(
        self,
        document_id: str,
        document: SourceDocument,
        embedder: str,
        deliver: Deliver,  # noqa: ARG002
    ) -> Outcome:
        """As `Parsing` has it."""
        try:
            return attempt(self._chain, document_id, document, embedder)
        except MemoryError:
            return ParsingFault("parsing needed more memory than there is")

    def parse_apart(
        self, document_id: str, document: SourceDocument, embedder: str, deliver: Deliver
    ) -> None:
        """As `Parsing` has it, but at once."""
        try:
            deliver(self.parse(document_id, document, embedder, deliver))
        except ReaktlyError as error:
            deliver(error)

    def take_slow_lane(self) -> bool:
        """It is always free: nobody waits in it."""
        return True

    def free_slow_lane(self) -> None:
        """Nothing to do."""

    def interrupt(self) -> None:
        """Nothing to do: a document's end is waited for."""

    def close(self) -> None:
        """Nothing to do."""


class LanguageDetector(TransformComponent):
    """Sets the `language` of documents that declare none, by their text."""

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:  # noqa: ARG002 (LlamaIndex's signature)
        """The same documents, each with a language."""
        for node in nodes:
            if not node.metadata.get(keys.LANGUAGE):
                text = node.get_content(metadata_mode=MetadataMode.NONE)
                node.metadata[keys.LANGUAGE] = detect_language(text)
        return list(nodes)


def load_transformations(names: Sequence[str]) -> list[TransformComponent]:
    """The operator's components, each `module:Name` of an instance or of a class.

    Raises `ConfigurationError` with a sentence on the first that is none.
    """
    return [_load_transformation(name) for name in names]


def _load_transformation(name: str) -> TransformComponent:
    module_name, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{_VARIABLE}: there is no module {error.name!r}, which {name!r} needs"
        ) from None
    except AttributeError:
        raise ConfigurationError(
            f"{_VARIABLE}: the module {module_name!r} has no {attribute!r}"
        ) from None
    try:
        component = found() if isinstance(found, type) else found
    except (TypeError, ValueError):  # pydantic's errors are among the latter
        raise ConfigurationError(
            f"{_VARIABLE}: {name!r} cannot be made without arguments; name an instance"
        ) from None
    if not isinstance(component, TransformComponent):
        raise ConfigurationError(f"{_VARIABLE}: {name!r} is no LlamaIndex TransformComponent")
    return component


def _llama_document(document_id: str, declared: SourceDocument) -> Document:
    metadata = {
        keys.TITLE: declared.title,
        keys.URL: declared.url,
        keys.LANGUAGE: declared.language,
        keys.CONTENT_TYPE: None if declared.content_type is None else declared.content_type.value,
    }
    return Document(
        id_=document_id,
        text=declared.content,
        metadata={key: value for key, value in metadata.items() if value is not None},
    )

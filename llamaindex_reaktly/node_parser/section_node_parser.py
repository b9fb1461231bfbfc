"""The chunker as a LlamaIndex node parser."""

import uuid
from collections.abc import Sequence
from typing import Any

from llama_index.core.node_parser import NodeParser
from llama_index.core.node_parser.node_utils import build_nodes_from_splits
from llama_index.core.schema import (
    BaseNode,
    Document,
    MetadataMode,
    NodeRelationship,
    TextNode,
)
from pydantic import Field, SkipValidation

from llamaindex_reaktly.content import metadata as keys
from llamaindex_reaktly.content.language import detect_language
from llamaindex_reaktly.domain import ContentType
from llamaindex_reaktly.node_parser.chunking import (
    DEFAULT_MAX_TOKENS,
    MINIMUM_MAX_TOKENS,
    Chunk,
    Tokenizer,
    chunk_document,
    embedding_context,
    embedding_text,
)

_NODE_NAMESPACE = uuid.UUID("6f1c3a52-3a0e-5d0f-9a55-6a1a2f0f7f5e")


def _default_tokenizer() -> Tokenizer:
    """The local model's, loaded when a parser is made without one."""
    from llamaindex_reaktly.embeddings.minilm_tokenizer import MiniLMTokenizer

    return MiniLMTokenizer.load()


class SectionNode(TextNode):
    """A section of a document; for the embedder, what `embedding_text` makes of it.

    LlamaIndex stores it, and gives it back, as the `TextNode` that it is otherwise.
    """

    def get_content(self, metadata_mode: MetadataMode = MetadataMode.NONE) -> str:
        """The text, with what that mode adds to it."""
        if metadata_mode is not MetadataMode.EMBED:
            return super().get_content(metadata_mode)
        headings = self.metadata.get(keys.HEADINGS) or ()
        return embedding_text(str(self.metadata.get(keys.TITLE) or ""), headings, self.text)


class SectionNodeParser(NodeParser):
    """Cuts Markdown documents into sections that the embedder reads to the end.

    Reads `metadata["title"]`, `["language"]` and `["content_type"]` (of which
    `text/plain` switches Markdown syntax off). Each node has its heading path in
    `metadata["headings"]`; `get_content(MetadataMode.EMBED)` is the node's
    `embedding_text`, at most `max_tokens` tokens; title and path are not in the
    text shown. Node ids depend on the document's id, the node's place and its
    text only.
    """

    tokenizer: SkipValidation[Tokenizer] = Field(default_factory=_default_tokenizer, exclude=True)
    max_tokens: int = Field(default=DEFAULT_MAX_TOKENS, ge=MINIMUM_MAX_TOKENS)

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex serialises this component."""
        return "SectionNodeParser"

    def _parse_nodes(
        self,
        nodes: Sequence[BaseNode],
        show_progress: bool = False,  # noqa: ARG002 (LlamaIndex's signature)
        **kwargs: Any,  # noqa: ARG002
    ) -> list[BaseNode]:
        return [part for node in nodes for part in self._sections(node)]

    def _sections(self, node: BaseNode) -> list[SectionNode]:
        source = node.get_content(metadata_mode=MetadataMode.NONE)
        title = str(node.metadata.get(keys.TITLE) or "")
        chunks = chunk_document(
            source,
            title=title,
            tokenizer=self.tokenizer,
            max_tokens=self.max_tokens,
            plain=node.metadata.get(keys.CONTENT_TYPE) == ContentType.TEXT.value,
            language=str(node.metadata.get(keys.LANGUAGE) or detect_language(source)),
        )
        parts = [
            SectionNode.model_construct(**dict(part))
            for part in build_nodes_from_splits([chunk.text for chunk in chunks], node)
        ]
        for ordinal, (part, chunk) in enumerate(zip(parts, chunks, strict=True)):
            _describe(part, chunk, title, f"{node.node_id}\x00{ordinal}\x00{chunk.text}")
        return parts

    def _postprocess_parsed_nodes(
        self, nodes: list[BaseNode], parent_doc_map: dict[str, Document]
    ) -> list[BaseNode]:
        # The base class looks each text up in its document. A passage that occurs twice, or has
        # a repeated table header or fence, then gets a wrong place or none, and what is not
        # found has been looked for in all of the document: a megabyte of one code block took
        # seconds. So the documents are kept from it, and what else it does with them is done here.
        places = [
            (node.start_char_idx, node.end_char_idx) if isinstance(node, TextNode) else None
            for node in nodes
        ]
        parents = [parent_doc_map.get(node.ref_doc_id or "") for node in nodes]
        if self.include_metadata:
            for node, parent in zip(nodes, parents, strict=True):
                if parent is not None:
                    node.metadata = {**parent.metadata, **node.metadata}
        finished = super()._postprocess_parsed_nodes(nodes, {})
        for node, parent in zip(finished, parents, strict=True):
            if parent is not None and parent.source_node is not None:
                node.relationships[NodeRelationship.SOURCE] = parent.source_node
        for node, place in zip(finished, places, strict=True):
            if isinstance(node, TextNode) and place is not None:
                node.start_char_idx, node.end_char_idx = place
            node.excluded_embed_metadata_keys = [
                key for key in node.metadata if key != keys.EMBEDDING_CONTEXT
            ]
        return finished


def _describe(part: SectionNode, chunk: Chunk, title: str, identity: str) -> None:
    part.id_ = str(uuid.uuid5(_NODE_NAMESPACE, identity))
    part.start_char_idx, part.end_char_idx = chunk.start, chunk.end
    part.metadata = {
        **part.metadata,
        keys.HEADINGS: list(chunk.headings),
        keys.EMBEDDING_CONTEXT: embedding_context(title, chunk.headings, chunk.text),
    }
    part.excluded_llm_metadata_keys = [
        *part.excluded_llm_metadata_keys,
        keys.HEADINGS,
        keys.EMBEDDING_CONTEXT,
    ]
    # So that a node that came back from a store as a plain `TextNode` is embedded with its
    # context too: with the other keys excluded, that is context, line end, text.
    part.metadata_template = "{value}"
    part.text_template = "{metadata_str}\n{content}"

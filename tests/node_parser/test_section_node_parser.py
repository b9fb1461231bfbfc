from itertools import pairwise

import pytest
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import Document, MetadataMode, NodeRelationship, TextNode

from llamaindex_reaktly.content.html_cleaner import HtmlCleaner
from llamaindex_reaktly.node_parser.chunking import Tokenizer, embedding_text
from llamaindex_reaktly.node_parser.section_node_parser import SectionNodeParser

ROWS = "\n".join(f"| tool {i} | needs oil in spring |" for i in range(80))
SOURCE = (
    f"# Care\n\nSame words.\n\n## Oil\n\nSame words.\n\n## Rust\n\n| Name | Care |\n|-|-|\n{ROWS}\n"
)


@pytest.fixture
def parser(tokenizer: Tokenizer) -> SectionNodeParser:
    return SectionNodeParser(tokenizer=tokenizer)


def parse(parser: SectionNodeParser, *documents: Document) -> list[TextNode]:
    nodes = parser.get_nodes_from_documents(documents)
    assert all(isinstance(node, TextNode) for node in nodes)
    return [node for node in nodes if isinstance(node, TextNode)]


def document(**metadata: object) -> Document:
    return Document(id_="d", text=SOURCE, metadata={"title": "Garden", "price": 3, **metadata})


def test_what_is_embedded_is_the_embedding_text_within_the_budget(
    parser: SectionNodeParser, tokenizer: Tokenizer
) -> None:
    for node in parse(parser, document()):
        embedded = node.get_content(MetadataMode.EMBED)
        assert embedded == embedding_text("Garden", node.metadata["headings"], node.text)
        assert tokenizer.count_tokens(embedded) <= parser.max_tokens


def test_the_text_shown_does_not_repeat_title_and_headings(parser: SectionNodeParser) -> None:
    second = parse(parser, document())[1]
    assert second.get_content(MetadataMode.NONE) == "Same words."
    assert second.metadata["headings"] == ["Care", "Oil"]
    assert "Care > Oil" not in second.get_content(MetadataMode.LLM)


def test_the_documents_metadata_stays_and_is_not_embedded(parser: SectionNodeParser) -> None:
    node = parse(parser, document())[0]
    assert node.metadata["price"] == 3
    assert "3" not in node.get_content(MetadataMode.EMBED)


def test_offsets_are_those_of_the_passage_and_not_of_its_twin(parser: SectionNodeParser) -> None:
    nodes = parse(parser, document())
    first, second = nodes[0], nodes[1]
    assert first.text == second.text
    assert second.start_char_idx == SOURCE.rindex("Same words.")
    for node in nodes:
        assert SOURCE[node.start_char_idx : node.end_char_idx] in node.text


def test_nodes_know_their_source_and_their_neighbours(parser: SectionNodeParser) -> None:
    nodes = parse(parser, document(), Document(id_="e", text="Other.", metadata={}))
    *first_document, other = nodes
    assert [node.ref_doc_id for node in first_document] == ["d"] * len(first_document)
    for left, right in pairwise(first_document):
        assert left.next_node is not None
        assert left.next_node.node_id == right.node_id
        assert right.prev_node is not None
        assert right.prev_node.node_id == left.node_id
    assert NodeRelationship.PREVIOUS not in other.relationships
    assert other.ref_doc_id == "e"


def test_ids_depend_on_document_place_and_text_only(parser: SectionNodeParser) -> None:
    ids = [node.node_id for node in parse(parser, document())]
    assert ids == [node.node_id for node in parse(parser, document(price=4))]
    assert len(set(ids)) == len(ids)
    other = Document(id_="other", text=SOURCE)
    assert not set(ids) & {node.node_id for node in parse(parser, other)}


def test_plain_text_keeps_its_hashes(parser: SectionNodeParser) -> None:
    (node,) = parse(parser, Document(text="# x\ny", metadata={"content_type": "text/plain"}))
    assert node.text == "# x\ny"


def test_html_goes_through_a_pipeline_to_nodes(parser: SectionNodeParser) -> None:
    page = Document(id_="p", text="<h1>Oil</h1><p>In spring.</p><h2>Rust</h2><p>In autumn.</p>")
    nodes = IngestionPipeline(transformations=[HtmlCleaner(), parser]).run(documents=[page])
    assert [node.get_content(MetadataMode.EMBED) for node in nodes] == [
        "Oil\nIn spring.",
        "Oil\nRust\nIn autumn.",
    ]


async def test_the_async_face_gives_the_same_nodes(parser: SectionNodeParser) -> None:
    nodes = await parser.acall([document()])
    assert [n.node_id for n in nodes] == [n.node_id for n in parser([document()])]


def test_where_a_link_points_is_not_embedded(parser: SectionNodeParser) -> None:
    text = "Oil [the shears](https://example.com/shears) in spring."
    [node] = parse(parser, Document(text=text, metadata={"title": "Care"}))
    assert node.get_content() == text
    assert node.get_content(MetadataMode.EMBED) == "Care\nOil the shears in spring."
    assert "example.com" in node.get_content(MetadataMode.LLM)

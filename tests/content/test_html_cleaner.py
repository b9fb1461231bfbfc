from llama_index.core.schema import Document, TextNode

from llamaindex_reaktly.content.html_cleaner import HtmlCleaner

PAGE = (
    "<!doctype html><html><head><title>Oil</title>"
    '<meta name="description" content="On oil"></head><body><h1>Oil</h1>'
    "<p>Oil the garden tools in spring, before the first use.</p></body></html>"
)


def test_html_documents_become_markdown_and_keep_what_they_were() -> None:
    document = Document(id_="d", text=PAGE, metadata={"content_type": "text/html", "price": 3})
    (cleaned,) = HtmlCleaner()([document])
    assert cleaned.get_content().startswith("# Oil\n\nOil the garden tools")
    assert cleaned.node_id == "d"
    assert cleaned.metadata == {
        "content_type": "text/markdown",
        "price": 3,
        "title": "Oil",
        "language": "en",
        "description": "On oil",
    }
    assert document.text == PAGE


def test_a_title_that_was_declared_stays() -> None:
    document = Document(text=PAGE, metadata={"title": "Ours", "language": "de"})
    (cleaned,) = HtmlCleaner()([document])
    assert (cleaned.metadata["title"], cleaned.metadata["language"]) == ("Ours", "de")


def test_others_pass_untouched() -> None:
    nodes = [
        Document(text="# Oil\n\ntext"),
        Document(text=PAGE, metadata={"content_type": "text/plain"}),
        TextNode(text=PAGE),
    ]
    assert all(a is b for a, b in zip(HtmlCleaner()(nodes), nodes, strict=True))


def test_relative_links_are_resolved_against_the_documents_url() -> None:
    document = Document(text='<p><a href="b">x</a></p>', metadata={"url": "https://a.example/d/c"})
    (cleaned,) = HtmlCleaner()([document])
    assert cleaned.get_content() == "[x](https://a.example/d/b)"

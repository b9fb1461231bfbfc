import time

import pytest

from llamaindex_reaktly.content.detection import detect_content_type
from llamaindex_reaktly.domain import ContentType


@pytest.mark.parametrize(
    "content",
    [
        "<!DOCTYPE html><html>",
        "\ufeff\n<?xml version='1.0'?><!-- made by hand -->\n<!doctype html>",
        "<p>closed</p>",
        "Intro\n<DIV class=x>text</DIV>",
        "<ul><li>one</li></ul>",
        "`<p>` is explained here: <p>closed</p>",
    ],
)
def test_a_doctype_or_a_closed_block_element_is_html(content: str) -> None:
    assert detect_content_type(content) is ContentType.HTML


@pytest.mark.parametrize(
    "content",
    [
        "<p>never closed",
        "a < b and </b>",
        "<b>bold</b> is inline",
        "```html\n<p>in a fence</p>\n```",
        "~~~\n<div></div>\n~~~",
        "Use `<p>text</p>` for paragraphs",
        "Use ``<p>`</p>`` too",
        "The page begins with <!doctype html> as it should",
        "</p> before <p>",
        "<preface>text</preface>",
    ],
)
def test_anything_else_is_text(content: str) -> None:
    assert detect_content_type(content) is not ContentType.HTML


@pytest.mark.parametrize("declared", list(ContentType))
def test_a_declared_type_decides(declared: ContentType) -> None:
    assert detect_content_type("<p>closed</p>", declared) is declared


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("# Title\ntext", ContentType.MARKDOWN),
        ("| a | b |\n|-|-|\n| 1 | 2 |", ContentType.MARKDOWN),
        ("- one\n- two", ContentType.MARKDOWN),
        ("Just a sentence. #hashtag", ContentType.TEXT),
        ("", ContentType.TEXT),
    ],
)
def test_markdown_is_told_by_its_lines(content: str, expected: ContentType) -> None:
    assert detect_content_type(content) is expected


@pytest.mark.parametrize(
    "unit",
    ["<", "<p", "<p>", "</p>", "<p ", "`", "` ", "``` ", "\n```\n", "<!--", "-|", "<?", "*a`b\n\n"],
)
def test_hostile_megabytes_take_linear_time(unit: str) -> None:
    content = unit * (1_000_000 // len(unit))
    started = time.process_time()
    detect_content_type(content)
    assert time.process_time() - started < 10

import codecs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamaindex_reaktly.content.charset import decode_html

RUSSIAN = "Ночное копирование"
PAGE = '<!doctype html><html><head><meta charset="{}"></head><body><p>{}</p></body></html>'


def test_the_header_wins_over_the_page() -> None:
    body = PAGE.format("utf-8", RUSSIAN).encode("cp1251")
    assert RUSSIAN in decode_html(body, "text/html; charset=windows-1251")


def test_the_page_tells_its_charset_where_the_header_does_not() -> None:
    assert "数据库备份" in decode_html(PAGE.format("gb18030", "数据库备份").encode("gb18030"))
    old = '<meta http-equiv="Content-Type" content="text/html; charset=koi8-r"><p>' + RUSSIAN
    assert RUSSIAN in decode_html(old.encode("koi8-r"), "text/html")


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ],
)
def test_a_byte_order_mark_wins_over_everything_and_is_not_kept(mark: bytes, encoding: str) -> None:
    body = mark + PAGE.format("koi8-r", RUSSIAN).encode(encoding)
    text = decode_html(body, "text/html; charset=windows-1252")
    assert RUSSIAN in text
    assert not text.startswith("\ufeff")


def test_utf_7_is_never_honoured() -> None:
    body = b'<meta charset="utf-7"><p>+ADw-script+AD4-alert(1)'
    for header in (None, "text/html; charset=utf-7"):
        assert "<script" not in decode_html(body, header)


def test_an_undeclared_charset_is_told_from_the_bytes() -> None:
    sentence = "Резервное копирование базы данных выполняется каждую ночь. " * 4
    assert sentence in decode_html(sentence.encode("cp1251"))
    assert "naïve café" in decode_html("naïve café".encode())


def test_a_label_that_most_bytes_contradict_is_not_believed() -> None:
    assert RUSSIAN in decode_html(
        PAGE.format("utf-8", RUSSIAN * 20).encode("utf-8"), "x; charset=shift_jis"
    )


def test_one_broken_byte_does_not_cost_the_label() -> None:
    body = PAGE.format("utf-8", RUSSIAN * 20).encode() + b"\xff"
    text = decode_html(body)
    assert RUSSIAN in text
    assert text.endswith("\ufffd")


def test_a_nul_does_not_end_the_text() -> None:
    assert decode_html(b"before\x00after", "text/html; charset=utf-8") == "before\ufffdafter"


@settings(deadline=None)
@given(st.binary(max_size=300), st.none() | st.text(max_size=60))
def test_no_bytes_and_no_header_make_it_raise(body: bytes, header: str | None) -> None:
    decode_html(body, header).encode("utf-8")


@pytest.mark.parametrize(
    "label", ["replacement", "hz-gb-2312", "iso-2022-kr", "base64", "rot13", "zlib"]
)
def test_labels_the_web_does_not_decode_are_ignored(label: str) -> None:
    assert decode_html(b"plain", f"text/html; charset={label}") == "plain"

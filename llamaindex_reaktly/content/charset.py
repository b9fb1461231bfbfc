"""Which characters the bytes of a page stand for.

The order is the HTML standard's: byte order mark, then the transport's
`charset`, then `<meta>`, then what the bytes look like. Labels are resolved by
the WHATWG table, so `iso-8859-1` means windows-1252 and UTF-7 means nothing:
browsers dropped it because it smuggles markup past filters.
"""

import codecs
import re

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Only the start is searched, as browsers do (1,024 bytes there; pages exist
# whose <meta> comes after some scripts).
_META_WINDOW = 4096
_DETECTION_WINDOW = 131_072
_HEADER_CHARSET = re.compile(r"charset\s*=\s*[\"']?([^\s\"';,]{1,64})", re.IGNORECASE)
_META_CHARSET = re.compile(
    rb"<meta\b[^>]{0,512}?charset\s*=\s*[\"']?([^\s\"'/>;]{1,64})", re.IGNORECASE
)
_XML_ENCODING = re.compile(rb"^\s{0,16}<\?xml\b[^>]{0,256}?encoding\s*=\s*[\"']([^\"']{1,64})")
# Above this share of undecodable characters a label is taken for a lie. One
# broken byte in a page is an accident and keeps the label.
_TOLERATED_REPLACEMENTS = 0.01


def decode_html(body: bytes, content_type: str | None = None) -> str:
    """The text of an HTML (or plain) body; never raises, whatever the bytes are.

    `content_type` is the transport's header (`text/html; charset=...`), if any;
    its charset wins over the page's own. Undecodable bytes and NUL become
    U+FFFD, as in the HTML standard; no byte order mark is left.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if body.startswith(mark):
            return _clean(body[len(mark) :].decode(encoding, "replace"))
    for declared in (_declared_by_header(content_type), _declared_by_page(body)):
        if declared is None:
            continue
        text = body.decode(declared, "replace")
        if text.count("\ufffd") <= len(text) * _TOLERATED_REPLACEMENTS:
            return _clean(text)
    try:
        return _clean(body.decode("utf-8"))
    except UnicodeDecodeError:
        guess = _python_codec(detect_encoding(body, _DETECTION_WINDOW) or "") or "windows-1252"
        return _clean(body.decode(guess, "replace"))


def _declared_by_header(content_type: str | None) -> str | None:
    match = _HEADER_CHARSET.search(content_type or "")
    return _python_codec(match[1]) if match else None


def _declared_by_page(body: bytes) -> str | None:
    head = body[:_META_WINDOW]
    match = _META_CHARSET.search(head) or _XML_ENCODING.search(head)
    if match is None:
        return None
    encoding = _python_codec(match[1].decode("ascii", "replace"))
    # A page that could be read this far is not UTF-16 (HTML standard, "prescan").
    return "utf-8" if encoding is not None and encoding.startswith("utf-16") else encoding


def _python_codec(label: str) -> str | None:
    """The codec of a WHATWG label, or None for labels that the web does not know."""
    encoding = map_encoding_to_html5(label.strip(), fallback_utf8=False)
    if encoding is None:
        return None
    try:
        codec = codecs.lookup(encoding).name
    except LookupError:
        return None
    return None if codec == "utf-7" else codec


def _clean(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\x00", "\ufffd")

"""Whether content is HTML, Markdown or plain text.

A content type that was sent decides. Without one, content is HTML only with a
doctype at its start or with a closed block element (`<p>…</p>`) outside code
fences and code spans, so that Markdown which talks about HTML stays Markdown.
The rest is Markdown when a line clearly is (a heading, a fence, a table's
delimiter row, a list item, a quote), else plain text. Every test is one pass
over the text: unclosed tags and runs of `<` cost nothing extra.
"""

import re

from llamaindex_reaktly.content.markdown import mask_code
from llamaindex_reaktly.domain import ContentType

_DOCTYPE = re.compile(r"<!doctype\s", re.IGNORECASE)
_BLOCK_TAG = re.compile(
    r"<(/?)(address|article|aside|blockquote|body|center|dd|details|dialog|div|dl|dt|fieldset"
    r"|figcaption|figure|footer|form|h[1-6]|head|header|hgroup|html|li|main|nav|ol|p|pre|section"
    r"|summary|table|tbody|td|tfoot|th|thead|title|tr|ul)(?=[\s/>])",
    re.IGNORECASE,
)
_MARKDOWN_LINE = re.compile(
    r"^ {0,3}(?:#{1,6}[ \t]+\S|```|~~~|>[ \t]|[-*+][ \t]+\S|\|?[ \t]*:?-{1,64}:?[ \t]*\|)",
    re.MULTILINE,
)


def detect_content_type(content: str, declared: ContentType | None = None) -> ContentType:
    """How `content` is written: `declared` if it was, else told from the text."""
    if declared is not None:
        return declared
    if _starts_with_doctype(content) or _has_closed_block_element(content):
        return ContentType.HTML
    if _MARKDOWN_LINE.search(content):
        return ContentType.MARKDOWN
    return ContentType.TEXT


def _starts_with_doctype(content: str) -> bool:
    """A doctype may follow white space, an XML declaration and comments only."""
    position = 0
    while True:
        while position < len(content) and (
            content[position].isspace() or content[position] == "\ufeff"
        ):
            position += 1
        for opening, closing in (("<?", "?>"), ("<!--", "-->")):
            if content.startswith(opening, position):
                end = content.find(closing, position)
                if end < 0:
                    return False
                position = end + len(closing)
                break
        else:
            return _DOCTYPE.match(content, position) is not None


def _has_closed_block_element(content: str) -> bool:
    if "</" not in content:
        return False
    opened: set[str] = set()
    for match in _BLOCK_TAG.finditer(mask_code(content)):
        name = match[2].lower()
        if not match[1]:
            opened.add(name)
        elif name in opened:
            return True
    return False

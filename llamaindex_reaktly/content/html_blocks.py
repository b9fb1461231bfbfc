"""An HTML tree as a list of Markdown blocks.

Written for what comes after it: headings with their levels, lists, tables, code
and definition lists survive; emphasis, images and layout do not, since neither
a search nor a reader of passages misses them. Each element is visited once and
nesting beyond a bound is read as flat text, so cost grows with the page only.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from lxml import etree

# fmt: off
_DROPPED = frozenset(
    {
        "script", "style", "template", "noscript", "head", "iframe", "frame", "frameset",
        "object", "embed", "applet", "svg", "canvas", "audio", "video", "map", "button", "input",
        "select", "option", "datalist", "textarea", "progress", "meter", "dialog", "nav",
    }
)
_BLOCKS = frozenset(
    {
        "address", "article", "aside", "blockquote", "body", "caption", "center", "dd",
        "details", "dir", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer",
        "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hgroup", "hr", "html", "legend",
        "li", "main", "menu", "ol", "p", "pre", "section", "summary", "table", "tbody", "td",
        "tfoot", "th", "thead", "tr", "ul",
    }
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_DROPPED_ROLES = frozenset(
    {
        "navigation", "banner", "contentinfo", "search", "dialog", "alertdialog", "menu",
        "menubar", "toolbar", "tablist",
    }
)
# fmt: on
_INVISIBLE_STYLE = re.compile(r"(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
# Whole words of class names and ids, as sites and generators use them for what
# frames the content. Only pages have frames: fragments are taken at their word.
_FRAME_NAME = re.compile(
    r"(?:^|[\s_-])(?:nav|navbar|navigation|nav-?header|nav-?footer|navlinks|breadcrumbs?|cookies?"
    r"|cookie-?banner|consent|gdpr|skip-?(?:link|nav|to-content)|site-?(?:header|footer)"
    r"|page-?footer|header-?link|headerlink|social-?share|share-?(?:bar|buttons)|edit-?(?:link"
    r"|page|this-page)|sr-only|visually-hidden)(?=$|[\s_-])",
    re.IGNORECASE,
)
_LANGUAGE_CLASS = re.compile(
    r"(?:^|\s)(?:language|lang|highlight-source|brush:?)[-\s]([\w+#.-]{1,30})"
)
_SPACE = re.compile(r"[ \t\r\n\f\v]+")
_AMBIGUOUS_START = re.compile(r"(#{1,6}(?=\s)|`{3}|~{3}|[=-]+\s*$)")
# Deeper than any honest page; beyond it a subtree is read as flat text.
_DEEPEST = 120
# A longer address would crowd the text out of its chunk.
_LONGEST_URL = 300
_LONGEST_TABLE_CELL = 4000


def is_hidden(attribute: Callable[[str], str | None]) -> bool:
    """Whether an element's own attributes keep it from being shown."""
    if attribute("hidden") is not None:
        return True
    style = attribute("style")
    return style is not None and _INVISIBLE_STYLE.search(style[:1000]) is not None


@dataclass(frozen=True, slots=True)
class HtmlBlock:
    """One block: its Markdown, and how many of its characters are link text."""

    markdown: str
    is_heading: bool = False
    text_size: int = 0
    link_size: int = 0
    links: int = 0


class BlockWriter:
    """Writes one tree. `frames` drops what frames a page: header, footer, banners."""

    def __init__(self, *, url: str | None, frames: bool) -> None:
        self._url = url
        self._frames = frames
        self._text_size = 0
        self._link_size = 0
        self._links = 0

    def blocks(self, root: etree._Element) -> list[HtmlBlock]:
        """The blocks of a tree in reading order."""
        return list(self._children(root, 0, inside_content=False))

    def _is_dropped(self, element: etree._Element, inside_content: bool) -> bool:
        tag = element.tag
        if tag in _DROPPED:
            return True
        get = element.get
        if is_hidden(get) or get("role") in _DROPPED_ROLES:
            return True
        if get("aria-hidden") == "true" and tag in ("a", "i", "span"):
            return True
        if tag == "footer" or (tag == "header" and not inside_content):
            return True
        if not self._frames or tag in ("html", "body", "main", "article"):
            return False
        for name in ("class", "id"):
            value = get(name)
            if value and _FRAME_NAME.search(value[:500]):
                return True
        return False

    def _children(
        self, element: etree._Element, depth: int, inside_content: bool
    ) -> Iterator[HtmlBlock]:
        """Blocks of an element; runs of inline content become paragraphs."""
        if depth > _DEEPEST:
            yield from self._paragraph([" ".join(self._texts(element, inside_content))])
            return
        inside_content = inside_content or element.tag in ("article", "main", "section")
        run: list[str] = [element.text or ""]
        for child in element:
            tag = child.tag
            if not isinstance(tag, str):
                run.append(child.tail or "")
                continue
            if self._is_dropped(child, inside_content):
                run.append(" ")
            elif tag in _BLOCKS or (len(child) and self._holds_block(child)):
                yield from self._paragraph(run)
                run = []
                yield from self._block(child, tag, depth + 1, inside_content)
            else:
                self._inline(child, tag, run, depth + 1)
            run.append(child.tail or "")
        yield from self._paragraph(run)

    def _holds_block(self, element: etree._Element) -> bool:
        """Whether an inline element directly wraps a block (`<a><div>`, custom elements)."""
        return any(child.tag in _BLOCKS for child in element) or (
            "-" in element.tag and len(element) > 0
        )

    def _block(
        self, element: etree._Element, tag: str, depth: int, inside_content: bool
    ) -> Iterator[HtmlBlock]:
        if tag in _HEADINGS:
            text = self._flat(element, depth)
            if text:
                yield self._finish(f"{'#' * _HEADINGS[tag]} {text}", is_heading=True)
        elif tag == "pre":
            yield from self._code(element)
        elif tag in ("ul", "ol", "menu", "dir"):
            lines = self._list(element, tag == "ol", depth)
            if lines:
                yield self._finish("\n".join(lines))
        elif tag == "dl":
            lines = self._definitions(element, depth)
            if lines:
                yield self._finish("\n".join(lines))
        elif tag == "table":
            yield from self._table(element, depth, inside_content)
        elif tag == "blockquote":
            inner = [block.markdown for block in self._children(element, depth, inside_content)]
            if inner:
                quoted = "\n\n".join(inner).split("\n")
                yield self._finish("\n".join(f"> {line}".rstrip() for line in quoted))
        elif tag != "hr":
            yield from self._children(element, depth, inside_content)

    def _finish(self, markdown: str, *, is_heading: bool = False) -> HtmlBlock:
        block = HtmlBlock(
            markdown,
            is_heading,
            self._text_size,
            min(self._link_size, self._text_size),
            self._links,
        )
        self._text_size = self._link_size = self._links = 0
        return block

    def _paragraph(self, run: list[str]) -> Iterator[HtmlBlock]:
        text = self._inline_text(run)
        if text:
            lines = text.split("\n")
            yield self._finish(
                "\n".join(
                    _AMBIGUOUS_START.sub(r"\\\1", line, 1) if _AMBIGUOUS_START.match(line) else line
                    for line in lines
                )
            )

    def _inline_text(self, run: list[str]) -> str:
        """Inline parts as text: white space collapsed, `\v` (a line break) kept."""
        raw = "".join(run)
        if not raw or raw.isspace():
            return ""
        lines = [_SPACE.sub(" ", line).strip() for line in raw.split("\x0b")]
        text = "\n".join(line for line in lines if line)
        self._text_size += len(text)
        return text

    def _flat(self, element: etree._Element, depth: int) -> str:
        """All of an element on one line."""
        run: list[str] = []
        self._inline_children(element, run, depth)
        return self._inline_text(run).replace("\n", " ")

    def _texts(self, element: etree._Element, inside_content: bool = True) -> Iterator[str]:
        """The texts below an element in reading order, at any depth, what is dropped left out."""
        pending: list[etree._Element | str] = [element]
        while pending:
            part = pending.pop()
            if isinstance(part, str):
                yield part
                continue
            if part.text:
                yield part.text
            for child in reversed(part):
                if child.tail:
                    pending.append(child.tail)
                if isinstance(child.tag, str) and not self._is_dropped(child, inside_content):
                    pending.append(child)

    def _inline_children(self, element: etree._Element, run: list[str], depth: int) -> None:
        if depth > _DEEPEST:
            run.append(" ".join(self._texts(element)))
            return
        run.append(element.text or "")
        for child in element:
            tag = child.tag
            if isinstance(tag, str):
                if self._is_dropped(child, inside_content=True):
                    run.append(" ")
                else:
                    spaced = tag in _BLOCKS
                    if spaced:
                        run.append(" ")
                    self._inline(child, tag, run, depth + 1)
                    if spaced:
                        run.append(" ")
            run.append(child.tail or "")

    def _inline(self, element: etree._Element, tag: str, run: list[str], depth: int) -> None:
        if tag == "br":
            run.append("\x0b")
        elif tag in ("code", "kbd", "samp", "tt"):
            code = _SPACE.sub(" ", "".join(self._texts(element))).strip()
            if code:
                run.append(f"`{code}`" if "`" not in code else f"`` {code} ``")
        elif tag == "a":
            inner: list[str] = []
            self._inline_children(element, inner, depth)
            text = _SPACE.sub(" ", "".join(inner)).strip()
            if text:
                self._link_size += len(text)
                self._links += 1
                target = self._target(element.get("href"))
                lead = " " if inner[0][:1].isspace() else ""
                run.append(lead + (f"[{text}]({target})" if target and "]" not in text else text))
                if inner[-1][-1:].isspace():
                    run.append(" ")
        elif tag in ("sup", "sub") and element.text and len(element) == 0:
            run.append(
                ("^" if tag == "sup" else "_") + element.text
                if element.text.strip().isalnum()
                else element.text
            )
        else:
            self._inline_children(element, run, depth)

    def _target(self, href: str | None) -> str | None:
        """An absolute web address, or None for one that leads nowhere from here."""
        if not href or len(href) > _LONGEST_URL:
            return None
        href = href.strip()
        if href.startswith("#"):
            return None
        try:
            absolute = urljoin(self._url, href) if self._url else href
            parts = urlsplit(absolute)
        except ValueError:
            return None
        if parts.scheme not in ("http", "https") or not parts.netloc:
            return None
        return (
            absolute.replace(" ", "%20").replace("(", "%28").replace(")", "%29").replace("\n", "")
        )

    def _code(self, element: etree._Element) -> Iterator[HtmlBlock]:
        for line_break in element.iter("br"):
            line_break.text = "\n"
        code = "".join(self._texts(element)).strip("\n").rstrip()
        if not code.strip():
            return
        fence = "```"
        while fence in code:
            fence += "`"
        self._text_size += len(code)
        yield self._finish(f"{fence}{_code_language(element)}\n{code}\n{fence}")

    def _list(self, element: etree._Element, ordered: bool, depth: int) -> list[str]:
        if depth > _DEEPEST:
            text = self._inline_text([" ".join(self._texts(element))])
            return [f"- {text}"] if text else []
        lines: list[str] = []
        number = 1
        for item in element:
            if not isinstance(item.tag, str) or self._is_dropped(item, inside_content=True):
                continue
            if item.tag == "li":
                body = self._item_lines(item, depth + 1)
            elif item.tag in ("ul", "ol"):
                # A list straight in a list belongs to the item before it.
                lines += [f"  {line}" for line in self._list(item, item.tag == "ol", depth + 1)]
                continue
            else:
                body = self._item_lines(item, depth + 1)
            if body:
                mark = f"{number}. " if ordered else "- "
                number += 1
                lines += _hang(mark, body)
        return lines

    def _item_lines(self, item: etree._Element, depth: int) -> list[str]:
        """An item's content as lines, its inner blocks apart by blank lines."""
        sizes = self._text_size, self._link_size, self._links
        self._text_size = self._link_size = self._links = 0
        blocks = list(self._children(item, depth, inside_content=True))
        # The item's sizes count for the block that the whole list is.
        self._text_size = sizes[0] + sum(block.text_size for block in blocks)
        self._link_size = sizes[1] + sum(block.link_size for block in blocks)
        self._links = sizes[2] + sum(block.links for block in blocks)
        lines: list[str] = []
        for block in blocks:
            markdown = block.markdown.lstrip("# ") if block.is_heading else block.markdown
            tight = not lines or _is_list(markdown)
            lines += markdown.split("\n") if tight else ["", *markdown.split("\n")]
        return lines

    def _definitions(self, element: etree._Element, depth: int) -> list[str]:
        """Terms in bold with their definitions in the same list item."""
        lines: list[str] = []
        terms: list[str] = []
        for child in _definition_parts(element):
            if self._is_dropped(child, inside_content=True):
                continue
            if child.tag == "dt":
                term = self._flat(child, depth + 1)
                if term:
                    terms.append(term)
                continue
            body = self._item_lines(child, depth + 1) if depth < _DEEPEST else []
            if terms:
                body = [f"**{', '.join(terms)}**", *(["", *body] if len(body) > 0 else [])]
                if len(body) == 3 and not _is_list(body[2]):
                    body = [f"{body[0]}: {body[2]}"]
                terms = []
            if body:
                lines += _hang("- ", body)
        for term in terms:
            lines += [f"- {term}"]
        return lines

    def _table(
        self, table: etree._Element, depth: int, inside_content: bool
    ) -> Iterator[HtmlBlock]:
        rows = [row for row in _rows(table) if not self._is_dropped(row, inside_content=True)]
        if _is_simple_list(table, rows):
            items = [self._flat(row, depth + 1) for row in rows]
            if any(items):
                yield self._finish("\n".join(f"- {item}" for item in items if item))
            return
        if _is_layout(table, rows):
            for row in rows:
                for cell in row:
                    if isinstance(cell.tag, str) and not self._is_dropped(cell, inside_content):
                        yield from self._children(cell, depth + 1, inside_content)
            return
        for child in table:
            if child.tag == "caption":
                caption = self._flat(child, depth + 1)
                if caption:
                    yield self._finish(caption)
        cells = [
            [
                self._flat(cell, depth + 1)[:_LONGEST_TABLE_CELL].replace("|", "\\|")
                for cell in row
                if cell.tag in ("td", "th") and not self._is_dropped(cell, inside_content=True)
            ]
            for row in rows
        ]
        cells = [row for row in cells if any(row)]
        width = max((len(row) for row in cells), default=0)
        if not width:
            return
        lines = ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in cells]
        # One dash a column: the embedder reads each as a token.
        lines.insert(1, "|" + "-|" * width)
        yield self._finish("\n".join(lines))


def _hang(mark: str, body: list[str]) -> list[str]:
    indent = " " * len(mark)
    return [mark + body[0], *(indent + line if line else "" for line in body[1:])]


def _is_list(markdown: str) -> bool:
    return markdown.startswith(("- ", "1. "))


def _code_language(element: etree._Element) -> str:
    """The language of a code block as highlighters note it in class names."""
    candidates = [element, *element.findall("code")[:1]]
    parent = element.getparent()
    if parent is not None:
        candidates.append(parent)
        if (grandparent := parent.getparent()) is not None:
            candidates.append(grandparent)
    for candidate in candidates:
        language = candidate.get("data-lang") or candidate.get("data-language")
        if language and language.isalnum():
            return str(language)
        match = _LANGUAGE_CLASS.search(candidate.get("class", "")[:500])
        if match and match[1] not in ("default", "none", "text"):
            return match[1]
    return ""


def _definition_parts(element: etree._Element) -> Iterator[etree._Element]:
    """`dt` and `dd` of a list, those wrapped in `div` included (HTML allows one level)."""
    for child in element:
        if child.tag in ("dt", "dd"):
            yield child
        elif child.tag == "div":
            yield from (inner for inner in child if inner.tag in ("dt", "dd"))


def _rows(table: etree._Element) -> Iterator[etree._Element]:
    for child in table:
        if child.tag == "tr":
            yield child
        elif child.tag in ("thead", "tbody", "tfoot"):
            yield from (row for row in child if row.tag == "tr")


_NOT_IN_DATA_CELLS = ("table", "h1", "h2", "h3", "h4", "article", "section", "form", "pre")


def _is_simple_list(table: etree._Element, rows: list[etree._Element]) -> bool:
    """Whether a table is one column of inline content, as DocBook writes short lists."""
    return (
        len(rows) > 1
        and table.get("role") != "presentation"
        and all(len(row) == 1 and not any(inner.tag in _BLOCKS for inner in row[0]) for row in rows)
    )


def _is_layout(table: etree._Element, rows: list[etree._Element]) -> bool:
    """Whether a table only places things: one row or column, or whole sections in its cells."""
    if table.get("role") == "presentation":
        return True
    width = max((sum(1 for cell in row if cell.tag in ("td", "th")) for row in rows), default=0)
    if len(rows) < 2 or width < 2:
        return True
    return any(
        next(cell.iter(*_NOT_IN_DATA_CELLS), None) is not None
        for row in rows[:50]
        for cell in row
        if cell.tag == "td"
    )

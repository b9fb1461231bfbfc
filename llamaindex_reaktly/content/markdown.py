"""Markdown as sections of blocks, with exact offsets into the source.

A line scanner rather than a full CommonMark parser: nothing here needs the
inline syntax, offsets must be exact, and every line is looked at a bounded
number of times, so hostile input costs no more than honest input. Where it
departs from CommonMark: a setext heading has one line, and a quote has no lazy
continuation.
"""

import enum
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?$")
_SETEXT = re.compile(r" {0,3}(?:=+|-+)[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})([^`]*)$")
_LIST_ITEM = re.compile(r" {0,3}(?:[-*+]|\d{1,9}[.)])(?:[ \t]|$)")
_RULE = re.compile(r" {0,3}(?:-[ \t]*){3,}$|^ {0,3}(?:\*[ \t]*){3,}$|^ {0,3}(?:_[ \t]*){3,}$")
_TABLE_DELIMITERS = frozenset("|:- \t")
# Longer lines are no headings, whatever they start with.
_LONGEST_HEADING = 1000


class BlockKind(enum.StrEnum):
    """What a block is, which says where it may be cut."""

    PARAGRAPH = "paragraph"
    LIST = "list"
    TABLE = "table"
    CODE = "code"
    QUOTE = "quote"


@dataclass(frozen=True, slots=True)
class Block:
    """A block's kind and its span [start, end) in the source, without outer line ends."""

    kind: BlockKind
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with what follows it up to the next heading of any level.

    `headings` is the path down to and including its own heading, empty before
    the first one; [start, end) spans its own heading line and its blocks.
    """

    headings: tuple[str, ...]
    level: int
    start: int
    end: int
    blocks: tuple[Block, ...]


class _Line(NamedTuple):
    # A tuple, since a page has thousands and a frozen dataclass takes four times as long.
    start: int
    end: int
    text: str
    is_blank: bool


def split_sections(markdown: str) -> list[Section]:
    """The sections of a Markdown (or plain) text, in order; none for blank text."""
    return list(_sections(_lines(markdown)))


def split_plain_text(text: str) -> list[Section]:
    """One section of paragraphs: text declared as plain has no syntax to honour."""
    blocks: list[Block] = []
    start = end = -1
    for line in _lines(text):
        if not line.is_blank:
            start, end = (line.start if start < 0 else start), line.end
        elif start >= 0:
            blocks.append(Block(BlockKind.PARAGRAPH, start, end))
            start = -1
    if start >= 0:
        blocks.append(Block(BlockKind.PARAGRAPH, start, end))
    return [Section((), 0, blocks[0].start, blocks[-1].end, tuple(blocks))] if blocks else []


def list_item_starts(text: str) -> list[int]:
    """Offsets of the top-level items of a list block's text."""
    starts = []
    outermost = None
    lines = _lines(text)
    index = 0
    while index < len(lines):
        line = lines[index].text
        if _LIST_ITEM.match(line):
            indentation = len(line) - len(line.lstrip(" "))
            outermost = indentation if outermost is None else outermost
            # Content of an item starts two columns in at the least.
            if indentation < outermost + 2:
                starts.append(lines[index].start)
        index = _after_inner_fence(lines, index)
    return starts


def mask_code(markdown: str) -> str:
    """The text with the insides of code fences and code spans blanked out."""
    lines = _lines(markdown)
    kept: list[str] = []
    index = 0
    while index < len(lines):
        fence = _FENCE.match(lines[index].text)
        if fence:
            index = _after_fence(lines, index, fence[1])
            kept.append("")
            continue
        kept.append(lines[index].text)
        index += 1
    return _mask_spans("\n".join(kept))


def _mask_spans(text: str) -> str:
    """Blank out code spans: a run of backticks up to the next run of equal length."""
    runs = [(match.start(), match.end()) for match in re.finditer(r"`+", text)]
    # Where each run's closing run is, found from the end so that it stays linear.
    closing: list[int | None] = [None] * len(runs)
    latest: dict[int, int] = {}
    for index in range(len(runs) - 1, -1, -1):
        length = runs[index][1] - runs[index][0]
        closing[index] = latest.get(length)
        latest[length] = index
    kept: list[str] = []
    position = index = 0
    while index < len(runs):
        partner = closing[index]
        # A span ends with its paragraph (CommonMark: blocks before inlines).
        if (
            partner is None
            or "\n\n" in text[runs[index][1] : min(runs[partner][0], runs[index][1] + 4096)]
        ):
            index += 1
            continue
        kept.append(text[position : runs[index][0]])
        position = runs[partner][1]
        index = partner + 1
    kept.append(text[position:])
    return " ".join(kept)


def _lines(text: str) -> list[_Line]:
    lines = []
    start = 0
    for raw in text.split("\n"):
        end = start + len(raw)
        trimmed = raw.removesuffix("\r")
        lines.append(_Line(start, start + len(trimmed), trimmed, not trimmed.strip()))
        start = end + 1
    return lines


def _sections(lines: list[_Line]) -> Iterator[Section]:
    path: list[tuple[int, str]] = []
    blocks: list[Block] = []
    start = end = 0
    level = 0

    def section() -> Section:
        return Section(tuple(title for _, title in path), level, start, end, tuple(blocks))

    index = 0
    while index < len(lines):
        line = lines[index]
        if line.is_blank:
            index += 1
            continue
        heading = _heading(lines, index)
        if heading is not None:
            if path or blocks:
                yield section()
            level, title, index = heading
            while path and path[-1][0] >= level:
                path.pop()
            path.append((level, title))
            blocks = []
            start, end = line.start, lines[index - 1].end
            continue
        kind, after = _block(lines, index)
        if kind is not None:
            while lines[after - 1].is_blank:
                after -= 1
            if not blocks and not path:
                start = line.start
            end = lines[after - 1].end
            blocks.append(Block(kind, line.start, end))
        index = max(after, index + 1)
    if path or blocks:
        yield section()


def _heading(lines: list[_Line], index: int) -> tuple[int, str, int] | None:
    """Level, title and the index after a heading that starts here."""
    text = lines[index].text
    if len(text) > _LONGEST_HEADING:
        return None
    match = _ATX.match(text)
    if match:
        title = (match[2] or "").strip()
        bare = title.rstrip("#")
        if not bare or bare[-1:].isspace():
            title = bare.strip()
        return (len(match[1]), title, index + 1) if title else None
    if index + 1 < len(lines) and _SETEXT.match(lines[index + 1].text[:_LONGEST_HEADING]):
        if _starts_block(lines, index) or text.startswith(("    ", "\t")):
            return None
        underline = lines[index + 1].text.strip()
        # One dash under a line is more often a stray list marker.
        if len(underline) < 2:
            return None
        return (1 if underline.startswith("=") else 2), text.strip(), index + 2
    return None


def _starts_block(lines: list[_Line], index: int) -> bool:
    """Whether a line starts something that ends a paragraph."""
    text = lines[index].text
    first = text.lstrip(" ")[:1]
    if first in "#`~>-*+_0123456789|":
        return bool(
            (first == "#" and _ATX.match(text[:_LONGEST_HEADING]))
            or (first in "`~" and _FENCE.match(text))
            or first == ">"
            or (first in "-*+" and _LIST_ITEM.match(text))
            or (first in "-*_" and _RULE.match(text[:_LONGEST_HEADING]))
            or (first in "0123456789" and _LIST_ITEM.match(text))
        ) or _is_table(lines, index)
    return _is_table(lines, index)


def _is_table(lines: list[_Line], index: int) -> bool:
    return (
        index + 1 < len(lines)
        and "|" in lines[index].text
        and "|" in lines[index + 1].text
        and "-" in lines[index + 1].text
        and _TABLE_DELIMITERS.issuperset(lines[index + 1].text)
    )


def _block(lines: list[_Line], index: int) -> tuple[BlockKind | None, int]:
    """Kind and the index after the block that starts here; no kind for a rule."""
    text = lines[index].text
    fence = _FENCE.match(text)
    if fence:
        return BlockKind.CODE, _after_fence(lines, index, fence[1])
    if text.startswith(("    ", "\t")):
        return BlockKind.CODE, _after_while(lines, index, lambda t: t.startswith(("    ", "\t")))
    if _RULE.match(text[:_LONGEST_HEADING]):
        return None, index + 1
    if _is_table(lines, index):
        return BlockKind.TABLE, _after_while(lines, index, lambda t: "|" in t)
    if _LIST_ITEM.match(text):
        return BlockKind.LIST, _after_list(lines, index)
    if text.lstrip(" ").startswith(">"):
        return BlockKind.QUOTE, _after_while(lines, index, lambda t: t.lstrip(" ").startswith(">"))
    after = index + 1
    while after < len(lines) and not lines[after].is_blank:
        if _starts_block(lines, after) or _heading(lines, after) is not None:
            break
        after += 1
    return BlockKind.PARAGRAPH, after


def _after_while(lines: list[_Line], index: int, belongs: Callable[[str], bool]) -> int:
    while index < len(lines) and not lines[index].is_blank and belongs(lines[index].text):
        index += 1
    return index


def _after_fence(lines: list[_Line], index: int, opening: str) -> int:
    """The index after a fence's closing line, or after the last line if it has none."""
    index += 1
    while index < len(lines):
        text = lines[index].text.strip()
        if text.startswith(opening) and not text.strip(opening[0]):
            return index + 1
        index += 1
    return index


def _after_inner_fence(lines: list[_Line], index: int) -> int:
    """The index after a line inside a list, past the whole fence if it opens one."""
    fence = _FENCE.match(lines[index].text.lstrip(" "))
    return _after_fence(lines, index, fence[1]) if fence else index + 1


def _after_list(lines: list[_Line], index: int) -> int:
    index += 1
    while index < len(lines):
        line = lines[index]
        if line.is_blank:
            following = index + 1
            while following < len(lines) and lines[following].is_blank:
                following += 1
            if following == len(lines):
                return index
            text = lines[following].text
            if not (text.startswith(("  ", "\t")) or _LIST_ITEM.match(text)):
                return index
            index = following
            continue
        indented = line.text.startswith(("  ", "\t"))
        if not indented and not _LIST_ITEM.match(line.text):
            if _starts_block(lines, index) or _heading(lines, index) is not None:
                return index
        elif _RULE.match(line.text[:_LONGEST_HEADING]):
            return index
        index = _after_inner_fence(lines, index) if indented else index + 1
    return index

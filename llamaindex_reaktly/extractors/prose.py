"""A document as it reads: its sections as plain prose, without marks, links and code."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llamaindex_reaktly.content.markdown import (
    Block,
    BlockKind,
    Section,
    split_plain_text,
    split_sections,
)
from llamaindex_reaktly.node_parser.sentences import sentence_starts

# More than this of a text says nothing that a person would put into a title or a tag.
_READ_CHARACTERS = 60_000
_IMAGE = re.compile(r"!\[[^\]]*\]\([^()\s]*(?:\s[^()]*)?\)")
_LINK = re.compile(r"\[([^\[\]]*)\](?:\([^()\s]*(?:\s\"[^\"]*\")?\)|\[[^\[\]]*\])")
_ADDRESS = re.compile(r"<?\b(?:https?|ftp)://[^\s<>]+>?")
_LIST_MARK = re.compile(r"^[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+", re.MULTILINE)
_QUOTE_MARK = re.compile(r"^[ \t]*>[ \t]?", re.MULTILINE)
_EMPHASIS = re.compile(
    r"(?<![\w*])(\*{1,3})(?=\S)|(?<=\S)(\*{1,3})(?![\w*])|(?<!\w)_{1,2}(?=\S)|(?<=\S)_{1,2}(?!\w)|~~"
)
_TABLE_DELIMITERS = re.compile(r"^[|:\- \t]+$", re.MULTILINE)
_ESCAPE = re.compile(r"\\([\\`*_{}\[\]()#+\-.!|<>~])")
_TICKS = re.compile(r"`+")


@dataclass(frozen=True, slots=True)
class Passage:
    """A block of a document as prose; `headings` is the path above it."""

    kind: BlockKind
    text: str
    headings: tuple[str, ...]


def passages(text: str, *, is_plain: bool) -> Iterator[Passage]:
    """The blocks of a document's beginning that hold words, code left out, in order."""
    text = text[:_READ_CHARACTERS]
    sections: Sequence[Section] = split_plain_text(text) if is_plain else split_sections(text)
    for section in sections:
        for block in section.blocks:
            if block.kind is BlockKind.CODE:
                continue
            raw = text[block.start : block.end]
            words = " ".join(raw.split()) if is_plain else without_marks(raw, block)
            if words:
                yield Passage(block.kind, words, tuple(map(plain, section.headings)))


def headings(text: str) -> list[str]:
    """The headings of a Markdown text, in order."""
    return [plain(s.headings[-1]) for s in split_sections(text[:_READ_CHARACTERS]) if s.headings]


def without_marks(raw: str, block: Block) -> str:
    """A block's words: of an item, a quote or a cell without what makes it one."""
    if block.kind is BlockKind.QUOTE:
        raw = _QUOTE_MARK.sub("", raw)
    elif block.kind is BlockKind.TABLE:
        raw = _TABLE_DELIMITERS.sub("", raw).replace("|", "\n")
    elif block.kind is BlockKind.LIST:
        raw = _LIST_MARK.sub("", raw)
    if block.kind in (BlockKind.TABLE, BlockKind.LIST):
        return "\n".join(line for part in raw.splitlines() if (line := plain(part)))
    return plain(raw)


def plain(markdown: str) -> str:
    """Inline Markdown as a reader sees it, on one line."""
    text = _LINK.sub(r"\1", _IMAGE.sub("", markdown))
    text = _EMPHASIS.sub("", _TICKS.sub("", _ADDRESS.sub("", text)))
    return " ".join(_ESCAPE.sub(r"\1", text).split())


def sentences(text: str, language: str) -> list[str]:
    """The sentences of a passage; none of an empty one."""
    starts = sentence_starts(text, language)
    ends = [*starts[1:], len(text)]
    return [text[a:b].strip() for a, b in zip(starts, ends, strict=False)]

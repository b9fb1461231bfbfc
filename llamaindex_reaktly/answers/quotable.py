"""The parts of a passage that can stand for themselves in an answer."""

import re
from collections.abc import Iterator

from llamaindex_reaktly.node_parser.sentences import sentence_starts

_FENCE = re.compile(r"[ \t]*(```+|~~~+)")
# A list's entry, a table's row and a quotation begin a part of their own.
_OWN_LINE = re.compile(r"[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+|[ \t]*\||[ \t]*>")
# What follows the row that names a table's columns.
_RULE_ROW = re.compile(r"[ \t]*\|?[ \t]*:?-+[-:| \t]*(?:\n|$)")
_RULE = re.compile(r"[\s|:\-=_*~`#>+]*")
_MARK = re.compile(r"[ \t]*(?:(?:[-*+•]|\d{1,3}[.)]|>)[ \t]+)*")
_HEADING = re.compile(r"[ \t]*#{1,6}[ \t]")


def quotable_spans(text: str, language: str | None = None) -> list[tuple[int, int]]:
    """Offsets of the sentences of running text, the entries of lists and the rows of tables.

    White space around them and the marks of lists are left out, as are headings, the names of
    columns and lines without a word. A block of code is one part.
    """
    code = (language or "en").partition("-")[0].lower()
    spans = []
    for start, end, is_code in _blocks(text):
        if is_code:
            spans.append((start, end))
            continue
        if _HEADING.match(text, start, end) or _names_columns(text, start, end):
            continue
        mark = _MARK.match(text, start, end)
        start = mark.end() if mark else start
        block = text[start:end]
        starts = [0] if block.lstrip().startswith("|") else sentence_starts(block, code)
        for begin, stop in zip(starts, [*starts[1:], len(block)], strict=True):
            spans.append((start + begin, start + stop))
    return [
        (start, end)
        for start, end in (_trimmed(text, *span) for span in spans)
        if not _RULE.fullmatch(text, start, end)
    ]


def _names_columns(text: str, start: int, end: int) -> bool:
    return text[start:end].lstrip().startswith("|") and _RULE_ROW.match(text, end) is not None


def _blocks(text: str) -> Iterator[tuple[int, int, bool]]:
    """Paragraphs, entries, rows and blocks of code, with whether it is the last."""
    start: int | None = None
    fence: str | None = None
    place = 0
    for line in text.splitlines(keepends=True):
        end = place + len(line)
        mark = _FENCE.match(line)
        if fence is not None:
            if mark is not None and mark[1].startswith(fence):
                if start is not None:
                    yield start, place, True
                fence, start = None, None
            elif start is None:
                start = place
        elif mark is not None or not line.strip() or _OWN_LINE.match(line) or _HEADING.match(line):
            if start is not None:
                yield start, place, False
            start = place if mark is None and line.strip() else None
            fence = None if mark is None else mark[1]
            if start is not None and _HEADING.match(line):
                yield place, end, False
                start = None
        elif start is None:
            start = place
        place = end
    if start is not None:
        yield start, len(text), fence is not None


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())

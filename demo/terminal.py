"""What the demo shows: wrapped, and coloured where somebody looks at a terminal."""

import os
import re
import shutil
import textwrap
from collections import Counter
from typing import TextIO

from demo.client import Hit

BOLD, DIM, GREEN, RED, CYAN = "1", "2", "32", "31", "36"
EXCERPT_CHARACTERS = 260
NARROWEST, WIDEST = 50, 100
TABLE_RULE = re.compile(r"^\|[\s:|-]+\|$")
HEADING = re.compile(r"^#+ (.*)$")
SENTENCE_END = re.compile(r"(?<=[.!?]) ")
WORD = re.compile(r"\w{3,}")


class Terminal:
    """Writes paragraphs, results and a progress line to a stream."""

    def __init__(self, stream: TextIO, *, width: int | None = None) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._colour = self._is_terminal and "NO_COLOR" not in os.environ
        columns = width or shutil.get_terminal_size((88, 24)).columns
        self._width = max(NARROWEST, min(columns, WIDEST))
        self._progress_shown = False

    def heading(self, text: str) -> None:
        """Write the title of a part."""
        self._line()
        self._line(self._paint(text, BOLD))

    def say(self, text: str) -> None:
        """Write a paragraph."""
        for line in self._wrap(text, "  "):
            self._line(line)

    def verbatim(self, text: str) -> None:
        """Write lines as they are."""
        for line in text.splitlines():
            self._line(line)

    def question(self, kind: str, text: str) -> None:
        """Write a question as it is sent, with what is special about it."""
        self._line()
        self._line(self._paint(f"  {kind}", DIM))
        for line in self._wrap(f"? {text}", "  "):
            self._line(self._paint(line, CYAN))

    def result(self, rank: int, hit: Hit, query: str) -> None:
        """Write one result: title, address, relevance and the part of the passage that answers."""
        label = f"{hit.source_type}  relevance {hit.relevance:.2f}"
        room = self._width - 7 - len(label) - 2
        title = textwrap.shorten(hit.title, max(room, 10), placeholder="…")
        self._line(
            f"    {rank}. {self._paint(title, BOLD)}{' ' * max(2, room - len(title) + 2)}"
            f"{self._paint(label, GREEN)}"
        )
        self._line(self._paint(f"       {hit.url}", DIM))
        where = " / ".join(hit.headings)
        passage = excerpt(hit.passages[0], query)
        for line in self._wrap(f"[{where}] {passage}" if where else passage, "       "):
            self._line(line)

    def check(self, *, holds: bool, text: str) -> None:
        """Write whether an expectation holds."""
        mark = self._paint("ok", GREEN) if holds else self._paint("NOT MET", RED)
        first, *rest = self._wrap(text, "     ")
        self._line(f"  {mark} {first.strip()}")
        for line in rest:
            self._line(line)

    def progress(self, text: str) -> None:
        """Overwrite the progress line; nothing where the stream is no terminal."""
        if self._is_terminal:
            self._stream.write(f"\r\x1b[K  {text}")
            self._stream.flush()
            self._progress_shown = True

    def _wrap(self, text: str, indent: str) -> list[str]:
        return textwrap.wrap(
            text,
            self._width,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    def _line(self, text: str = "") -> None:
        if self._progress_shown:
            self._stream.write("\r\x1b[K")
            self._progress_shown = False
        self._stream.write(f"{text}\n")
        self._stream.flush()


def excerpt(passage: str, query: str) -> str:
    """Return up to some 260 characters of a passage, from its best sentence for the query on.

    The best sentence shares most words with the query, rare ones counting more;
    a row of a table is shown after the head of its table. A passage that fits is
    returned whole.
    """
    pieces = _pieces(passage)
    whole = " ".join(text for _, text in pieces)
    if len(whole) <= EXCERPT_CHARACTERS:
        return whole
    occurrences = Counter(word for _, text in pieces for word in _words(text))
    wanted = _words(query)
    best, highest = 0, 0.0
    for i, (table_head, text) in enumerate(pieces):
        score = sum(1 / occurrences[word] for word in wanted & _words(text))
        if score > highest and text != table_head:
            best, highest = i, score
    start = "… " if best else ""
    table_head, text = pieces[best]
    if table_head and text != table_head:
        start += f"{table_head} … "
    tail = " ".join(text for _, text in pieces[best:])
    return start + textwrap.shorten(tail, EXCERPT_CHARACTERS - len(start), placeholder=" …")


def _pieces(passage: str) -> list[tuple[str, str]]:
    """Cut Markdown into sentences and table rows, each with the head of its table or nothing."""
    pieces: list[tuple[str, str]] = []
    table_head = ""
    for line in passage.splitlines():
        text = HEADING.sub(r"\1:", " ".join(line.split()))
        if TABLE_RULE.match(text):
            continue
        if text.startswith("|"):
            table_head = table_head or text
            pieces.append((table_head, text))
        else:
            table_head = ""
            pieces.extend(("", sentence) for sentence in SENTENCE_END.split(text) if sentence)
    return pieces


def _words(text: str) -> set[str]:
    return {word.casefold() for word in WORD.findall(text)}

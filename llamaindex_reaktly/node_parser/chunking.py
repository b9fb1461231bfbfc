"""Cuts Markdown into chunks that an embedder reads to the end.

A chunk never crosses a heading, so an edit inside one section changes that
section's chunks only; what a short section lacks in text, its heading path says.
A section over the budget is cut where its structure allows, each chunk filled
to the budget: between blocks first, then between table rows (the header repeated),
code lines (the fence repeated), list items and sentences, then words, and inside a
word only when it alone is over the budget, never inside a character as a reader
sees it.

The text is tokenised once; every decision counts the tokens between two
offsets. So the work is linear in the text.
"""

import bisect
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from llamaindex_reaktly.content.markdown import (
    Block,
    BlockKind,
    list_item_starts,
    split_plain_text,
    split_sections,
)
from llamaindex_reaktly.node_parser.sentences import sentence_starts

DEFAULT_MAX_TOKENS = 256
# What embedders add around a text ([CLS] and [SEP], or <s> and </s>).
SPECIAL_TOKENS = 2

# The context is bounded in UTF-8 bytes because no tokenizer makes more tokens
# than a text has bytes; so whatever the title, some budget is left for text.
_TITLE_BYTES = 100
_PATH_BYTES = 120
_PATH_SEPARATOR = " > "
_SHORTEST_HEADING = 8
MINIMUM_MAX_TOKENS = _TITLE_BYTES + _PATH_BYTES + SPECIAL_TOKENS + 18

# Aligned tables and 100-character words have few tokens and many characters.
_CHARACTERS_PER_TOKEN = 12
# A header or fence line is repeated while it takes at most this share of a chunk.
_REPEATED_SHARE = 3
# Prose has no such words; base64 and its kin do. They are kept by their start: the
# rest can't be found by any search and would cost a second of embedding per 8 kB.
_LONGEST_WORD = 4096
_WORD = re.compile(r"\S+")
_ENCODED_RUN = re.compile(r"[A-Za-z0-9+/=_\-]+")
_GRAPHEME_LOOKBACK = 64
# A list item that is a term in bold with its definition below, as the cleaner
# writes `<dl>`. One that is longer than a chunk is a section in all but name.
_DEFINITION = re.compile(r"[-*+][ \t]+\*\*([^\n]{1,300}?)\*\*[ \t]*\n\s*")


# A link is shown with its target, but the target says nothing about the passage, and its
# dozens of tokens would crowd out the words that do. Each try ends at the next parenthesis.
_LINK = re.compile(r"\[([^\[\]\n]*)\]\(https?://[^()\s]*(?:\([^()\s]*\)[^()\s]*)*\)")
# Markdown's signs are tokens to the embedder and say nothing either: the line under a
# table's header, quote signs and bullets, bold, code, and the bars between cells.
_SIGNS = re.compile(
    r"^[ \t>]*+\|[ \t:|\-]++$|^[ \t>]*+[-*+](?=[ \t])|^[ \t]*+>[ \t>]*+|\*\*|`++|\\?\|",
    re.MULTILINE,
)


class Tokenizer(Protocol):
    """The embedder's own view of a text."""

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, special ones included."""
        ...

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Character offsets of each token; no special tokens, nothing cut off."""
        ...


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage: its text as shown, the heading path above it, its span in the source.

    `text` is `source[start:end]`, with a table's header row or a code fence put
    around it where a table or code block was cut.
    """

    text: str
    headings: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Piece:
    """A span that is kept whole if it can be.

    `prefix` and `suffix` go around a chunk that starts or ends with this piece:
    the header of a cut table, the fences of cut code. After `stop` the source
    has text that is left out, so a chunk ends here. `term` is the term that a
    long definition belongs to: it is carried like a heading.
    """

    start: int
    end: int
    prefix: str = ""
    suffix: str = ""
    stop: bool = False
    term: str = ""


def embedding_text(title: str, headings: Sequence[str], text: str) -> str:
    """What is embedded for a passage: title, heading path and text, one a line.

    Of links only the words: where they point is left out, and so are Markdown's signs.
    """
    text = _SIGNS.sub(" ", _LINK.sub(r"\1", text))
    context = embedding_context(title, headings, text)
    return f"{context}\n{text}" if context else text


def embedding_context(title: str, headings: Sequence[str], text: str) -> str:
    """The lines before a passage's text: its document's title, and its heading path.

    Bounded: a long title loses its end, a long path its outer headings. What
    the text or the line above already says is left out.
    """
    title = _shorten(" ".join(title.split()), _TITLE_BYTES)
    path = [" ".join(heading.split()) for heading in headings]
    if path and path[0].casefold() == title.casefold():
        path = path[1:]
    kept: list[str] = []
    room = _PATH_BYTES
    for heading in reversed(path):
        shortened = _shorten(heading, room)
        if not shortened:
            break
        kept.append(shortened)
        room -= len(shortened.encode("utf-8", "replace")) + len(_PATH_SEPARATOR)
        if room < _SHORTEST_HEADING:
            break
    lines = [title, _PATH_SEPARATOR.join(reversed(kept))]
    return "\n".join(line for line in lines if line and line != text.strip())


def chunk_document(
    markdown: str,
    *,
    title: str,
    tokenizer: Tokenizer,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    plain: bool = False,
    language: str = "en",
) -> list[Chunk]:
    """The chunks of a document, in order.

    For each, `tokenizer.count_tokens(embedding_text(title, headings, text))` is
    at most `max_tokens`. `plain` reads the text without Markdown syntax. A
    document without text but with a title is one chunk of its title.

    Raises ValueError if `max_tokens` is under `MINIMUM_MAX_TOKENS`.
    """
    if max_tokens < MINIMUM_MAX_TOKENS:
        raise ValueError(f"max_tokens must be at least {MINIMUM_MAX_TOKENS}")
    cutter = _Cutter(markdown, title, tokenizer, max_tokens, language)
    sections = split_plain_text(markdown) if plain else split_sections(markdown)
    chunks: list[Chunk] = []
    for index, section in enumerate(sections):
        following = sections[index + 1] if index + 1 < len(sections) else None
        if section.blocks:
            chunks.extend(cutter.chunks(section.headings, section.blocks))
        elif following is None or len(following.headings) <= len(section.headings):
            # A heading with nothing under it: the heading is what it says.
            start = markdown.index(section.headings[-1], section.start)
            block = Block(BlockKind.PARAGRAPH, start, start + len(section.headings[-1]))
            chunks.extend(cutter.chunks(section.headings[:-1], [block]))
    if not chunks and title.strip():
        return [Chunk(title.strip(), (), 0, 0)]
    return chunks


class _Cutter:
    """One document being cut: its text and where its tokens start."""

    def __init__(
        self, source: str, title: str, tokenizer: Tokenizer, max_tokens: int, language: str
    ) -> None:
        self._source = source
        self._title = title
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._language = language
        # Same offsets as the source, with blanks where an encoded run is left out.
        self._masked, self._omissions = _without_encoded_rest(source)
        embedded = _SIGNS.sub(_blanks, _LINK.sub(_blank_target, self._masked))
        self._token_starts = [start for start, _ in tokenizer.token_spans(embedded)]

    def chunks(self, headings: tuple[str, ...], blocks: Sequence[Block]) -> Iterator[Chunk]:
        """Chunks as long as the budget that their context leaves."""
        context = embedding_text(self._title, headings, "")
        budget = self._max_tokens - max(self._tokenizer.count_tokens(context), SPECIAL_TOKENS)
        group: list[_Piece] = []
        for piece in (piece for block in blocks for piece in self._pieces(block, budget)):
            if group and (
                group[-1].stop
                or group[-1].term != piece.term
                or self._group_cost([*group[:1], piece]) > budget
            ):
                yield from self._fitting(headings, group)
                group = []
            group.append(piece)
        if group:
            yield from self._fitting(headings, group)

    def _fitting(self, headings: tuple[str, ...], group: list[_Piece]) -> Iterator[Chunk]:
        """One chunk, or more where the tokenizer sees more tokens in the part than in the whole.

        It can where a word was cut: a word too long for WordPiece is one unknown
        token, its pieces are many known ones.
        """
        first, last = group[0], group[-1]
        text = first.prefix + self._source[first.start : last.end] + last.suffix
        path = (*headings, first.term) if first.term else headings
        embedded = embedding_text(self._title, path, text)
        if self._tokenizer.count_tokens(embedded) <= self._max_tokens or (
            len(group) == 1 and last.end - first.start <= 1
        ):
            yield Chunk(text, path, first.start, last.end)
            return
        if len(group) == 1:
            middle = self._cut_near((first.start + first.end) // 2, first.start, first.end)
            group = [replace(first, end=middle, stop=False), replace(first, start=middle)]
        half = len(group) // 2
        yield from self._fitting(headings, group[:half])
        yield from self._fitting(headings, group[half:])

    def _cost(self, start: int, end: int) -> int:
        """Tokens between two offsets, or what many characters without tokens count for."""
        tokens = bisect.bisect_left(self._token_starts, end) - bisect.bisect_left(
            self._token_starts, start
        )
        return max(tokens, (end - start) // _CHARACTERS_PER_TOKEN)

    def _group_cost(self, group: Sequence[_Piece]) -> int:
        first, last = group[0], group[-1]
        # No tokenizer makes more tokens of a prefix than it has characters; a
        # header row is counted where it stands in the source.
        return self._cost(first.start, last.end) + self._extra(first.prefix) + len(last.suffix)

    def _extra(self, prefix: str) -> int:
        return self._tokenizer.count_tokens(prefix) if prefix else 0

    def _pieces(self, block: Block, budget: int) -> Iterator[_Piece]:
        """A block as spans within the budget, cut where its kind is cut best."""
        if self._cost(block.start, block.end) <= budget:
            yield _Piece(block.start, block.end)
        elif block.kind is BlockKind.TABLE:
            yield from self._rows(block, budget)
        elif block.kind is BlockKind.CODE:
            yield from self._code_lines(block, budget)
        elif block.kind is BlockKind.LIST:
            text = self._source[block.start : block.end]
            starts = [block.start + start for start in list_item_starts(text)]
            for start, end in self._between(starts or [block.start], block.end):
                yield from self._item(start, end, budget)
        elif block.kind is BlockKind.QUOTE:
            yield from self._lines(block.start, block.end, budget)
        else:
            yield from self._sentences(block.start, block.end, budget)

    def _rows(self, block: Block, budget: int) -> Iterator[_Piece]:
        starts = self._line_starts(block.start, block.end)
        body = starts[2] if len(starts) > 2 else block.end
        header = self._source[block.start : body].rstrip() + "\n"
        repeated = header if self._extra(header) * _REPEATED_SHARE <= budget else ""
        room = budget - self._extra(repeated)
        if self._cost(block.start, body) <= room:
            # The header never stands alone: it goes with the first row.
            starts = [block.start, *starts[3:]]
        for start, end in self._between(starts, block.end):
            prefix = repeated if start >= body else ""
            for piece in self._words(start, end, room):
                yield replace(piece, prefix=prefix if piece.start >= body else "")

    def _code_lines(self, block: Block, budget: int) -> Iterator[_Piece]:
        starts = self._line_starts(block.start, block.end)
        first = self._source[block.start : starts[1] if len(starts) > 1 else block.end].strip()
        fence = first[: len(first) - len(first.lstrip(first[:1]))] if first[:1] in "`~" else ""
        opening = f"{first}\n" if fence else ""
        closing = f"\n{fence}" if fence else ""
        if self._extra(opening) * _REPEATED_SHARE > budget:
            opening = closing = ""
        room = budget - self._extra(opening) - len(closing)
        for start, end in self._between(starts, block.end):
            for piece in self._words(start, end, room):
                yield replace(
                    piece,
                    prefix=opening if piece.start > block.start else "",
                    suffix=closing if piece.end < block.end else "",
                )

    def _item(self, start: int, end: int, budget: int) -> Iterator[_Piece]:
        """A list item; a definition longer than a chunk is cut into parts under its term."""
        match = _DEFINITION.match(self._source, start, end)
        if match is None or self._cost(start, end) <= budget:
            yield from self._lines(start, end, budget)
            return
        term = match[1].replace("`", "")
        room = budget - self._tokenizer.count_tokens(
            f"{_PATH_SEPARATOR}{_shorten(term, _PATH_BYTES)}"
        )
        for piece in self._lines(match.end(), end, room):
            yield replace(piece, term=term)

    def _lines(self, start: int, end: int, budget: int) -> Iterator[_Piece]:
        if self._cost(start, end) <= budget:
            yield _Piece(start, end)
            return
        for line_start, line_end in self._between(self._line_starts(start, end), end):
            while self._source[line_start] in " \t":
                line_start += 1
            yield from self._sentences(line_start, line_end, budget)

    def _sentences(self, start: int, end: int, budget: int) -> Iterator[_Piece]:
        if self._cost(start, end) <= budget:
            yield _Piece(start, end)
            return
        offsets = sentence_starts(self._source[start:end], self._language)
        for sentence_start, sentence_end in self._between([start + o for o in offsets], end):
            yield from self._words(sentence_start, sentence_end, budget)

    def _words(self, start: int, end: int, budget: int) -> Iterator[_Piece]:
        """A span, or its words packed to the budget."""
        if self._cost(start, end) <= budget:
            yield _Piece(start, end)
            return
        piece_start = piece_end = start
        for match in _WORD.finditer(self._masked, start, end):
            if self._cost(piece_start, match.end()) > budget:
                if piece_end > piece_start:
                    yield _Piece(piece_start, piece_end)
                piece_start = match.start()
            piece_end = match.end()
            if piece_end in self._omissions or self._cost(piece_start, piece_end) > budget:
                yield from self._slices(piece_start, piece_end, budget)
                piece_start = piece_end
        if piece_end > piece_start:
            yield _Piece(piece_start, piece_end)

    def _slices(self, start: int, end: int, budget: int) -> Iterator[_Piece]:
        while start < end:
            index = bisect.bisect_left(self._token_starts, start) + budget
            stop = self._token_starts[index] if index < len(self._token_starts) else end
            stop = min(stop, start + budget * _CHARACTERS_PER_TOKEN, end)
            if stop < end:
                stop = self._cut_near(stop, start, end)
            yield _Piece(start, stop, stop=stop in self._omissions)
            start = stop

    def _cut_near(self, offset: int, start: int, end: int) -> int:
        """The nearest offset at or before `offset` that cuts no character in two."""
        offset = max(offset, start + 1)
        for candidate in range(offset, max(start, offset - _GRAPHEME_LOOKBACK), -1):
            if candidate >= end or not _joins(self._source[candidate - 1], self._source[candidate]):
                return candidate
        return offset

    def _line_starts(self, start: int, end: int) -> list[int]:
        starts = [start]
        position = self._source.find("\n", start, end)
        while position >= 0:
            if position + 1 < end:
                starts.append(position + 1)
            position = self._source.find("\n", position + 1, end)
        return starts

    def _between(self, starts: Sequence[int], end: int) -> Iterator[tuple[int, int]]:
        """Spans from each start to the next, without the white space at their ends."""
        for index, start in enumerate(starts):
            stop = starts[index + 1] if index + 1 < len(starts) else end
            while stop > start and self._masked[stop - 1].isspace():
                stop -= 1
            if stop > start:
                yield start, stop


def _blank_target(link: re.Match[str]) -> str:
    """A link's words at the place where they stand in it, and blanks for the rest."""
    return f" {link[1]}".ljust(len(link[0]))


def _blanks(signs: re.Match[str]) -> str:
    return " " * len(signs[0])


def _without_encoded_rest(source: str) -> tuple[str, frozenset[int]]:
    """The text with each long encoded run blanked after its start, and where the blanks begin."""
    if len(source) <= _LONGEST_WORD:
        return source, frozenset()
    kept: list[str] = []
    omissions: set[int] = set()
    position = 0
    for run in _ENCODED_RUN.finditer(source):
        if run.end() - run.start() > _LONGEST_WORD:
            cut = run.start() + _LONGEST_WORD
            omissions.add(cut)
            kept += [source[position:cut], " " * (run.end() - cut)]
            position = run.end()
    return "".join([*kept, source[position:]]), frozenset(omissions)


def _joins(before: str, after: str) -> bool:
    """Whether two code points belong to one character as a reader sees it."""
    return (
        unicodedata.category(after)[0] == "M"
        or after in "\u200d\ufe0e\ufe0f"
        or before == "\u200d"
        or "\U0001f3fb" <= after <= "\U0001f3ff"
        or ("\U0001f1e6" <= before <= "\U0001f1ff" and "\U0001f1e6" <= after <= "\U0001f1ff")
    )


def _shorten(text: str, size: int) -> str:
    """A text within `size` bytes of UTF-8, cut before a word where that leaves half of it."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= size:
        return text
    cut = encoded[:size].decode("utf-8", "ignore")
    at_word = cut.rfind(" ")
    return (cut[:at_word] if at_word * 2 > len(cut) else cut).rstrip()

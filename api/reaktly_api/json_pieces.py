"""A big JSON body read piece by piece, so that other threads get their turns in between.

orjson keeps the interpreter locked while it reads: 33 MB took 100 to 160 ms (measured), in
which the event loop answers nobody. Here numpy finds where strings, containers and commas
are, a window at a time; what is small is read by orjson, many members at once, and what is
big is taken apart: containers into members, strings into stretches.

What orjson refuses is refused here. Up to the first byte that is no JSON the structure
found is the true one, so the piece that holds this byte begins where a value may begin, and
orjson meets the byte there as it would have met it in the whole.
"""

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from llamaindex_reaktly.errors import InvalidRequest, TooLarge

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_DEPTH = 64
MAX_VALUES = 500_000

# What is read in one go: bytes, and as many again for each value, which takes orjson some
# .6 us beside its bytes. A piece holds the interpreter for one to five milliseconds.
PIECE_COST = 256 * 1024
COST_OF_A_VALUE = 32
# Short, because one of quotes alone makes arrays of eight times its size.
WINDOW = 256 * 1024
# A surrogate pair written as two escapes is the longest that must not be cut.
LONGEST_CHARACTER = 12

_QUOTE, _BACKSLASH, _COMMA = 0x22, 0x5C, 0x2C
_OPENING, _CLOSING = 0x7B, 0x7D
_LOWER = 0x20  # makes `{` of `[` and `}` of `]`, and of no other byte
_LIST, _OBJECT = b"[]", b"{}"
_BLANKS = b" \t\n\r"
_STRING = re.compile(rb'[ \t\n\r]*+"')
_KEY = re.compile(rb'[ \t\n\r]*+"[^"\\]*+(?:\\.[^"\\]*+)*+"[ \t\n\r]*+:', re.DOTALL)


class Structure(NamedTuple):
    """The commas and brackets outside of strings, in order: where, which, and how deep.

    A container's own brackets and commas have its depth; the outermost is 1 deep.
    """

    places: "NDArray[np.int64]"
    marks: "NDArray[np.uint8]"
    depths: "NDArray[np.int64]"


def structure(body: bytes | memoryview) -> Structure:
    """Where the values of `body` are.

    Raises `TooLarge` for more than `MAX_VALUES`, `InvalidRequest` for more than `MAX_DEPTH`
    levels or an end inside a value.
    """
    import numpy as np  # not for a start to wait for

    whole = np.frombuffer(body, np.uint8)
    places, marks, steps = [], [], []
    values, escaped, in_string = 0, False, False
    for start in range(0, len(whole), WINDOW):
        window = whole[start : start + WINDOW]
        quotes = window == _QUOTE
        escaped = _clear_escaped(quotes, window, escaped)
        at = np.flatnonzero(quotes)
        folded = window | _LOWER
        found = np.flatnonzero((window == _COMMA) | (folded == _OPENING) | (folded == _CLOSING))
        found = found[(np.searchsorted(at, found) + in_string) % 2 == 0]
        in_string ^= len(at) % 2 == 1
        folded = folded[found]
        places.append(found + start)
        marks.append(window[found])
        steps.append((folded == _OPENING).astype(np.int8) - (folded == _CLOSING))
        # Every value but the first follows a comma or an opening bracket.
        values += int(np.count_nonzero(folded != _CLOSING))
        if values > MAX_VALUES:
            raise TooLarge(f"body: holds more than {MAX_VALUES} JSON values")
    step = np.concatenate(steps)
    depths = np.cumsum(step, dtype=np.int64) + (step < 0)
    if len(step) and depths.max() > MAX_DEPTH:
        raise InvalidRequest(f"body: is nested deeper than {MAX_DEPTH} levels", field="body")
    if in_string or step.sum():
        raise _invalid("unexpected end of data")
    return Structure(np.concatenate(places), np.concatenate(marks), depths)


def _clear_escaped(
    quotes: "NDArray[np.bool_]", window: "NDArray[np.uint8]", first_is_escaped: bool
) -> bool:
    """Take the quotes that a backslash escapes out; whether the window ends in such a one."""
    import numpy as np

    at = np.flatnonzero(window == _BACKSLASH)
    if first_is_escaped:
        quotes[0] = False
        at = at[1:] if len(at) and at[0] == 0 else at
    if not len(at):
        return False
    # Of a run of backslashes every other one escapes what follows it.
    begins = np.flatnonzero(np.diff(at, prepend=-2) != 1)
    of_run = np.arange(len(at)) - np.repeat(begins, np.diff(begins, append=len(at)))
    escaped = at[of_run % 2 == 0] + 1
    ends_escaping = bool(escaped[-1] == len(window))
    quotes[escaped[: len(escaped) - ends_escaping]] = False
    return ends_escaping


def read_in_pieces(body: bytes | memoryview, found: Structure) -> object:
    """What `body` says, `found` being its structure. Raises `InvalidRequest` for no JSON."""
    return _Reader(body, found).value(0, len(body), 0, len(found.places))


class _Reader:
    """Reads values that are given by their bytes [start, end) and their marks [first, last)."""

    def __init__(self, body: bytes | memoryview, found: Structure) -> None:
        import numpy as np

        self._body = body
        self._view = memoryview(body)
        self._found = found
        self._costs = found.places + COST_OF_A_VALUE * np.arange(len(found.places))

    def value(self, start: int, end: int, first: int, last: int) -> object:
        places, marks, depths = self._found
        if first == last or not self._is_blank(start, int(places[first])):
            return self._scalar(start, end)
        # The container's own marks: a bracket, a comma behind each member but the last, a bracket.
        own = first + (depths[first:last] == depths[first]).nonzero()[0]
        kind = bytes(marks[own[[0, -1]]])
        if (
            kind not in (_LIST, _OBJECT)
            or (marks[own[1:-1]] != _COMMA).any()
            or not self._is_blank(int(places[own[-1]]) + 1, end)
        ):
            raise _invalid(f"brackets do not match (byte {int(places[first])})")
        if len(own) == 2 and self._is_blank(int(places[own[0]]) + 1, int(places[own[1]])):
            return [] if kind == _LIST else {}
        return self._list(own) if kind == _LIST else self._object(own)

    def _list(self, own: "NDArray[np.int64]") -> list[object]:
        values: list[object] = []
        for start, end, first, last, is_small in self._runs(own):
            if is_small:
                values += self._members(start, end, _LIST)
            else:
                values.append(self.value(start, end, first, last))
        return values

    def _object(self, own: "NDArray[np.int64]") -> dict[str, object]:
        values: dict[str, object] = {}
        for start, end, first, last, is_small in self._runs(own):
            key = None if is_small else _KEY.match(self._body, start, min(end, start + PIECE_COST))
            if key is None:
                values.update(self._members(start, end, _OBJECT))
            else:
                [name] = self._read(start, key.end(), b"{", b"0}")
                values[name] = self.value(key.end(), end, first, last)
        return values

    def _runs(self, own: "NDArray[np.int64]") -> Iterator[tuple[int, int, int, int, bool]]:
        """The members between a container's own marks, as many at a time as make a piece.

        Bounds of their bytes and marks, and whether they are one; a single member may be more.
        """
        costs = self._costs[own]
        begin = 0
        while begin < len(own) - 1:
            end = int(costs.searchsorted(costs[begin] + PIECE_COST, side="right")) - 1
            is_small = end > begin
            end = max(end, begin + 1)
            first, last = int(own[begin]), int(own[end])
            start, stop = int(self._found.places[first]) + 1, int(self._found.places[last])
            yield start, stop, first + 1, last, is_small
            begin = end

    def _members(self, start: int, end: int, kind: bytes) -> Any:
        read = self._read(start, end, kind[:1], kind[1:])
        if not read:  # a comma with nothing before or behind it
            raise _invalid(f"a value is missing (byte {start})")
        return read

    def _scalar(self, start: int, end: int) -> object:
        opening = _STRING.match(self._body, start, end) if end - start > PIECE_COST else None
        if opening is None:
            values = self._members(start, end, _LIST)
            if len(values) > 1:
                raise _invalid(f"more than one value (byte {start})")
            return values[0]
        begin, stop = opening.end(), self._last_quote(start, end)
        if stop < begin:
            raise _invalid(f"a string does not end (byte {start})")
        stretches = []
        while begin < stop:
            stretch, begin = self._stretch(begin, stop)
            stretches.append(stretch)
        return "".join(stretches)

    def _stretch(self, start: int, stop: int) -> tuple[str, int]:
        """As much of a string as makes a piece, and where it ends: never within a character."""
        furthest = min(start + PIECE_COST, stop)
        for end in range(furthest, max(furthest - LONGEST_CHARACTER, start), -1):
            # Half of an escape, of a sequence of UTF-8 or of a surrogate pair is no JSON.
            with contextlib.suppress(orjson.JSONDecodeError):
                stretch: str = orjson.loads(b"".join((b'"', self._view[start:end], b'"')))
                return stretch, end
        return str(self._read(start, furthest, b'"', b'"')), furthest  # raises, with the place

    def _read(self, start: int, end: int, before: bytes, behind: bytes) -> Any:
        """What orjson makes of a piece between the brackets or quotes that it lacks."""
        try:
            return orjson.loads(b"".join((before, self._view[start:end], behind)))
        except orjson.JSONDecodeError as error:
            raise _invalid(f"{error.msg}: {self._place(error, start)}") from None

    def _place(self, error: orjson.JSONDecodeError, start: int) -> str:
        """Where in the body an error is that orjson found in a piece that begins at `start`."""
        import numpy as np

        before = np.frombuffer(self._body, np.uint8, count=start)
        is_character = (before & 0xC0) != 0x80
        newlines = (before == ord("\n")).nonzero()[0]
        column = error.colno
        if error.lineno == 1:
            line_start = int(newlines[-1]) + 1 if len(newlines) else 0
            column += int(is_character[line_start:].sum()) - 1
        line, character = len(newlines) + error.lineno, int(is_character.sum()) + error.pos - 1
        return f"line {line} column {column} (char {character})"

    def _last_quote(self, start: int, end: int) -> int:
        """Where the last of these bytes is that is not blank; -1 if that is no quote."""
        while end > start:
            some = bytes(self._view[max(start, end - 4096) : end])
            left = some.rstrip(_BLANKS)
            end -= len(some) - len(left)
            if left:
                return end - 1 if left.endswith(b'"') else -1
        return -1

    def _is_blank(self, start: int, end: int) -> bool:
        return not any(
            bytes(self._view[at : min(at + 4096, end)]).strip(_BLANKS)
            for at in range(start, end, 4096)
        )


def _invalid(why: str) -> InvalidRequest:
    return InvalidRequest(f"body: is not valid JSON in UTF-8: {why}", field="body")

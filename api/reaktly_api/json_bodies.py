"""Reading JSON that somebody else wrote.

orjson refuses what RFC 8259 refuses (NaN, Infinity, numbers beyond a double, lone
surrogates, anything but UTF-8). What it accepts and the core must not see is refused
here: NUL, deep nesting, and bodies made of millions of tiny values (32 MiB of `[],`
take orjson 7 s and 1.1 GB, measured, with the interpreter locked). Big bodies are read in
pieces, see `json_pieces`.
"""

from collections.abc import Iterator

import orjson

from llamaindex_reaktly.errors import InvalidRequest, UnsupportedMediaType
from reaktly_api.json_pieces import COST_OF_A_VALUE, MAX_DEPTH, read_in_pieces, structure

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# What numpy is no help with.
SMALL = 256 * 1024
# Bytes and values, as `json_pieces` weighs them, that are read in pieces from here on. What is
# smaller keeps the interpreter for some milliseconds.
BIG = 2 * 2**20
_NUL = b"\\u0000"


def require_json(content_type: str | None) -> None:
    """Raise `UnsupportedMediaType` unless the header says JSON in UTF-8, or nothing."""
    if content_type is None or not content_type.strip():
        return
    media_type, *parameters = content_type.split(";")
    media_type = media_type.strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise UnsupportedMediaType("content-type: only application/json is read")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in {
            "utf-8",
            "utf8",
        }:
            raise UnsupportedMediaType("content-type: only the charset utf-8 is read")


def gathered(chunks: list[bytes]) -> bytes | memoryview:
    """The chunks as one; the list is emptied.

    Big ones are put together one by one, each given back when it is copied: to join 32 MiB
    at once, or to let something grow to that, would keep the interpreter for 10 to 50 ms.
    """
    size = sum(map(len, chunks))
    if size < SMALL:
        return b"".join(chunks)
    import numpy as np  # not for a start to wait for

    whole = np.empty(size, np.uint8).data
    chunks.reverse()
    end = 0
    while chunks:
        chunk = chunks.pop()
        begin, end = end, end + len(chunk)
        whole[begin:end] = chunk
    return whole


def decode_object(body: bytes | memoryview) -> dict[str, object]:
    """The JSON object that `body` holds.

    Raises `InvalidRequest` naming a field or `body`, `TooLarge` for too many values.
    """
    if body[: len(BYTE_ORDER_MARK)] == BYTE_ORDER_MARK:
        body = body[len(BYTE_ORDER_MARK) :]
    if not body:
        raise InvalidRequest("body: is empty, a JSON object is needed", field="body")
    value = read_in_pieces(body, structure(body)) if _is_big(body) else _decoded_whole(body)
    if not isinstance(value, dict):
        raise InvalidRequest("body: must be a JSON object", field="body")
    if _holds_nul(body):
        for path in _paths_of_nul(value, ""):
            raise InvalidRequest(f"{path}: holds a NUL character", field=path)
    return value


def _decoded_whole(body: bytes | memoryview) -> object:
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"body: is not valid JSON in UTF-8: {error}", field="body") from None
    if isinstance(value, dict):
        _refuse_depth(value)
    return value


def _is_big(body: bytes | memoryview) -> bool:
    if not SMALL <= len(body) < BIG:
        return len(body) >= BIG
    import numpy as np

    # Every value but the first follows one of these, where they are not part of a text.
    # numpy's comparison is several times as fast as `bytes.count` where bytes are frequent.
    whole = np.frombuffer(body, np.uint8)
    values = sum(int(np.count_nonzero(whole == byte)) for byte in b",[{")
    return len(body) + COST_OF_A_VALUE * values >= BIG


def _holds_nul(body: bytes | memoryview) -> bool:
    if isinstance(body, bytes) and len(body) < SMALL:
        return _NUL in body
    import numpy as np

    # Where the backslashes are, in steps, as a search would keep the interpreter.
    for start in range(0, len(body), BIG):
        part = np.frombuffer(body, np.uint8)[start : start + BIG + len(_NUL) - 1]
        at = np.flatnonzero(part[: 1 - len(_NUL)] == _NUL[0])
        for offset in range(1, len(_NUL)):
            at = at[part[at + offset] == _NUL[offset]]
        if len(at):
            return True
    return False


def _refuse_depth(value: dict[str, object]) -> None:
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else _elements(parent))
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return
    raise InvalidRequest(f"body: is nested deeper than {MAX_DEPTH} levels", field="body")


def _elements(parent: object) -> list[object]:
    return parent if isinstance(parent, list) else []


def _paths_of_nul(value: object, path: str) -> Iterator[str]:
    if isinstance(value, str):
        if "\x00" in value:
            yield path
    elif isinstance(value, dict):
        for name, child in value.items():
            if "\x00" in name:
                yield path or "body"
            else:
                yield from _paths_of_nul(child, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _paths_of_nul(child, f"{path}[{index}]")

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
from reaktly_api.json_pieces import MAX_DEPTH, MAX_VALUES, read_in_pieces, structure

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# From here on in pieces. What is smaller keeps the interpreter for some milliseconds.
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


def decode_object(body: bytes | bytearray) -> dict[str, object]:
    """The JSON object that `body` holds.

    Raises `InvalidRequest` naming a field or `body`, `TooLarge` for too many values.
    """
    if body.startswith(BYTE_ORDER_MARK):  # noqa: FURB188 - it copies a bytearray in any case
        body = body[len(BYTE_ORDER_MARK) :]
    if not body:
        raise InvalidRequest("body: is empty, a JSON object is needed", field="body")
    value = read_in_pieces(body, structure(body)) if len(body) >= BIG else _decoded_whole(body)
    if not isinstance(value, dict):
        raise InvalidRequest("body: must be a JSON object", field="body")
    if _holds_nul(body):
        for path in _paths_of_nul(value, ""):
            raise InvalidRequest(f"{path}: holds a NUL character", field=path)
    return value


def _decoded_whole(body: bytes | bytearray) -> object:
    if _may_hold_too_many_values(body):
        structure(body)  # counts them
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"body: is not valid JSON in UTF-8: {error}", field="body") from None
    if isinstance(value, dict):
        _refuse_depth(value)
    return value


def _may_hold_too_many_values(body: bytes | bytearray) -> bool:
    # Valid JSON has two bytes a value at least, so most bodies need no count and no numpy,
    # whose comparison is several times as fast as `bytes.count` where bytes are frequent.
    if len(body) < 2 * MAX_VALUES:
        return False
    import numpy as np  # not for a start to wait for

    whole = np.frombuffer(body, np.uint8)
    return sum(int(np.count_nonzero(whole == byte)) for byte in b",[{") > MAX_VALUES


def _holds_nul(body: bytes | bytearray) -> bool:
    # In steps, each of which keeps the interpreter for a millisecond.
    return b"\\" in body and any(
        body.find(_NUL, start, start + BIG + len(_NUL)) >= 0 for start in range(0, len(body), BIG)
    )


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

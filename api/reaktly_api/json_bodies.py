"""Reading JSON that somebody else wrote.

orjson refuses what RFC 8259 refuses (NaN, Infinity, numbers beyond a double, lone
surrogates, anything but UTF-8). What it accepts and the core must not see is refused
here: NUL, deep nesting, and bodies made of millions of tiny values (32 MiB of `[],`
take orjson 7 s and 1.1 GB, measured, with the interpreter locked).
"""

import itertools
import re
from collections.abc import Iterator

import orjson

from llamaindex_reaktly.errors import InvalidRequest, TooLarge, UnsupportedMediaType

MAX_DEPTH = 64
MAX_VALUES = 500_000
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# One match for each string, comma or opening bracket. Possessive, and with an optional
# closing quote, so that no input makes it look back.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[,\[{]', re.DOTALL)


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


def decode_object(body: bytes) -> dict[str, object]:
    """The JSON object that `body` holds.

    Raises `InvalidRequest` naming a field or `body`, `TooLarge` for too many values.
    """
    body = body.removeprefix(BYTE_ORDER_MARK)
    if not body:
        raise InvalidRequest("body: is empty, a JSON object is needed", field="body")
    _refuse_too_many_values(body)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"body: is not valid JSON in UTF-8: {error}", field="body") from None
    if not isinstance(value, dict):
        raise InvalidRequest("body: must be a JSON object", field="body")
    _refuse_depth(value)
    if b"\\u0000" in body:
        for path in _paths_of_nul(value, ""):
            raise InvalidRequest(f"{path}: holds a NUL character", field=path)
    return value


def _refuse_too_many_values(body: bytes) -> None:
    # Every value but the first follows a comma or an opening bracket, so these counts
    # bound the values from above; a body of text is done here. numpy's comparison is
    # several times as fast as `bytes.count` where the bytes are frequent.
    # Valid JSON has two bytes a value, so most bodies need no count and no numpy.
    if len(body) < 2 * MAX_VALUES:
        return
    import numpy as np  # not for a start to wait for

    whole = np.frombuffer(body, np.uint8)
    if sum(int(np.count_nonzero(whole == byte)) for byte in b",[{") <= MAX_VALUES:
        return
    outside = (match for match in _TOKEN.finditer(body) if body[match.start()] != 0x22)
    if next(itertools.islice(outside, MAX_VALUES, None), None) is not None:
        raise TooLarge(f"body: holds more than {MAX_VALUES} JSON values")


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

"""Other people's field names exchanged for ours, without reading what is wrong with a body.

The members of an object are moved as they stand, byte for byte: duplicates, bytes that
are no UTF-8, escapes of half characters and absurd nesting all survive. What is no
object at all is left alone.
"""

import codecs
import json
import re
from collections.abc import Callable, Mapping

# A string, a bracket, a sign between members, or a word; control characters in strings
# are some of the cases.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{}",:]+', re.DOTALL)
_OPENING = frozenset("[{")
_CLOSING = frozenset("]}")
_BLANKS = " \t\r\n"

_INGEST_NAMES = {"content_type": "contentType", "metadata": "sourceData"}
_INGEST_DATA = {"url", "title", "content", "content_type", "metadata"}
_SEARCH_NAMES = {"top_k": "limit", "filter": "filters"}

Members = list[tuple[str, str]]


def ingest_body(raw: bytes, knowledge_base: str) -> bytes:
    """A body of id, url, title, content, content_type, metadata as `POST /ingest` takes it."""

    def mapped(members: Members) -> str:
        own = [
            ('"integrationId"', '"bad"'),
            ('"knowledgeBaseId"', json.dumps(knowledge_base)),
            ('"sourceType"', '"PAGE"'),
        ]
        data = []
        for name, value in members:
            plain = name.strip('"')
            if plain in _INGEST_DATA:
                data.append((f'"{_INGEST_NAMES.get(plain, plain)}"', value))
            elif plain == "id":
                own.append(('"externalId"', value))
            else:
                own.append((name, value))
        return _object([*own, ('"data"', _object(data))])

    return _mapped(raw, mapped)


def search_body(raw: bytes, knowledge_base: str) -> bytes:
    """A body of query, top_k, filter, mode as `POST /search` takes it."""

    def mapped(members: Members) -> str:
        own = [('"knowledgeBaseId"', json.dumps(knowledge_base))]
        for name, value in members:
            plain = name.strip('"')
            own.append((f'"{_SEARCH_NAMES[plain]}"' if plain in _SEARCH_NAMES else name, value))
        return _object(own)

    return _mapped(raw, mapped)


def renamed_body(
    raw: bytes, head: Members, names: Mapping[str, tuple[str, str]], inside: str | None = None
) -> bytes:
    """A body with members of its own before, and some others under other names.

    `names` gives each its new name and the text around its value, which is put for `%s`.
    `inside` names a list whose one item they go into; the rest stays where it is.
    """

    def mapped(members: Members) -> str:
        own, item = list(head), []
        for name, value in members:
            new = names.get(name.strip('"'))
            if new is None:
                own.append((name, value))
            else:
                item.append((json.dumps(new[0]), new[1].replace("%s", value)))
        return _object([*own, *item] if inside is None else [*own, _listed(inside, item)])

    return _mapped(raw, mapped)


def _listed(name: str, item: Members) -> tuple[str, str]:
    return json.dumps(name), f"[{_object(item)}]"


def _mapped(raw: bytes, mapped: Callable[[Members], str]) -> bytes:
    if raw.startswith(codecs.BOM_UTF8):
        return codecs.BOM_UTF8 + _mapped(raw.removeprefix(codecs.BOM_UTF8), mapped)
    # Latin-1 takes every byte for a character and gives the same byte back.
    encoding = "utf-16-le" if raw[1:2] == b"\0" or raw[3:4] == b"\0" else "latin-1"
    return _mapped_text(raw.decode(encoding), mapped).encode(encoding)


def _mapped_text(text: str, mapped: Callable[[Members], str]) -> str:
    """The text with each of the objects that it begins with mapped."""
    done = ""
    place = _after_blanks(text, 0)
    while text[place : place + 1] in ("{", "\ufeff"):
        if text[place] == "\ufeff":
            done, text, place = done + text[: place + 1], text[place + 1 :], 0
            continue
        try:
            members, end = _members(text, place + 1)
        except (ValueError, IndexError):
            break
        done, text = done + text[:place] + mapped(members), text[end:]
        place = _after_blanks(text, 0)
    return done + text


def _members(text: str, place: int) -> tuple[Members, int]:
    """Names and values of an object as they are written, and where it ends."""
    members = []
    place = _after_blanks(text, place)
    while text[place] != "}":
        name, place = _raw_value(text, place)
        if text[place] != ":":
            raise ValueError("no colon")
        value, place = _raw_value(text, _after_blanks(text, place + 1))
        members.append((name, value))
        if text[place] == ",":
            place = _after_blanks(text, place + 1)
        elif text[place] != "}":
            raise ValueError("no comma")
    return members, place + 1


def _raw_value(text: str, place: int) -> tuple[str, int]:
    """The value that begins there, as it stands; brackets are counted, not understood."""
    end, depth = place, 0
    while True:
        token = _TOKEN.match(text, end)
        if token is None:
            raise ValueError("no value")
        end = token.end()
        depth += (token[0] in _OPENING) - (token[0] in _CLOSING)
        if depth <= 0:
            return text[place:end], _after_blanks(text, end)
        end = _after_blanks(text, end)


def _after_blanks(text: str, place: int) -> int:
    while text[place : place + 1] and text[place] in _BLANKS:
        place += 1
    return place


def _object(members: Members) -> str:
    return "{" + ", ".join(f"{name}: {value}" for name, value in members) + "}"

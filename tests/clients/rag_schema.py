"""The documents of `inkeep-rag` as the vendor's clients declare them (zod, in their examples).

Nothing there may be null: a field is a string or absent.
"""

from pydantic import BaseModel, ConfigDict


class _Declared(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class Block(_Declared):
    type: str
    text: str
    media_type: str = ""
    data: str = ""


class Source(_Declared):
    type: str
    content: list[Block]


class Document(_Declared):
    type: str
    record_type: str
    url: str
    title: str
    source: Source
    context: str = ""


class Rag(_Declared):
    content: list[Document]

"""Documents and nodes as objects of a Weaviate collection, and back.

One object a node, under an id that follows from document, version and place, so that
sending it again is no second one. A version's first object is its head: it carries the
document and is written last, so a version without one is not whole and is not there. A
document without text has a head that is no node.

Objects are read in two steps. A search brings up their `ref` alone: which version of which
document they are, and digests of what they hold. Whatever is known under these digests
need not be fetched again, and whatever is fetched is kept.
"""

import base64
import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import orjson
from weaviate.classes.data import DataObject
from weaviate.collections.classes.types import WeaviateField, WeaviateProperties

from llamaindex_reaktly.domain import SourceType
from llamaindex_reaktly.stores import weaviate_filters
from llamaindex_reaktly.stores.filter_sql import microseconds
from llamaindex_reaktly.stores.lexical import index_tokens, profile, split_terms
from llamaindex_reaktly.stores.protocol import (
    IndexedDocument,
    IndexedNode,
    Replacement,
    Vector,
)
from llamaindex_reaktly.stores.weaviate_schema import VECTOR

# Tokens of `attr` beside those of the filters.
OWN_MARK = "#"
LANGUAGE_MARK = "#language"

_NAMESPACE = uuid.UUID("2f3f0e4c-7a0c-5a55-9d4e-6d0d3b1c2a10")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Properties = Mapping[str, object]
StoredObject = DataObject[WeaviateProperties, None]


class Ref(NamedTuple):
    """Which version of which document an object belongs to, and what it and its head hold."""

    version: int
    stamp: str
    head_stamp: str
    document_id: str


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What an object says of its node."""

    node_id: str
    ordinal: int
    text: str
    headings: tuple[str, ...]
    content_digest: str
    extra: str | None
    language: str
    length: int
    profile: bytes
    vector: Vector


@dataclass(frozen=True, slots=True)
class HeadRecord:
    """What a head says of its document; `mean` is that of its nodes' vectors, or None."""

    document: IndexedDocument
    nodes: int
    mean: Vector | None


def object_id(document_id: str, version: int, ordinal: int) -> str:
    """The id of a version's node; that of its head is the one of ordinal 0."""
    return str(uuid.uuid5(_NAMESPACE, f"{version}/{ordinal}/{document_id}"))


def language_id(language: str) -> str:
    """The id of the object that says that there are documents in a language."""
    return str(uuid.uuid5(_NAMESPACE, f"language/{language}"))


def document_token(document_id: str) -> str:
    """Of every object of a document."""
    return "#d" + weaviate_filters.digest(document_id)


def head_token(document_id: str) -> str:
    """Of every head of a document."""
    return "#h" + weaviate_filters.digest(document_id)


def language_token(language: str) -> str:
    """What a head's `language` is found by."""
    return index_tokens([language])


def language_object(language: str) -> StoredObject:
    """The object that says that there are documents in a language."""
    properties: dict[str, WeaviateField] = {
        weaviate_filters.PROPERTY: [LANGUAGE_MARK],
        "payload": language,
    }
    return DataObject(uuid=language_id(language), properties=properties)


def objects_of(replacement: Replacement) -> list[StoredObject]:
    """The version's objects by ordinal, the head first."""
    document, nodes = replacement.document, replacement.nodes
    head = json.dumps(
        {
            "document": _document_as_json(document),
            "nodes": len(nodes),
            "mean": _mean(nodes),
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )
    head_stamp = _stamp(head)
    attributes = [
        OWN_MARK,
        document_token(document.document_id),
        *weaviate_filters.tokens_of(document),
    ]
    objects: list[StoredObject] = []
    for ordinal in range(max(len(nodes), 1)):
        node = nodes[ordinal] if nodes else None
        payload, stamp = "", ""
        of_node: dict[str, WeaviateField] = {}
        if node is not None:
            terms = split_terms(node.terms)
            payload = _node_as_json(node, document.language, terms)
            vector = np.asarray(node.vector, dtype="<f4")
            stamp = _stamp(payload, vector.tobytes())
            of_node = {
                "payload": payload,
                "terms": node.terms,
                "tokens": index_tokens(terms),
                "length": len(terms),
            }
        of_head: dict[str, WeaviateField] = {}
        if ordinal == 0:
            of_head = {
                "head": head,
                "nodes": len(nodes),
                "language": language_token(document.language),
            }
        properties: dict[str, WeaviateField] = {
            weaviate_filters.PROPERTY: attributes
            if ordinal
            else [*attributes, head_token(document.document_id)],
            "version": document.version,
            "ordinal": ordinal,
            "ref": f"{document.version} {stamp} {head_stamp} {document.document_id}",
            **of_node,
            **of_head,
        }
        objects.append(
            DataObject(
                uuid=object_id(document.document_id, document.version, ordinal),
                properties=properties,
                vector=None if node is None else {VECTOR: vector.tolist()},
            )
        )
    return objects


def read_ref(properties: Properties) -> Ref:
    """An object's `ref`."""
    version, stamp, head_stamp, document_id = str(properties["ref"]).split(" ", 3)
    return Ref(int(version), stamp, head_stamp, document_id)


def read_node(properties: Properties, vector: object) -> NodeRecord | None:
    """The node that an object holds; None for the head of a document without text."""
    payload = properties.get("payload")
    if not payload:
        return None
    values = orjson.loads(str(payload))
    return NodeRecord(
        node_id=values["id"],
        ordinal=values["ordinal"],
        text=values["text"],
        headings=tuple(values["headings"]),
        content_digest=values["digest"],
        extra=values["extra"],
        language=values["language"],
        length=values["length"],
        profile=base64.b64decode(values["profile"]),
        vector=np.asarray(vector, dtype=np.float32),
    )


def read_head(properties: Properties) -> HeadRecord | None:
    """The document that a head carries; None for another object."""
    head = properties.get("head")
    if not head:
        return None
    # Not orjson, which knows no integers beyond 64 bits.
    values = json.loads(str(head))
    mean = values["mean"]
    return HeadRecord(
        document=_document_of_json(values["document"]),
        nodes=values["nodes"],
        mean=None if mean is None else np.frombuffer(base64.b64decode(mean), dtype="<f4"),
    )


def node_of(record: NodeRecord, terms: str) -> IndexedNode:
    """The node as it was stored."""
    return IndexedNode(
        node_id=record.node_id,
        ordinal=record.ordinal,
        text=record.text,
        headings=record.headings,
        terms=terms,
        vector=record.vector,
        content_digest=record.content_digest,
        extra=record.extra,
    )


def _mean(nodes: Sequence[IndexedNode]) -> str | None:
    """The mean of the nodes' vectors, scaled to unit length; None where one node says it."""
    if len(nodes) < 2:
        return None
    total = np.sum([node.vector for node in nodes], axis=0, dtype=np.float64)
    length = float(np.linalg.norm(total))
    unit = total / length if length else total
    return base64.b64encode(unit.astype("<f4").tobytes()).decode()


def _node_as_json(node: IndexedNode, language: str, terms: Sequence[str]) -> str:
    return orjson.dumps(
        {
            "id": node.node_id,
            "ordinal": node.ordinal,
            "text": node.text,
            "headings": node.headings,
            "digest": node.content_digest,
            "extra": node.extra,
            "language": language,
            "length": len(terms),
            "profile": base64.b64encode(profile(terms)).decode(),
        }
    ).decode()


def _document_as_json(document: IndexedDocument) -> dict[str, object]:
    return {
        "document_id": document.document_id,
        "version": document.version,
        "source": document.source,
        "external_id": document.external_id,
        "source_type": document.source_type.value,
        "title": document.title,
        "url": document.url,
        "summary": document.summary,
        "tags": document.tags,
        "language": document.language,
        "attributes": dict(document.attributes),
        "updated_at": microseconds(document.updated_at),
    }


def _document_of_json(values: Mapping[str, object]) -> IndexedDocument:
    fields = dict(values)
    fields["source_type"] = SourceType(str(fields["source_type"]))
    fields["tags"] = tuple(fields["tags"])  # type: ignore[arg-type]
    fields["updated_at"] = _EPOCH + timedelta(microseconds=int(str(fields["updated_at"])))
    return IndexedDocument(**fields)  # type: ignore[arg-type]


def _stamp(*parts: str | bytes) -> str:
    hashed = hashlib.blake2b(digest_size=8)
    for part in parts:
        hashed.update(part.encode() if isinstance(part, str) else part)
    return hashed.hexdigest()

"""A knowledge base as lines of JSON: what `reaktly export` writes and `reaktly import` reads.

The first line is a header, then comes a line a document, the last one closes: it has the
number of documents and the SHA-256 of all bytes before it, so that a file that lacks its end
is noticed. docs/reference/export-format.md describes the fields.
"""

import gzip
import hashlib
import itertools
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import BinaryIO, Literal

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from llamaindex_reaktly.domain import (
    ContentType,
    DocumentKey,
    Priority,
    SourceDocument,
    SourceType,
    StoredContent,
)
from llamaindex_reaktly.errors import InvalidRequest
from llamaindex_reaktly.knowledge_base import KnowledgeBase, job_id
from llamaindex_reaktly.registry.acceptance import Restored

FORMAT = 1
# What is held in memory and committed at a time.
BATCH_DOCUMENTS = 200
BATCH_CHARACTERS = 4_000_000
MAX_LINE_BYTES = 512 * 2**20

NO_CONTROLS = r"^[^\x00-\x1f\x7f]+$"


class Header(BaseModel):
    """The first line."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    reaktly: Literal["export"]
    format: int
    name: str = ""
    organisation: str | None = None
    embedder: str | None = None


class Line(BaseModel):
    """A document."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    source: str = Field(min_length=1, max_length=256, pattern=NO_CONTROLS)
    externalId: str = Field(min_length=1, max_length=2048, pattern=NO_CONTROLS)  # noqa: N815 - as it is in the file
    secondName: str | None = Field(default=None, min_length=1, max_length=256, pattern=NO_CONTROLS)  # noqa: N815
    version: int = Field(ge=1, lt=2**62)
    updatedAt: AwareDatetime  # noqa: N815
    sourceType: SourceType  # noqa: N815
    title: str
    content: str
    contentType: ContentType | None = None  # noqa: N815
    url: str | None = None
    summary: str | None = None
    tags: tuple[str, ...] = ()
    language: str | None = None
    attributes: dict[str, JsonValue] = Field(default_factory=dict)
    clientHash: str | None = None  # noqa: N815
    priority: Literal["LOW", "NORMAL", "HIGH"] = "NORMAL"
    fillMissing: bool = False  # noqa: N815

    def restored(self, knowledge_base_id: str) -> Restored:
        """The document in a knowledge base, which may be another than it came from."""
        key = DocumentKey(knowledge_base_id, self.source, self.externalId)
        document = SourceDocument(
            key=key,
            source_type=self.sourceType,
            title=self.title,
            content=self.content,
            content_type=self.contentType,
            url=self.url,
            summary=self.summary,
            tags=self.tags,
            language=self.language,
            attributes=self.attributes,
            client_hash=self.clientHash,
            priority=Priority[self.priority],
            fill_missing=self.fillMissing,
            is_renamable=True,
            second_name=self.secondName,
        )
        return Restored(document, job_id(key), self.version, self.updatedAt.timestamp())


@dataclass(slots=True)
class ImportReport:
    """What became of a file. `problems` are sentences, each naming its line."""

    imported: int = 0
    unchanged: int = 0
    newer_here: int = 0
    problems: list[str] = field(default_factory=list)


def export_documents(
    knowledge_base: KnowledgeBase,
    knowledge_base_id: str,
    out: BinaryIO,
    progress: Callable[[int], None] = lambda _done: None,
) -> int:
    """Write a knowledge base; how many documents.

    Each document is as it was at some moment of the export; deleted ones are left out.
    Raises `NotFound` for an unknown knowledge base.
    """
    info = knowledge_base.registry.knowledge_bases.get(knowledge_base_id)
    digest = hashlib.sha256()

    def write(line: Mapping[str, object]) -> None:
        encoded = orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)
        digest.update(encoded)
        out.write(encoded)

    write(
        {
            "reaktly": "export",
            "format": FORMAT,
            "knowledgeBaseId": knowledge_base_id,
            "name": info.name,
            "organisation": info.organisation,
            "embedder": info.embedder,
            "exportedAt": datetime.now(UTC),
        }
    )
    done = 0
    for stored in knowledge_base.registry.documents.contents(
        knowledge_base_id, characters=BATCH_CHARACTERS
    ):
        write(_line(stored))
        done += 1
        progress(done)
    write({"end": True, "documents": done, "sha256": digest.hexdigest()})
    return done


def _line(stored: StoredContent) -> dict[str, object]:
    document, status = stored.document, stored.status
    return {
        "documentId": status.document_id,
        "source": document.key.source,
        "externalId": document.key.external_id,
        "secondName": document.second_name,
        "version": status.version,
        "updatedAt": status.updated_at,
        "sourceType": document.source_type,
        "title": document.title,
        "content": document.content,
        "contentType": document.content_type,
        "url": document.url,
        "summary": document.summary,
        "tags": document.tags,
        "language": document.language,
        "attributes": dict(document.attributes),
        "clientHash": document.client_hash,
        "priority": document.priority.name,
        "fillMissing": document.fill_missing,
    }


def import_documents(
    knowledge_base: KnowledgeBase,
    knowledge_base_id: str,
    lines: BinaryIO,
    *,
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda _done: None,
) -> ImportReport:
    """Accept what an export holds, a batch at a time; durable on return.

    What is there already costs little, so an import that was interrupted is run again.
    Documents that were changed here after the export stay as they are, unless `overwrite`.
    Lines that cannot be read are reported and the others imported. Raises `InvalidRequest`
    when the file is not an export at all, or one of a later format.
    """
    header = _header(lines.readline(MAX_LINE_BYTES))
    registry = knowledge_base.registry
    if registry.knowledge_bases.find(knowledge_base_id) is None:
        registry.knowledge_bases.create(
            knowledge_base_id,
            embedder=knowledge_base.settings.embedder,
            name=header[0].name,
            organisation=header[0].organisation,
        )
    report = ImportReport()
    done = 0
    for batch in _batches(_documents(lines, header[1], knowledge_base_id, report)):
        receipts = knowledge_base.restore(batch, overwrite=overwrite)
        for receipt in receipts:
            if receipt is None:
                report.newer_here += 1
            elif receipt.unchanged:
                report.unchanged += 1
            else:
                report.imported += 1
        done += len(batch)
        progress(done)
    return report


def _header(line: bytes) -> tuple[Header, bytes]:
    try:
        header = Header.model_validate_json(line)
    except ValidationError:
        raise InvalidRequest("line 1: this is not an export of Reaktly", field="line 1") from None
    if header.format > FORMAT:
        raise InvalidRequest(
            "line 1: the export was made by a later release; install that one", field="line 1"
        )
    return header, line


def _documents(
    lines: BinaryIO, header: bytes, knowledge_base_id: str, report: ImportReport
) -> Iterator[Restored]:
    digest = hashlib.sha256(header)
    for number in itertools.count(2):
        try:
            line = lines.readline(MAX_LINE_BYTES)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            line = b""  # where the compressed file is cut off or damaged
        if not line:
            report.problems.append(f"line {number}: the file ends here, but its end is missing")
            return
        if line.startswith(b'{"end":'):
            if not _closes(line, number - 2, digest.hexdigest()):
                report.problems.append(
                    f"line {number}: the lines before are not those that were exported"
                )
            return
        digest.update(line)
        try:
            yield Line.model_validate_json(line).restored(knowledge_base_id)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, problem["loc"])) or "the line"
            report.problems.append(f"line {number}: {place}: {problem['msg']}")


def _closes(line: bytes, documents: int, sha256: str) -> bool:
    try:
        end = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return bool(end.get("documents") == documents and end.get("sha256") == sha256)


def _batches(documents: Iterator[Restored]) -> Iterator[list[Restored]]:
    batch: list[Restored] = []
    characters = 0
    for restored in documents:
        batch.append(restored)
        characters += len(restored.document.content)
        if len(batch) >= BATCH_DOCUMENTS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch

"""Files as documents: finding them, reading them, giving them a name and a title."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llamaindex_reaktly.cli.parameters import id_problem
from llamaindex_reaktly.domain import ContentType, DocumentKey, SourceDocument, SourceType
from llamaindex_reaktly.errors import InvalidRequest

CONTENT_TYPES = {
    ".md": ContentType.MARKDOWN,
    ".txt": ContentType.TEXT,
    ".html": ContentType.HTML,
    ".htm": ContentType.HTML,
}
# Where a text file shows that it is none: NUL in its beginning. UTF-16 has them by right,
# and says so by a byte order mark.
_BINARY_WINDOW = 8192
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_LONGEST_TITLE = 500


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file, and its path relative to the folder that was given: its external id."""

    path: Path
    external_id: str


def find_files(arguments: Sequence[str]) -> list[FoundFile]:
    """The files that the arguments name, those of folders sorted by path.

    In folders, files of other kinds and hidden ones are passed over; links to folders
    are not followed. Raises `InvalidRequest` (field `PATH`) for a URL, for something that is
    not there, for a file of another kind named outright, and where two files would
    have the same external id.
    """
    found: dict[str, FoundFile] = {}
    for argument in arguments:
        for file in _of_argument(argument):
            other = found.setdefault(file.external_id, file)
            if other.path.absolute() != file.path.absolute():
                raise _usage(
                    f"{other.path} and {file.path} would both be {file.external_id!r}; give "
                    "the folder above them, or ingest them with different --source"
                )
    return list(found.values())


def read_document(
    file: FoundFile,
    *,
    knowledge_base_id: str,
    source: str,
    source_type: SourceType,
    max_bytes: int,
) -> SourceDocument | None:
    """A file as a document; None if there is nothing in it.

    Raises `InvalidRequest` with the reason when it cannot be taken, `OSError` when it cannot be
    read.
    """
    problem = id_problem(file.external_id)
    if problem:
        raise _usage(f"its path cannot be an id: {problem}")
    size = file.path.stat().st_size
    if size > max_bytes:
        raise _usage(f"it has {size} bytes, more than REAKTLY_MAX_BODY_BYTES ({max_bytes})")
    content_type = CONTENT_TYPES[file.path.suffix.lower()]
    text = decode(file.path.read_bytes(), content_type)
    if not text.strip():
        return None
    return SourceDocument(
        key=DocumentKey(knowledge_base_id, source, file.external_id),
        source_type=source_type,
        title=title_of(text, content_type) or file.path.stem,
        content=text,
        content_type=content_type,
    )


def decode(body: bytes, content_type: ContentType) -> str:
    """The characters of a file; `InvalidRequest` if it holds no text."""
    from llamaindex_reaktly.content.charset import decode_html

    if b"\x00" in body[:_BINARY_WINDOW] and not body.startswith(_UTF16_MARKS):
        raise _usage("it is not a text file")
    if content_type is not ContentType.HTML:
        # What a text says about charsets is part of the text: a guide to HTML is not a page.
        try:
            return body.decode("utf-8-sig").replace("\x00", "\ufffd")
        except UnicodeDecodeError:
            pass
    return decode_html(body, None)


def title_of(text: str, content_type: ContentType) -> str:
    """The title that a text gives itself; empty if it gives none."""
    title: str | None = None
    if content_type is ContentType.HTML:
        from resiliparse.parse.html import HTMLTree

        tree = HTMLTree.parse(text)
        title = tree.title
        if not title and tree.document is not None:
            heading = tree.document.query_selector("h1")
            title = heading.text if heading is not None else None
    elif content_type is ContentType.MARKDOWN:
        from llamaindex_reaktly.content.markdown import split_sections

        headings = (section.headings for section in split_sections(text))
        title = next((path[-1] for path in headings if path), None)
    return " ".join((title or "").split())[:_LONGEST_TITLE]


def _of_argument(argument: str) -> Iterator[FoundFile]:
    if "://" in argument:
        raise _usage(f"{argument} is a URL; only files and folders can be ingested so far")
    path = Path(argument)
    if path.is_dir():
        yield from _of_folder(path)
    elif not path.exists():
        raise _usage(f"there is no file or folder {argument!r}")
    elif not path.is_file() or path.suffix.lower() not in CONTENT_TYPES:
        raise _usage(f"{argument} is none of {', '.join(CONTENT_TYPES)}")
    else:
        yield FoundFile(path, path.name)


def _of_folder(folder: Path) -> list[FoundFile]:
    found = []
    for parent, folders, names in os.walk(folder, onerror=_refuse_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            kind = path.suffix.lower()
            if not name.startswith(".") and kind in CONTENT_TYPES and path.is_file():
                found.append(FoundFile(path, path.relative_to(folder).as_posix()))
    return sorted(found, key=lambda file: file.external_id)


def _refuse_unreadable(error: OSError) -> None:
    raise error


def _usage(message: str) -> InvalidRequest:
    return InvalidRequest(message, field="PATH")

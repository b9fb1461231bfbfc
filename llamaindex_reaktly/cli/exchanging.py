"""`reaktly export` and `reaktly import`: a knowledge base as a file."""

import gzip
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, cast

import typer

from llamaindex_reaktly.cli.documents import NEEDS_WORKER
from llamaindex_reaktly.cli.opening import open_knowledge_base
from llamaindex_reaktly.cli.output import print_json, print_line, progress_bar
from llamaindex_reaktly.cli.parameters import AsJson, KnowledgeBaseId

STANDARD = "-"
GZIP_MAGIC = b"\x1f\x8b"

File = Annotated[
    str,
    typer.Argument(metavar="FILE", help="A file, compressed if it ends in .gz; - for the pipe."),
]


def export(knowledge_base_id: KnowledgeBaseId, file: File, as_json: AsJson = False) -> None:
    """Write all documents of a knowledge base to a file, as they were accepted."""
    from llamaindex_reaktly.exchange import export_documents

    with open_knowledge_base() as knowledge_base:
        total = len(knowledge_base.registry.documents.ids(knowledge_base_id))
        # Named first: an unknown knowledge base leaves no file behind.
        knowledge_base.registry.knowledge_bases.get(knowledge_base_id)
        with _written(file) as out, progress_bar("exporting", total) as progress:
            documents = export_documents(knowledge_base, knowledge_base_id, out, progress)
    if file == STANDARD:
        print_line(f"{documents} documents exported", err=True)
    elif as_json:
        print_json({"knowledgeBaseId": knowledge_base_id, "file": file, "documents": documents})
    else:
        print_line(f"{documents} documents exported to {file}")


def import_(
    knowledge_base_id: KnowledgeBaseId,
    file: File,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Take documents back that were changed after the export too."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read what `reaktly export` wrote. An import that was interrupted is run again."""
    from llamaindex_reaktly.exchange import import_documents

    with (
        open_knowledge_base() as knowledge_base,
        _read(file) as (lines, size, place),
        progress_bar("importing (bytes)", size) as progress,
    ):
        report = import_documents(
            knowledge_base,
            knowledge_base_id,
            lines,
            overwrite=overwrite,
            progress=lambda _done: progress(place()),
        )
    if as_json:
        print_json(
            {
                "knowledgeBaseId": knowledge_base_id,
                "imported": report.imported,
                "unchanged": report.unchanged,
                "newerHere": report.newer_here,
                "problems": report.problems,
            }
        )
    else:
        done = f"{report.imported} documents imported, {report.unchanged} were there already"
        if report.newer_here:
            done += f", {report.newer_here} were changed here later and stay"
        print_line(done + (f"; {NEEDS_WORKER}" if report.imported else ""))
        for problem in report.problems:
            print_line(f"{file}: {problem}", err=True)
    if report.problems:
        raise typer.Exit(1)


@contextmanager
def _written(file: str) -> Iterator[BinaryIO]:
    """A file that has its name only when it is whole and on the disk."""
    if file == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(file)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as plain:
            part.chmod(0o600)
            if path.suffix == ".gz":
                with gzip.GzipFile(filename="", fileobj=plain, mode="wb") as packed:
                    yield cast("BinaryIO", packed)
            else:
                yield plain
            plain.flush()
            os.fsync(plain.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def _read(file: str) -> Iterator[tuple[BinaryIO, int, Callable[[], int]]]:
    """The lines, the size of the file, and how far it is read."""
    if file == STANDARD:
        yield _unpacked(sys.stdin.buffer), 0, lambda: 0
        return
    with Path(file).open("rb") as plain:
        yield _unpacked(plain), os.fstat(plain.fileno()).st_size, plain.tell


def _unpacked(plain: BinaryIO) -> BinaryIO:
    peek = getattr(plain, "peek", None)
    if peek is not None and peek(2)[:2] == GZIP_MAGIC:
        return cast("BinaryIO", gzip.GzipFile(fileobj=plain, mode="rb"))
    return plain

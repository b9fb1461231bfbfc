"""The 1,168 HTML pages of Debian's package postgresql-doc-15: found, or fetched, and checked.

    python -m benchmarks.postgresql_pages

They are not in this repository. `REAKTLY_BENCH_POSTGRESQL` names the folder that holds
them (`…/share/doc/postgresql-doc-15/html`); else the installed package's is taken; else
the package is fetched with apt-get into a cache. The manifest with their digests is
shared data (`REAKTLY_BENCH_DATA`, `../shared/data` by default).
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import DataAbsent
from llamaindex_reaktly.content.charset import decode_html

PACKAGE = "postgresql-doc-15"
HTML_FOLDER = Path("usr/share/doc") / PACKAGE / "html"
BASE_URL = "https://www.postgresql.org/docs/15/"


@dataclass(frozen=True, slots=True)
class Page:
    """One page, decoded."""

    path: str
    title: str
    html: str

    def item(self, knowledge_base: str) -> dict[str, object]:
        """The page as `POST /ingest` takes it."""
        return {
            "integrationId": "postgresql",
            "knowledgeBaseId": knowledge_base,
            "externalId": self.path,
            "sourceType": "ARTICLE",
            "data": {
                "title": self.title,
                "content": self.html,
                "contentType": "text/html",
                "url": BASE_URL + self.path,
            },
        }


def data_folder() -> Path:
    """Where the shared evaluation data is, or would be."""
    named = os.environ.get("REAKTLY_BENCH_DATA")
    return Path(named) if named else Path(__file__).parents[2] / "shared" / "data"


def postgresql_pages(folder: Path | None = None) -> list[Page]:
    """All pages of the manifest, in its order, each checked against its digest.

    Raises `DataAbsent` when the manifest or a page is not there or is another version.
    """
    manifest = data_folder() / "docs" / "postgresql" / "manifest.jsonl"
    if not manifest.is_file():
        raise DataAbsent(
            f"the manifest {manifest} is absent; set REAKTLY_BENCH_DATA to the evaluation data"
        )
    entries = [json.loads(line) for line in manifest.read_text().splitlines()]
    folder = folder or _find_folder()
    pages = []
    for entry in entries:
        file = folder / entry["path"]
        raw = file.read_bytes() if file.is_file() else b""
        if hashlib.sha256(raw).hexdigest() != entry["sha256"]:
            raise DataAbsent(f"{file} is not the page that {manifest} describes")
        pages.append(Page(entry["path"], entry["title"], decode_html(raw)))
    return pages


def postgresql_questions() -> list[dict[str, str]]:
    """The questions over the pages: `id`, `type`, `text`, `expected_path` and more."""
    file = data_folder() / "docs" / "postgresql" / "queries.jsonl"
    if not file.is_file():
        raise DataAbsent(f"the questions {file} are absent; set REAKTLY_BENCH_DATA")
    return [json.loads(line) for line in file.read_text().splitlines()]


def _find_folder() -> Path:
    named = os.environ.get("REAKTLY_BENCH_POSTGRESQL")
    if named:
        return Path(named)
    cached = _cache_folder() / PACKAGE
    for folder in (Path("/") / HTML_FOLDER, cached / HTML_FOLDER):
        if folder.is_dir():
            return folder
    _fetch(cached)
    return cached / HTML_FOLDER


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "reaktly-benchmarks"


def _fetch(destination: Path) -> None:
    """Unpack Debian's package there, without installing it."""
    tools = [shutil.which("apt-get"), shutil.which("dpkg-deb")]
    how = (
        f"unpack Debian's package {PACKAGE} and set REAKTLY_BENCH_POSTGRESQL to its folder "
        f"{HTML_FOLDER}"
    )
    if not all(tools):
        raise DataAbsent(f"the PostgreSQL pages are absent; {how}")
    print(f"postgresql_pages: fetching {PACKAGE} with apt-get", file=sys.stderr, flush=True)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent) as folder:
        try:
            _run(["apt-get", "download", PACKAGE], folder)
            package = next(Path(folder).glob(f"{PACKAGE}_*.deb"))
            _run(["dpkg-deb", "-x", str(package), str(Path(folder) / "unpacked")], folder)
        except (subprocess.CalledProcessError, StopIteration) as error:
            reason = getattr(error, "stderr", "") or "nothing was downloaded"
            raise DataAbsent(
                f"the PostgreSQL pages are absent and could not be fetched: "
                f"{reason.strip().splitlines()[-1]} (is `apt-get update` needed?); or {how}"
            ) from error
        (Path(folder) / "unpacked").rename(destination)


def _run(command: Sequence[str], folder: str) -> None:
    subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)


def main() -> int:
    """Find the pages and say how many there are; 2 where they are absent."""
    try:
        pages = postgresql_pages()
    except DataAbsent as error:
        print(f"postgresql_pages: {error}", file=sys.stderr)
        return 2
    print(f"{len(pages)} pages, {sum(len(page.html) for page in pages):,} characters")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

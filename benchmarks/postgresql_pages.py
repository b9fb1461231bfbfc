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
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.debian_pages import documentation_folder
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
    try:
        return documentation_folder(PACKAGE, HTML_FOLDER)
    except DataAbsent as error:
        raise DataAbsent(
            f"{error}; or unpack it and set REAKTLY_BENCH_POSTGRESQL to its folder {HTML_FOLDER}"
        ) from error


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

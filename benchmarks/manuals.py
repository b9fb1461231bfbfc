"""Five projects' manuals, and questions of our own about them: what the ranking is chosen on.

Long documents of many sections, as Debian packages them. The weights of the ranking are
chosen on the first two (`CHOOSING`); the others (`CHECKING`) tell whether the choice holds
for manuals that it was not made on. `benchmarks/calibration/README.md` says how the
questions were written.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.calibrate_relevance import Question, load_questions
from benchmarks.debian_pages import documentation_folder
from llamaindex_reaktly.content.charset import decode_html
from llamaindex_reaktly.domain import ContentType, DocumentKey, SourceDocument, SourceType

_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL | re.IGNORECASE)
_QUESTIONS = Path(__file__).parent / "calibration"


@dataclass(frozen=True, slots=True)
class Manual:
    """A manual's pages below a folder of a package.

    `left_out` starts the paths of pages that say again what others do, whole or as an
    index, so that no question could name the page that answers.
    """

    name: str
    package: str
    folder: Path
    left_out: tuple[str, ...] = ()

    def documents(self, knowledge_base_id: str) -> Iterator[SourceDocument]:
        """Every page as a document whose external id is its path."""
        root = documentation_folder(self.package, self.folder)
        for file in sorted(root.rglob("*.html")):
            path = str(file.relative_to(root))
            if path.startswith(self.left_out) or file.is_symlink():
                continue
            text = decode_html(file.read_bytes())
            title = _TITLE.search(text)
            yield SourceDocument(
                key=DocumentKey(knowledge_base_id, self.name, path),
                source_type=SourceType.ARTICLE,
                title=" ".join(html.unescape(title[1]).split()) if title else path,
                content=text,
                content_type=ContentType.HTML,
            )

    def questions(self) -> list[Question]:
        """Our questions about it; what answers them is named by path."""
        return load_questions(_QUESTIONS / f"{self.name}.jsonl")


CHOOSING = (
    Manual("git", "git-doc", Path("usr/share/doc/git-doc")),
    Manual(
        "sqlite",
        "sqlite3-doc",
        Path("usr/share/doc/sqlite3"),
        (
            "capi3ref.html", "doc_", "fileformat.html", "hp1.html", "keyword_index.html",
            "releaselog/", "requirements.html", "search.html", "session.html", "sqlite.html",
            "syntax/",
        ),
    ),
)  # fmt: skip
CHECKING = (
    Manual("apache", "apache2-doc", Path("usr/share/doc/apache2-doc/manual/en")),
    Manual(
        "borg",
        "borgbackup-doc",
        Path("usr/share/doc/borgbackup/html"),
        ("_static/", "genindex.html", "search.html"),
    ),
    Manual(
        "postfix",
        "postfix-doc",
        Path("usr/share/doc/postfix/html"),
        (
            "POSTSCREEN_3_5_README.html",
            "TLS_LEGACY_README.html",
            "defer.8.html",
            "index.html",
            "lmtp.8.html",
            "mailq.1.html",
            "newaliases.1.html",
            "postconf.5.html",
            "postfix-manuals.html",
            "trace.8.html",
        ),
    ),
)

"""Main-content extraction: F1 over the article-extraction benchmark's pages.

    python benchmarks/extraction.py [FOLDER]

FOLDER holds `html/`, `gold/` and `manifest.jsonl` of scrapinghub's
article-extraction-benchmark. The score is that benchmark's: overlap of word
4-shingles as multisets, precision and recall averaged over pages.
"""

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from llamaindex_reaktly.content.charset import decode_html
from llamaindex_reaktly.content.html import clean_html

_DEFAULT_FOLDER = Path("../shared/data/extraction/aeb")
_WORD = re.compile(r"\w+")
_MARKUP = re.compile(r"\]\([^()\s]*\)|`{3,}\w*")
_SHINGLE = 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; 2 where the data is absent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=_DEFAULT_FOLDER)
    parser.add_argument("--worst", type=int, default=0, help="list so many pages of lowest F1")
    options = parser.parse_args(arguments)
    manifest: Path = options.folder / "manifest.jsonl"
    if not manifest.is_file():
        print(f"extraction: no data in {options.folder}", file=sys.stderr)
        return 2
    scores: list[tuple[float, float, str]] = []
    started = time.process_time()
    elapsed = 0.0
    for line in manifest.read_text().splitlines():
        page = str(json.loads(line)["id"])
        html = decode_html((options.folder / "html" / f"{page}.html").read_bytes())
        gold = (options.folder / "gold" / f"{page}.txt").read_text()
        started = time.process_time()
        found = clean_html(html).markdown
        elapsed += time.process_time() - started
        scores.append((*_precision_recall(found, gold), page))
    precision = sum(score[0] for score in scores) / len(scores)
    recall = sum(score[1] for score in scores) / len(scores)
    print(
        f"{len(scores)} pages  F1 {_f1(precision, recall):.3f}  precision {precision:.3f}"
        f"  recall {recall:.3f}  CPU {elapsed / len(scores) * 1000:.1f} ms a page"
    )
    for found_share, gold_share, page in sorted(scores, key=lambda s: _f1(s[0], s[1]))[
        : options.worst
    ]:
        print(f"{found_share:.2f} {gold_share:.2f} {page}")
    return 0


def _precision_recall(found: str, gold: str) -> tuple[float, float]:
    found_shingles, gold_shingles = _shingles(found), _shingles(gold)
    shared = (found_shingles & gold_shingles).total()
    return (
        shared / found_shingles.total() if found_shingles else float(not gold_shingles),
        shared / gold_shingles.total() if gold_shingles else float(not found_shingles),
    )


def _shingles(text: str) -> Counter[tuple[str, ...]]:
    words = _WORD.findall(_MARKUP.sub(" ", text))
    return Counter(
        tuple(words[start : start + _SHINGLE])
        for start in range(max(1, len(words) - _SHINGLE + 1))
        if words
    )


def _f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


if __name__ == "__main__":
    raise SystemExit(main())

"""Which parts of a page are its content.

Two extractors judge, each where it is best (measured F1: on news trafilatura
.960, resiliparse .916; on documentation resiliparse .964, trafilatura .923).
They judge only: both lose tables, code or order in what they write themselves,
so their text is compared with our blocks, and the blocks that they kept stay.
"""

import re

import trafilatura
from lxml import html as lxml_html
from resiliparse.extract.html2text import extract_plain_text

_WORD = re.compile(r"\w+")
_LINK_TARGET = re.compile(r"\]\([^()\s]*\)")
_SHINGLE = 3
_KEPT_SHARE = 0.5


def text_by_trafilatura(tree: lxml_html.HtmlElement) -> str:
    """What trafilatura takes for the article in a tree, which it may change."""
    return trafilatura.extract(tree, include_comments=False, include_tables=True) or ""


def text_by_resiliparse(html: str) -> str:
    """What resiliparse takes for the main content of a page."""
    return extract_plain_text(html, main_content=True, alt_texts=False, comments=False)


class ContentJudge:
    """Tells for a block whether an extractor's text holds it."""

    def __init__(self, text: str) -> None:
        words = _words(text)
        self._words = set(words)
        self._shingles = set(zip(words, words[1:], words[2:], strict=False))
        self.is_empty = not words

    def keeps(self, markdown: str) -> bool:
        """Whether at least half of a block's word triples stand in the text."""
        words = _words(_LINK_TARGET.sub("] ", markdown))
        if not words:
            return False
        if len(words) < _SHINGLE:
            return self._words.issuperset(words)
        shingles = list(zip(words, words[1:], words[2:], strict=False))
        kept = sum(1 for shingle in shingles if shingle in self._shingles)
        return kept >= len(shingles) * _KEPT_SHARE


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())

import re
import unicodedata

import pytest


class WordTokenizer:
    """Splits as WordPiece does: words, marks, and pieces of words over six letters.

    A word over 100 characters is one unknown token, as it is for BERT.
    """

    _PARTS = re.compile(r"\w+|[^\w\s]")

    def count_tokens(self, text: str) -> int:
        return len(self.token_spans(text)) + 2

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        spans: list[tuple[int, int]] = []
        for match in self._PARTS.finditer(text):
            start, end = match.span()
            if end - start > 100:
                spans.append((start, end))
                continue
            step = 1 if unicodedata.category(match[0][0]) == "Lo" else 6
            spans += [(at, min(at + step, end)) for at in range(start, end, step)]
        return spans


@pytest.fixture(scope="session")
def tokenizer() -> WordTokenizer:
    return WordTokenizer()

"""English texts of any length and number: the demo's sentences in ever new orders.

Sentences are real, so tokens a word and words a sentence are as in real documents; no
two texts are alike, so nothing is found to be known already.
"""

import random
import re
from pathlib import Path

_FOLDER = Path(__file__).parent.parent / "demo" / "content"
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_LANGUAGES = re.compile(r"\b(?:der|die|und|les|des|une|nicht|avec)\b")
_SHORTEST = 30


class SampleTexts:
    """Texts, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._sentences = _sentences()

    def text(self, characters: int) -> str:
        """Sentences in random order, some `characters` in all, in paragraphs."""
        parts: list[str] = []
        length = 0
        while length < characters:
            sentence = self._random.choice(self._sentences)
            parts.append(sentence + ("\n\n" if len(parts) % 5 == 4 else " "))
            length += len(parts[-1])
        return "".join(parts)[:characters].strip()


def _sentences() -> list[str]:
    """The English sentences of the demo's plain texts, in a fixed order."""
    files = sorted(_FOLDER.rglob("*.txt"))
    texts = (" ".join(file.read_text(encoding="utf-8").split()) for file in files)
    return [
        sentence
        for text in texts
        for sentence in _SENTENCE.split(text)
        if len(sentence) >= _SHORTEST and not _LANGUAGES.search(sentence)
    ]

"""Title and summary from how a document begins."""

import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote, urlsplit

from llamaindex_reaktly.content.markdown import BlockKind
from llamaindex_reaktly.extractors.prose import Passage, sentences

TITLE_CHARACTERS = 100
SUMMARY_CHARACTERS = 320
_ENOUGH_CHARACTERS = 140
# With this much, what comes under another heading is another matter.
_ENOUGH_OF_A_SECTION = 70
_MOST_SENTENCES = 3
_FEWEST_WORDS = 5
# A description that a page gives of itself; shorter ones are its name once more.
_SHORTEST_DESCRIPTION = 40
_WORD = re.compile(r"\w+")
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_ENDS = re.compile(r"[.!?…。！？｡][\"'”’»)\]」』]*$")  # noqa: RUF001
_LETTER = re.compile(r"[^\W\d_]")
# How lines begin that say who made the page and when, rather than what it says.
_ABOUT_THE_PAGE = re.compile(
    r"(?:©|\(c\)|copyright\b|all rights reserved|last (?:updated|modified|edited)|updated on|"
    r"posted|published|by [A-Z]|written by|table of contents|contents|skip to|back to|"
    r"stand:|zuletzt|veröffentlicht|mis à jour|publié|actualizado|publicado)",
    re.IGNORECASE,
)


def first_line(text: str) -> str | None:
    """The line that a plain text begins with, where it stands above the rest as a title does."""
    line, _, rest = text.strip().partition("\n")
    line = line.strip()
    if not rest.strip() or len(line) > TITLE_CHARACTERS or _ENDS.search(line):
        return None
    return line if _LETTER.search(line) else None


def first_sentence(passages: Iterable[Passage], language: str) -> str | None:
    """The first words of the text, no more of them than a title has."""
    for passage in passages:
        for sentence in sentences(passage.text.partition("\n")[0], language):
            if _LETTER.search(sentence):
                return shortened(sentence.rstrip(" .:;,。"), TITLE_CHARACTERS)
    return None


def title_of_url(url: str) -> str | None:
    """The last part of an address that has letters, as words."""
    parts = urlsplit(url)
    for part in reversed(unquote(parts.path).split("/")):
        name = part.rsplit(".", 1)[0] if "." in part[1:] else part
        words = re.sub(r"[-_+\s]+", " ", name).strip()
        if _LETTER.search(words):
            return shortened(words[0].upper() + words[1:], TITLE_CHARACTERS)
    return parts.hostname or None


def summary(passages: Iterable[Passage], language: str, *, title: str) -> str | None:
    """The sentences that a text leads with; else how it begins, whatever that is.

    One to three, of whole paragraphs rather than lists, up to some 300 characters.
    """
    considered = [p for p in passages if p.text != title]
    lead: list[str] = []
    length = 0
    begun: tuple[str, ...] | None = None
    for sentence, headings in _prose(considered, language):
        if lead and length + len(sentence) > SUMMARY_CHARACTERS:
            break
        begun = headings if begun is None else begun
        if headings != begun and length >= _ENOUGH_OF_A_SECTION:
            break
        lead.append(shortened(sentence, SUMMARY_CHARACTERS))
        length += len(lead[-1]) + 1
        if length >= _ENOUGH_CHARACTERS or len(lead) == _MOST_SENTENCES:
            break
    if lead:
        return " ".join(lead)
    beginning = next((p.text for p in considered if _LETTER.search(p.text)), None)
    if beginning is None:
        return None
    return shortened(", ".join(beginning.splitlines()), SUMMARY_CHARACTERS)


def description(text: object) -> str | None:
    """What a page says of itself, where that says something."""
    if not isinstance(text, str) or len(text) < _SHORTEST_DESCRIPTION:
        return None
    return shortened(text, SUMMARY_CHARACTERS)


def shortened(text: str, characters: int) -> str:
    """Text that is cut between words, with a mark, where it is longer."""
    if len(text) <= characters:
        return text
    cut = text[: characters - 1]
    at = cut.rfind(" ")
    return (cut[:at] if at > characters // 2 else cut).rstrip(" ,;:–-") + "…"  # noqa: RUF001


def _prose(passages: Iterable[Passage], language: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for passage in passages:
        if passage.kind is not BlockKind.PARAGRAPH or _ABOUT_THE_PAGE.match(passage.text):
            continue
        for sentence in sentences(passage.text, language):
            if _is_prose(sentence):
                yield sentence, passage.headings


def _is_prose(sentence: str) -> bool:
    if not _ENDS.search(sentence):
        return False
    if _UNSPACED.search(sentence):
        return len(sentence) > 2 * _FEWEST_WORDS
    letters = sum(1 for _ in _LETTER.finditer(sentence))
    return len(_WORD.findall(sentence)) >= _FEWEST_WORDS and letters >= len(sentence) * 0.6

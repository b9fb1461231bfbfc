"""Text analysis: what a text is found by, the same for documents, queries and both stores.

A text becomes a list of terms, repetitions kept:

- words are case folded, stemmed by Snowball where the language has a stemmer, then
  freed of accents (stemmers need the accents; `ü` becomes `u`, `ß` becomes `ss`);
- identifiers are kept whole and in parts: `wal_sender_timeout`, `max-rate`, `v1.39.0`,
  `AB-1234/x`, `C++`, `.NET`, `maxRate`;
- scripts written without spaces (Han, kana, Hangul, Thai, Lao, Khmer, Burmese) become
  bigrams, a character that stands alone a unigram;
- numbers lose the commas between thousands.

Documents keep every word; a query loses its function words. No term holds white space.
Work and memory are linear in the text's length whatever it holds.
"""

import functools
import hashlib
import re
import threading
import unicodedata
from collections.abc import Callable, Iterable, Iterator

import Stemmer

from llamaindex_reaktly.function_words import FUNCTION_WORDS

MAX_TERM_LENGTH = 64
"""Longer words are cut and a digest of the whole is appended, so they match only as a whole."""

_RULES = 1
"""Raised when these rules change what a text's terms are: an index must then be made again."""

_CACHED_PIECES = 32_768

_ALGORITHMS = {
    "ar": "arabic",
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "eo": "esperanto",
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fa": "persian",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "nb": "norwegian",
    "ne": "nepali",
    "nl": "dutch",
    "nn": "norwegian",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "st": "sesotho",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}

# `\w` knows no combining marks, without which Devanagari or pointed Hebrew falls apart.
_MARKS = "".join(c for c in map(chr, range(0x300, 0x1000)) if unicodedata.category(c)[0] == "M")
_UNSPACED = (
    "\u0e01-\u0e3e\u0e40-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff"
    "\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3041-\u3096\u3099\u309a\u309d-\u309f"
    "\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7fb\uf900-\ufaff"
    "\U00020000-\U0003fffd"
)
_LETTER = rf"[^\W_{_UNSPACED}]"
_RUN = rf"{_LETTER}++(?:[{_MARKS}]++{_LETTER}*+)*+"
_WORD = rf"{_RUN}(?:'{_RUN})*+"
_PART = rf"{_WORD}(?:\+\+|\#(?!\w))?"
_TOKEN = re.compile(
    rf"(?P<unspaced>[{_UNSPACED}]++)"
    rf"|(?P<word>(?:(?<![\w.])\.)?{_PART}(?:[_.\-/:@&+\\]{{1,3}}{_PART})*+\+?)"
    r"|[\u2190-\u21ff\u2600-\u27bf\U0001f000-\U0001faff]"
)
_PARTS = re.compile(rf"({_WORD})(\+\+|\#(?!\w))?")
_THOUSANDS = re.compile(r"(?<![\d,.])\d{1,3}(?:,\d{3})++(?![\d,])")
_CAMEL_CASE = re.compile(r"[a-z][A-Z]|[A-Z]{2}[a-z]")
_CAMEL_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_ACCENTS = re.compile("[\u0300-\u036f\u0591-\u05c7\u0640\u064b-\u065f\u0670]+")
_DIGIT = re.compile(r"\d")
# Canonical ordering is quadratic in a run of marks; Unicode's Stream-Safe Text Format
# (UAX 15) allows 30 of them, no writing needs ten.
_MARK_FLOOD = re.compile(
    f"([{_MARKS}\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u3099\u309a\ufe20-\ufe2f]{{10}})"
    f"[{_MARKS}\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u3099\u309a\ufe20-\ufe2f]+"
)

_INVISIBLES = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    "\ufe00-\ufe0f\ufeff]+"
)
_PUNCTUATION = str.maketrans(
    {**dict.fromkeys("\u2019\u2018\u02bc\u2032\u00b4", "'"), **dict.fromkeys("\u2010\u2212", "-")}
)
# Letters with a stroke or a ligature do not decompose in Unicode.
_UNDECOMPOSED = str.maketrans(
    {
        "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d",
        "ð": "d", "þ": "th", "ħ": "h", "\u0131": "i", "ŧ": "t",
    }
)  # fmt: skip


class Analyzer:
    """Turns texts into terms. Safe to share between threads; keep one a process.

    `build` changes whenever the same text may yield other terms than before.
    """

    def __init__(self) -> None:
        self.build = f"{_RULES}+snowball-{Stemmer.version()}"
        self._available = frozenset(Stemmer.algorithms())
        self._lock = threading.Lock()
        self._ignored: dict[str, frozenset[str]] = {}
        self._pieces: dict[str | None, Callable[[str], tuple[str, ...]]] = {}

    def terms(self, text: str, language: str | None) -> list[str]:
        """The text's terms in order, repetitions kept.

        `language` is an ISO 639-1 code, with or without a region (`de`, `pt-BR`); one
        without a stemmer, or None, means that words are not stemmed.
        """
        analyse = self._piece_analysis(language)
        terms: list[str] = []
        for piece in _normalised(text).split():
            if len(piece) <= MAX_TERM_LENGTH:
                terms.extend(analyse(piece))
            else:
                terms.extend(analyse.__wrapped__(piece))  # type: ignore[attr-defined]
        return terms

    def query_terms(self, text: str, languages: Iterable[str]) -> dict[str, list[str]]:
        """The query's terms in each of the languages that the documents are in.

        The language's function words are left out, unless there is nothing else.
        """
        return {
            language: self._about(self.terms(text, language), language) for language in languages
        }

    def _about(self, terms: list[str], language: str) -> list[str]:
        code = _language_code(language)
        with self._lock:
            ignored = self._ignored.get(code)
        if ignored is None:
            words = FUNCTION_WORDS.get(code, frozenset())
            ignored = frozenset(term for word in words for term in self.terms(word, code))
            with self._lock:
                self._ignored[code] = ignored
        return [term for term in terms if term not in ignored] or terms

    def _piece_analysis(self, language: str | None) -> Callable[[str], tuple[str, ...]]:
        algorithm = self._algorithm(language)
        with self._lock:
            analyse = self._pieces.get(algorithm)
            if analyse is None:
                pieces = _Pieces(_stemmer(algorithm))
                analyse = functools.lru_cache(maxsize=_CACHED_PIECES)(pieces.terms)
                self._pieces[algorithm] = analyse
        return analyse

    def _algorithm(self, language: str | None) -> str | None:
        algorithm = _ALGORITHMS.get(_language_code(language))
        return algorithm if algorithm in self._available else None


def _language_code(language: str | None) -> str:
    return re.split(r"[-_]", language or "", maxsplit=1)[0].lower()


def _stemmer(algorithm: str | None) -> Callable[[str], str]:
    if algorithm is None:
        return lambda word: word
    # Snowball's stemmers keep a buffer and are not safe to share without a lock; results
    # are cached above, so PyStemmer's own cache would only hold them twice.
    stemmer = Stemmer.Stemmer(algorithm, 0)
    lock = threading.Lock()

    def stem(word: str) -> str:
        with lock:
            stemmed: str = stemmer.stemWord(word)
        return stemmed or word

    return stem


def _normalised(text: str) -> str:
    if text.isascii():
        return text
    text = _INVISIBLES.sub("", _MARK_FLOOD.sub(r"\1", text))
    return unicodedata.normalize("NFKC", text.translate(_PUNCTUATION)).translate(_PUNCTUATION)


class _Pieces:
    """The terms of one piece of a text, without white space inside, in one language."""

    def __init__(self, stem: Callable[[str], str]) -> None:
        self._stem = stem

    def terms(self, piece: str) -> tuple[str, ...]:
        return tuple(self._iterate(piece))

    def _iterate(self, piece: str) -> Iterator[str]:
        if "," in piece:
            piece = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), piece)
        for match in _TOKEN.finditer(piece):
            if match["unspaced"]:
                yield from _bigrams(match["unspaced"])
            elif match["word"]:
                yield from self._compound(match["word"])
            else:
                yield match[0]

    def _compound(self, compound: str) -> Iterator[str]:
        parts = _PARTS.findall(compound)
        if compound != parts[0][0] and len(compound) <= MAX_TERM_LENGTH:
            yield _folded(compound.casefold().replace("'", ""))
        for word, suffix in parts:
            if suffix and word + suffix != compound:
                yield _folded(_bounded(word.casefold())) + suffix
            yield from self._word(word)

    def _word(self, word: str) -> Iterator[str]:
        if "'" in word:
            yield from self._apostrophised(word.split("'"))
            return
        yield self._term(word)
        for part in _camel_parts(word):
            yield self._term(part)

    def _apostrophised(self, parts: list[str]) -> Iterator[str]:
        """`user's` is `user`, `don't` is `dont`, `l'homme` is `lhomme` and `homme`."""
        if parts[-1].casefold() == "s":
            parts = parts[:-1]
        yield self._term("".join(parts))
        if len(parts) > 1 and len(parts[-1]) > 2:
            yield from (self._term(part) for part in parts if len(part) > 2)

    def _term(self, word: str) -> str:
        word = word.casefold()
        if len(word) > MAX_TERM_LENGTH:
            return _folded(_bounded(word))
        return _folded(word if _DIGIT.search(word) else self._stem(word))


def _bigrams(run: str) -> Iterator[str]:
    run = run.casefold()
    if len(run) == 1:
        yield run
    else:
        yield from (run[i : i + 2] for i in range(len(run) - 1))


def _camel_parts(word: str) -> list[str]:
    """`maxRate`, `HTTPServer` in parts; names like `PostgreSQL`, `SQLite`, `PDFs` have none."""
    if not word.isascii() or len(word) > MAX_TERM_LENGTH or not _CAMEL_CASE.search(word):
        return []
    parts = _CAMEL_PARTS.findall(word)
    if word[0].isupper() and parts[-1].isupper():
        return []
    if parts[0].isupper() and any(len(part) < 3 for part in parts):
        return []
    return [part for part in parts if len(part) > 1]


def _bounded(word: str) -> str:
    if len(word) <= MAX_TERM_LENGTH:
        return word
    digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return word[: MAX_TERM_LENGTH - 17] + "~" + digest


def _folded(word: str) -> str:
    if word.isascii():
        return word
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", word.translate(_UNDECOMPOSED)))
    folded = unicodedata.normalize("NFC", bare) or word
    return _DIGIT.sub(lambda match: str(unicodedata.decimal(match[0])), folded)

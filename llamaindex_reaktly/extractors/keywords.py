"""Tags by counting: phrases that a text repeats, most of all in its title and headings.

No corpus is needed and nothing is learned. A candidate is a run of one to three words
without a function word in it; forms of one stem are counted together, by the analysis that
searches use. A single word is believed where it stands as a noun does, or in a title;
languages written without spaces are counted by the character runs that recur.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from llamaindex_reaktly.analysis import Analyzer
from llamaindex_reaktly.content.markdown import BlockKind
from llamaindex_reaktly.extractors.prose import Passage
from llamaindex_reaktly.extractors.word_classes import (
    DETERMINERS,
    GENERIC_WORDS,
    VERB_CUES,
)
from llamaindex_reaktly.function_words import FUNCTION_WORDS

MOST_TAGS = 7
MOST_TAGS_OF_SHORT = 5
_LONGEST_PHRASE = 3
_TITLE_WEIGHT = 6.0
_HEADING_WEIGHT = 2.5
_LEAD_WEIGHT = 2.0
_LEAD_PASSAGES = 2
_KIND_WEIGHTS = {BlockKind.TABLE: 0.4, BlockKind.LIST: 0.8}
# Of the best candidate's score; what is below says too little to be shown.
_LOWEST_SHARE = 0.33
# Texts of fewer words say each thing once.
_SHORT_WORDS = 120
_PHRASE_FACTORS = {1: 1.0, 2: 1.75, 3: 1.9}
# A word is a tag beside a phrase that holds it only where it is much more frequent.
_ALONE = 3.0

_TOKEN = re.compile(r"[^\W_][\w.+#'’/-]*[\w+#]|[^\W_]|[.,;:!?()\[\]{}\"“”„«»|\n—–…]")  # noqa: RUF001
_BREAK = re.compile(r"[.,;:!?()\[\]{}\"“”„«»|\n—–…]$")  # noqa: RUF001
# `l'atelier`, `dell'anno`: an article and a word.
_ELIDED = re.compile(r"\b([cdjlmnst]|qu|un|(?:d|n|s)?ell|all|sull)['’](?=\w{2})", re.IGNORECASE)  # noqa: RUF001
_POSSESSIVE = re.compile(r"['’]s?$")  # noqa: RUF001
_SITE = re.compile(r"\s[-–—|·»:]\s")  # noqa: RUF001
_LETTER = re.compile(r"[^\W\d_]")
_UNSPACED_RUN = re.compile("[\u4e00-\u9fff\u3400-\u4dbf]+|[\u30a1-\u30fa\u30fc]+")
_UNSPACED_LANGUAGES = frozenset({"zh", "ja"})


@dataclass(slots=True)
class _Candidate:
    """A phrase in all its forms."""

    forms: Counter[str] = field(default_factory=Counter)
    weight: float = 0.0
    count: int = 0
    as_noun: int = 0
    as_verb: int = 0
    in_title: bool = False
    in_heading: bool = False
    named: int = 0
    passages: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Stretch:
    text: str
    weight: float
    place: int
    in_title: bool = False
    in_heading: bool = False


def keywords(
    passages: Sequence[Passage], language: str, *, title: str, analyzer: Analyzer
) -> tuple[str, ...]:
    """Up to seven tags of a document, the most telling first."""
    stretches = list(_stretches(passages, title))
    if language in _UNSPACED_LANGUAGES:
        return _recurring_runs(stretches)
    return _Counting(language, analyzer).tags(stretches)


def _stretches(passages: Sequence[Passage], title: str) -> Iterator[_Stretch]:
    # Behind a dash is most often the site's name, the same on each of its pages.
    own = _SITE.split(title)[0]
    yield _Stretch(own if _LETTER.search(own) else title, _TITLE_WEIGHT, -1, in_title=True)
    seen: set[str] = {title}
    for place, passage in enumerate(passages):
        for heading in passage.headings:
            if heading not in seen:
                seen.add(heading)
                yield _Stretch(heading, _HEADING_WEIGHT, place, in_heading=True)
        weight = _LEAD_WEIGHT if place < _LEAD_PASSAGES else 1.0
        yield _Stretch(passage.text, weight * _KIND_WEIGHTS.get(passage.kind, 1.0), place)


class _Counting:
    """The candidates of one text."""

    def __init__(self, language: str, analyzer: Analyzer) -> None:
        self._language = language
        self._analyzer = analyzer
        self._function_words = FUNCTION_WORDS.get(language, FUNCTION_WORDS["en"])
        self._determiners = DETERMINERS.get(language, frozenset())
        self._verb_cues = VERB_CUES.get(language, frozenset())
        self._generic = GENERIC_WORDS.get(language, frozenset())
        self._stems: dict[str, str] = {}
        self._candidates: defaultdict[tuple[str, ...], _Candidate] = defaultdict(_Candidate)
        self._words = 0

    def tags(self, stretches: Iterable[_Stretch]) -> tuple[str, ...]:
        for stretch in stretches:
            self._count(stretch)
        scores = {
            stems: score
            for stems, candidate in self._candidates.items()
            if (score := self._score(stems, candidate)) > 0
        }
        ranked = sorted(scores, key=lambda stems: (-scores[stems], stems))
        if not ranked:
            return ()
        lowest = scores[ranked[0]] * _LOWEST_SHARE
        return tuple(
            self._shown(self._candidates[stems])
            for stems in self._chosen(stems for stems in ranked if scores[stems] >= lowest)
        )

    def _count(self, stretch: _Stretch) -> None:
        run: list[str] = []
        before = ""
        for token in _TOKEN.findall(_ELIDED.sub(r"\1 ", stretch.text)):
            word = token.casefold()
            if _BREAK.match(token) or word in self._function_words or not _LETTER.search(token):
                self._count_run(run, before, stretch)
                run, before = [], "" if _BREAK.match(token) else word
            else:
                run.append(_POSSESSIVE.sub("", token))
                self._words += 1
        self._count_run(run, before, stretch)

    def _count_run(self, run: Sequence[str], before: str, stretch: _Stretch) -> None:
        for start in range(len(run)):
            for length in range(1, min(_LONGEST_PHRASE, len(run) - start) + 1):
                words = run[start : start + length]
                stems = tuple(self._stem(word) for word in words)
                candidate = self._candidates[stems]
                candidate.forms[" ".join(words)] += 1
                candidate.weight += stretch.weight
                candidate.count += 1
                candidate.in_title |= stretch.in_title
                candidate.in_heading |= stretch.in_heading
                candidate.passages.add(stretch.place)
                # A noun phrase ends where its run does; a verb follows who does it.
                # The first word of a sentence has a capital whatever it is.
                candidate.named += (
                    all(word[0].isupper() for word in words)
                    and (length > 1 or start > 0 or bool(before))
                    and not (stretch.in_title or stretch.in_heading)
                )
                is_last = start + length == len(run)
                candidate.as_noun += is_last and (start > 0 or before in self._determiners)
                candidate.as_verb += start == 0 and before in self._verb_cues

    def _stem(self, word: str) -> str:
        stem = self._stems.get(word)
        if stem is None:
            terms = self._analyzer.terms(word, self._language)
            stem = self._stems[word] = terms[0] if terms else word.casefold()
        return stem

    def _score(self, stems: tuple[str, ...], candidate: _Candidate) -> float:
        """How much a phrase tells of the text; 0 for what is no tag at all."""
        if len(set(stems)) < len(stems):
            return 0.0
        forms = candidate.forms.most_common(1)[0][0].split(" ")
        words = [form.casefold() for form in forms]
        if words[0] in self._generic or words[-1] in self._generic:
            return 0.0
        if any(len(word) < 2 for word in words) or (
            len(stems) == 1 and len(words[0]) < 3 and not forms[0].isupper()
        ):
            return 0.0
        is_prominent = candidate.in_title or candidate.in_heading
        is_name = all(_is_name(form) or form[0].isupper() for form in forms)
        if candidate.count < 2 and not is_prominent:
            # Said once: a noun of a text that is too short to say things twice, or a name.
            is_noun = len(stems) == 1 and candidate.as_noun > 0
            if self._words > _SHORT_WORDS or not (is_noun or is_name):
                return 0.0
        if candidate.as_verb * 2 > candidate.count:
            return 0.0
        score = math.log1p(candidate.weight) * _PHRASE_FACTORS[len(stems)]
        score *= 1 + math.log1p(len(candidate.passages)) / 2
        if len(stems) == 1 and not _is_name(forms[0]):
            noun = candidate.as_noun / candidate.count
            if self._language == "de":
                noun = 1.0 if forms[0][0].isupper() else 0.0
            score *= max(0.25 + noun, 0.8 if is_prominent else 0.0)
        return score

    def _chosen(self, ranked: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
        chosen: list[tuple[str, ...]] = []
        uses: Counter[str] = Counter()
        for stems in ranked:
            overlapping = [other for other in chosen if set(stems) & set(other)]
            if any(self._says_it_too(stems, other) for other in overlapping):
                continue
            if any(uses[stem] >= 2 for stem in stems):
                continue
            chosen.append(stems)
            uses.update(stems)
            if len(chosen) == (MOST_TAGS if self._words > _SHORT_WORDS else MOST_TAGS_OF_SHORT):
                break
        return chosen

    def _says_it_too(self, stems: tuple[str, ...], other: tuple[str, ...]) -> bool:
        """Whether a chosen phrase makes this one say nothing more."""
        if set(stems) < set(other):
            return self._candidates[stems].count < self._candidates[other].count * _ALONE
        if set(stems) > set(other):
            return self._candidates[stems].count * _ALONE < self._candidates[other].count
        return set(stems) == set(other) or len(set(stems) & set(other)) > 1

    def _shown(self, candidate: _Candidate) -> str:
        """The usual form: names as they are written, other words in lower case."""
        total = sum(candidate.forms.values())
        by_fold: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for form, count in candidate.forms.items():
            by_fold[form.casefold()][form] += count
        fold = max(by_fold, key=lambda f: (sum(by_fold[f].values()), f))
        form, count = by_fold[fold].most_common(1)[0]
        if self._language == "de":
            return form
        is_always_so = count == total and candidate.named > 0
        words = form.split(" ")
        return " ".join(word if is_always_so or _is_name(word) else word.lower() for word in words)


def _is_name(word: str) -> bool:
    """Whether how a word is written tells that it names something: `WAL`, `int8`, `SQLite`."""
    return (
        any(character.isdigit() for character in word)
        or any(character.isupper() for character in word[1:])
        or any(mark in word for mark in "_+#")
    )


def _recurring_runs(stretches: Iterable[_Stretch]) -> tuple[str, ...]:
    weights: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for stretch in stretches:
        for run in _UNSPACED_RUN.findall(stretch.text):
            sizes = (len(run),) if run[0] >= "\u30a0" and run[0] <= "\u30ff" else range(2, 7)
            for size in sizes:
                for start in range(len(run) - size + 1):
                    counts[run[start : start + size]] += 1
                    weights[run[start : start + size]] += round(stretch.weight * 10)
    scores = {
        run: math.log1p(weights[run]) * math.log1p(len(run))
        for run, count in counts.items()
        if count > 1 and len(run) > 1
    }
    chosen: list[str] = []
    for run in sorted(scores, key=lambda one: (-scores[one], one)):
        longer = (o for o in counts if run in o and o != run and counts[o] >= counts[run])
        if any(run in other or other in run for other in chosen) or next(longer, None):
            continue
        chosen.append(run)
        if len(chosen) == MOST_TAGS:
            break
    return tuple(chosen)

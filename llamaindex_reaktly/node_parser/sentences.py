"""Where sentences start.

Good enough to cut at, not a linguist's answer: a cut in the wrong place costs
a little context, so the rules err towards not cutting. Linear in the text.
"""

import re

_STOPS = re.compile(r"[.!?…]+[\"'”’»)\]]*|[。！？｡]+[」』”’）】]*|\n[ \t]*\n")  # noqa: RUF001
_LAST_WORD = re.compile(r"[^\s(\[\"'“‘«]*$")  # noqa: RUF001
_WORD_WINDOW = 24

# Words whose dot does not end a sentence, lower-case, without that dot. A dot
# after a single letter or inside the word (`e.g`, `z.B`, `U.S`) never does.
_ABBREVIATIONS = {
    "en": "al approx ca cf dept dr ed eds eq etc fig figs gen inc jr ltd max min mr mrs ms no nos "
    "pp prof rev sec sr st vol vols vs",
    "de": "abb abs art aufl bd bzw ca dr etc evtl ff fr ggf hr inkl jh kap max min mio mrd nr "
    "prof s sog st str tel usw vgl zzgl",
    "fr": "art av bd cf chap dr éd env etc ex fig m mlle mm mme nº p pp prof st ste tél vol",
    "es": "art avda cap dr dra ed etc fig núm pág prof sr sra srta tel ud uds vol",
    "it": "art avv cap dott dr ecc ed es fig ing n pag prof sig sigg tel vol",
}
_BY_LANGUAGE = {language: frozenset(words.split()) for language, words in _ABBREVIATIONS.items()}


def sentence_starts(text: str, language: str = "en") -> list[int]:
    """Offsets at which a sentence starts, the first of them 0; empty for an empty text."""
    if not text:
        return []
    abbreviations = _BY_LANGUAGE.get(language, frozenset()) | _BY_LANGUAGE["en"]
    starts = [0]
    for match in _STOPS.finditer(text):
        end = match.end()
        mark = text[match.start()]
        if mark in ".!?…":
            if end < len(text) and not text[end].isspace():
                continue
            if mark == "." and _is_abbreviation(text, match.start(), abbreviations):
                continue
        start = end
        while start < len(text) and text[start].isspace():
            start += 1
        if start >= len(text):
            break
        if mark in ".…" and text[start].islower():
            continue
        if start > starts[-1]:
            starts.append(start)
    return starts


def _is_abbreviation(text: str, dot: int, abbreviations: frozenset[str]) -> bool:
    window = text[max(0, dot - _WORD_WINDOW) : dot]
    match = _LAST_WORD.search(window)
    word = match[0] if match else ""
    if "." in word or (len(word) == 1 and word.isalpha()):
        return True
    # `1. Januar`, `Nr. 3`: a number before a dot is an ordinal or a list mark.
    return word.casefold() in abbreviations or (word.isdigit() and len(word) <= 2)

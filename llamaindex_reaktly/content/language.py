"""Which language a text is written in."""

from resiliparse.parse.lang import detect_fast

DEFAULT_LANGUAGE = "en"

# The detector compares byte n-grams; on less text than this its answer is noise.
_ENOUGH_CHARACTERS = 30
_WINDOW = 5_000


def detect_language(text: str, default: str = DEFAULT_LANGUAGE) -> str:
    """The ISO 639-1 code of a text's language, or `default` where it cannot be told.

    Chinese, Japanese and Korean are told by their script, which takes a few
    characters; other languages by a statistical detector, which takes a sentence.
    """
    window = text[:_WINDOW]
    by_script = _language_of_script(window)
    if by_script is not None:
        return by_script
    if len(window) < _ENOUGH_CHARACTERS:
        return default
    # The detector's own cutoff (1200) is its floor of confidence: above it the
    # answer is `unknown`.
    language, _ = detect_fast(window)
    return language if len(language) == 2 else default


def _language_of_script(text: str) -> str | None:
    if text.isascii():
        return None
    han = kana = hangul = letters = 0
    for character in text:
        if not character.isalpha():
            continue
        letters += 1
        if "\u3040" <= character <= "\u30ff":
            kana += 1
        elif "\uac00" <= character <= "\ud7a3":
            hangul += 1
        elif "\u4e00" <= character <= "\u9fff" or "\u3400" <= character <= "\u4dbf":
            han += 1
    # CJK characters carry about three times the text of a Latin letter.
    if (han + kana + hangul) * 3 <= letters:
        return None
    if hangul >= han + kana:
        return "ko"
    return "ja" if kana * 10 >= han else "zh"

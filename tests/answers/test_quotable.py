import pytest

from llamaindex_reaktly.answers.quotable import quotable_spans


def parts(text: str, language: str = "en") -> list[str]:
    return [text[start:end] for start, end in quotable_spans(text, language)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two!\nStill two? Four", ["One.", "Two!", "Still two?", "Four"]),
        ("First paragraph\n\nSecond one.", ["First paragraph", "Second one."]),
        ("Pack:\n- a tent. Dry.\n- two pegs\n", ["Pack:", "a tent.", "Dry.", "two pegs"]),
        ("1. Unscrew it.\n2. Clean it.", ["Unscrew it.", "Clean it."]),
        (
            "| Size | Price |\n| --- | --- |\n| 16 inch. Wide | 12 |",
            ["| 16 inch. Wide | 12 |"],
        ),
        ("| a | 1 |\n\n---\n", ["| a | 1 |"]),
        ("# Heading\nText of it.", ["Text of it."]),
        ("> Said she. Twice.", ["Said she.", "Twice."]),
        (
            "Run this:\n```sh\nmake demo. now\nmake test\n```\nDone.",
            ["Run this:", "make demo. now\nmake test", "Done."],
        ),
        ("```\nnever closed", ["never closed"]),
        ("``````", []),
        ("---\n\n***\n", []),
        ("", []),
        (" \n\t\n", []),
    ],
)
def test_a_part_is_what_can_stand_for_itself(text: str, expected: list[str]) -> None:
    assert parts(text) == expected


def test_abbreviations_are_those_of_the_language() -> None:
    text = "Es kostet ca. 3 Euro inkl. Versand. Mehr nicht."
    assert parts(text, "de-CH") == ["Es kostet ca. 3 Euro inkl. Versand.", "Mehr nicht."]

import time

import pytest

from llamaindex_reaktly.node_parser.sentences import sentence_starts


def sentences(text: str, language: str = "en") -> list[str]:
    starts = sentence_starts(text, language)
    return [text[a:b].strip() for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ('He said "stop." Then he left.', ['He said "stop."', "Then he left."]),
        (
            "See e.g. Section 3, cf. Fig. 2 by Dr. Who.",
            ["See e.g. Section 3, cf. Fig. 2 by Dr. Who."],
        ),
        ("Version 1.2.3 is out. Get it.", ["Version 1.2.3 is out.", "Get it."]),
        ("From J. Smith. Thanks", ["From J. Smith.", "Thanks"]),
        ("备份一次。不要关闭！好吗？好", ["备份一次。", "不要关闭！", "好吗？", "好"]),
        ("No stop\n\nNew paragraph", ["No stop", "New paragraph"]),
        ("wait... and see. Done", ["wait... and see.", "Done"]),
    ],
)
def test_sentences_end_where_a_reader_sees_it(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_an_empty_text_has_no_sentence() -> None:
    assert sentence_starts("") == []


def test_abbreviations_depend_on_the_language() -> None:
    text = "Es kostet z.B. 5 Mio. Euro bzw. Franken. Am 3. Mai endet es."
    assert sentences(text, "de") == [
        "Es kostet z.B. 5 Mio. Euro bzw. Franken.",
        "Am 3. Mai endet es.",
    ]


@pytest.mark.parametrize("unit", [".", ". ", ".)", "。", "\n", " ", "a.", "?! "])
def test_hostile_megabytes_take_linear_time(unit: str) -> None:
    text = unit * (500_000 // len(unit))
    started = time.process_time()
    sentence_starts(text)
    assert time.process_time() - started < 10

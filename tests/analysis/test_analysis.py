"""What texts are found by."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamaindex_reaktly.analysis import MAX_TERM_LENGTH, Analyzer

ANALYZER = Analyzer()


@pytest.mark.parametrize(
    ("text", "language", "terms"),
    [
        ("The RUNNING runners ran", "en", ["the", "run", "runner", "ran"]),
        ("running", None, ["running"]),
        ("running", "tlh", ["running"]),
        ("Läufe, läufe", "de-AT", ["lauf", "lauf"]),
        ("Straße STRASSE", "de", ["strass", "strass"]),
        ("Café cafe\u0301", None, ["cafe", "cafe"]),
        ("ﬁle ＡＢＣ", None, ["file", "abc"]),
        ("zero\u200bwidth soft\u00adhyphen", None, ["zerowidth", "softhyphen"]),
        ("Øst æble", None, ["ost", "aeble"]),
        ("hit hit", "en", ["hit", "hit"]),
        ("", "en", []),
        ("... -- !? ''", "en", []),
        ("1,000 and 1000 or 1,2", None, ["1000", "and", "1000", "or", "1", "2"]),
        ("٣٤", "ar", ["34"]),
        ("the user's users' guide", "en", ["the", "user", "user", "guid"]),
        ("don\u2019t don't dont", None, ["dont", "dont", "dont"]),
        ("l'homme", "fr", ["lhomm", "homm"]),
        ("数据库 ア", "zh", ["数据", "据库", "ア"]),
        ("한국어", "ko", ["한국", "국어"]),
        ("用C++写", "zh", ["用", "c++", "c", "写"]),
        ("हिन्दी", None, ["हिन्दी"]),
        ("🚀🚀 go", None, ["🚀", "🚀", "go"]),
    ],
)
def test_words_become_terms(text: str, language: str | None, terms: list[str]) -> None:
    assert ANALYZER.terms(text, language) == terms


@pytest.mark.parametrize(
    ("text", "whole", "parts"),
    [
        ("wal_sender_timeout", "wal_sender_timeout", {"wal", "sender", "timeout"}),
        ("max-rate", "max-rate", {"max", "rate"}),
        ("--max-rate", "max-rate", {"max", "rate"}),
        ("C++", "c++", {"c"}),
        ("(C#),", "c#", {"c"}),
        (".NET", ".net", {"net"}),
        ("ASP.NET", "asp.net", {"asp", "net"}),
        ("AB-1234/x", "ab-1234/x", {"ab", "1234", "x"}),
        ("v1.39.0.", "v1.39.0", {"v1", "39", "0"}),
        ("pg_hba.conf", "pg_hba.conf", {"pg", "hba", "conf"}),
        ("maxRate", "maxrate", {"max", "rate"}),
        ("HTTPServer", "httpserver", {"http", "server"}),
    ],
)
def test_identifiers_are_kept_whole_and_in_parts(text: str, whole: str, parts: set[str]) -> None:
    assert set(ANALYZER.terms(f"see {text} there", None)) == {"see", "there", whole, *parts}


@pytest.mark.parametrize("name", ["PostgreSQL", "MySQL", "SQLite", "PDFs", "OAuth"])
def test_names_with_capitals_inside_are_words(name: str) -> None:
    assert ANALYZER.terms(name, None) == [name.lower()]


def test_a_query_is_analysed_as_documents_of_each_language_are() -> None:
    assert ANALYZER.query_terms("Häuser houses", ["de", "en"]) == {
        "de": ANALYZER.terms("Häuser houses", "de"),
        "en": ANALYZER.terms("Häuser houses", "en"),
    }


def test_a_query_loses_the_function_words_of_the_language() -> None:
    query = "What is the timeout of the WAL sender?"
    assert ANALYZER.query_terms(query, ["en-GB"]) == {"en-GB": ["timeout", "wal", "sender"]}
    assert ANALYZER.query_terms("die Welt", ["de", "en", "tlh"]) == {
        "de": ["welt"],
        "en": ["die", "welt"],
        "tlh": ["die", "welt"],
    }


def test_a_query_of_function_words_alone_keeps_them() -> None:
    assert ANALYZER.query_terms("who are we", ["en"]) == {"en": ["who", "are", "we"]}


def test_a_query_keeps_its_repetitions() -> None:
    assert ANALYZER.query_terms("disk of disks", ["en"]) == {"en": ["disk", "disk"]}


def test_a_word_too_long_to_keep_matches_itself_alone() -> None:
    one, other = ANALYZER.terms("x" * 500, "en"), ANALYZER.terms("x" * 499 + "y", "en")
    assert one == ANALYZER.terms("X" * 500, "en")
    assert one != other
    assert len(one[0]) == MAX_TERM_LENGTH


@given(st.text(), st.sampled_from(["en", "de", "tr", None]))
def test_terms_have_no_white_space_or_capitals_and_are_never_empty(
    text: str, language: str | None
) -> None:
    for term in ANALYZER.terms(text, language):
        assert term.split() == [term]
        assert term.isascii() is False or term == term.lower()


@given(st.lists(st.text(max_size=8), max_size=5))
def test_pieces_are_analysed_alike_wherever_they_stand(pieces: list[str]) -> None:
    apart = [term for piece in pieces for term in ANALYZER.terms(piece, "en")]
    assert ANALYZER.terms(" \n ".join(pieces), "en") == apart


@pytest.mark.parametrize(
    "hostile",
    ["a" * 10**6, "a_" * 500_000, "a'" * 500_000, "aB" * 500_000, "1,000," * 160_000,
     "." * 10**6, "+" * 10**6, "a" + "\u0300\u0316" * 500_000, "数" * 10**6],
)  # fmt: skip
def test_a_megabyte_without_a_space_takes_no_more_than_its_length(hostile: str) -> None:
    start = time.process_time()
    ANALYZER.terms(hostile, "en")
    assert time.process_time() - start < 10


def test_threads_share_an_analyzer() -> None:
    words = [f"running{i}s walking" for i in range(2_000)]
    fresh = Analyzer()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda word: fresh.terms(word, "en"), words))
    assert found == [ANALYZER.terms(word, "en") for word in words]

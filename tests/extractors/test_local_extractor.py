"""Title, summary and tags of documents that lack them."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamaindex_reaktly.analysis import Analyzer
from llamaindex_reaktly.content.html import clean_html
from llamaindex_reaktly.domain import FoundMetadata
from llamaindex_reaktly.extractors.local import FIELDS, CleanText, LocalExtractor

DEMO = Path(__file__).parents[2] / "demo" / "content"
EXTRACTOR = LocalExtractor(Analyzer())

GUIDE = """\
# Rewaxing canvas

Canvas panniers lose their wax with the years. A new coat takes an evening, and the canvas
sheds rain as on its first day.

## What you need

- a tin of canvas wax
- a hair dryer

## How it is done

Warm the wax tin, rub the wax into the canvas, then melt the wax with the hair dryer. The
canvas wax must not stand in drops. Let the panniers hang for a night.
"""


def extract(text: str, language: str = "en", **known: Any) -> FoundMetadata:
    return EXTRACTOR.extract(CleanText(text, language, **known), FIELDS)


def test_a_text_with_headings_is_named_summarised_and_tagged() -> None:
    found = extract(GUIDE)
    assert found.title == "Rewaxing canvas"
    assert found.summary == (
        "Canvas panniers lose their wax with the years. A new coat takes an evening, and the "
        "canvas sheds rain as on its first day."
    )
    assert {"wax", "hair dryer"} <= set(found.tags)
    assert len(found.tags) <= 7
    assert found.methods == {"title": "heading", "summary": "lead-sentences", "tags": "keywords"}


def test_what_a_page_says_of_itself_goes_before_what_can_be_told_from_it() -> None:
    page = clean_html(
        "<!doctype html><title>Rewaxing canvas | Tarnholt</title><meta name=description content="
        '"How to put a new coat of wax on panniers of canvas."><h1>Rewaxing canvas</h1>'
        "<p>It takes an evening. Hang the panniers up first, and warm the tin.</p>"
    )
    found = extract(page.markdown, page_title=page.title, description=page.description)
    assert found.title == "Rewaxing canvas"
    assert found.summary == "How to put a new coat of wax on panniers of canvas."
    assert (found.methods["title"], found.methods["summary"]) == ("page", "page")


@pytest.mark.parametrize(
    ("text", "title", "method"),
    [
        ("Opening hours\n\nWe are here from nine to six.", "Opening hours", "first-line"),
        (
            "We are here from nine to six. Come in.",
            "We are here from nine to six",
            "first-sentence",
        ),
        ("", "Opening hours", "url"),
        ("- - -", "Opening hours", "url"),
    ],
)
def test_a_plain_text_is_named_by_how_it_begins_and_an_empty_one_by_its_address(
    text: str, title: str, method: str
) -> None:
    found = extract(text, is_plain=True, url="https://example.com/shop/opening-hours.html?a=1")
    assert (found.title, found.methods["title"]) == (title, method)


def test_a_title_above_a_plain_text_is_not_part_of_its_summary() -> None:
    text = "Opening hours\nWe are here from nine to six every day. On Sundays we are closed."
    assert extract(text, is_plain=True).summary == (
        "We are here from nine to six every day. On Sundays we are closed."
    )


def test_lists_code_and_notes_about_the_page_are_passed_over_for_a_summary() -> None:
    text = (
        "# Install\n\nLast updated on 3 May 2024 by the documentation team.\n\n- [Home](/)\n"
        "- [Install](/install)\n\n```\npip install harbour\n```\n\n"
        "The **installer** puts `harbour` into your [home folder](https://example.com/home)."
    )
    assert extract(text).summary == "The installer puts harbour into your home folder."


def test_a_long_sentence_is_cut_between_words() -> None:
    summary = extract("word " * 200 + "end.").summary
    assert summary is not None
    assert len(summary) <= 320
    assert summary.endswith("word…")


def test_only_what_is_wanted_is_looked_for() -> None:
    found = EXTRACTOR.extract(CleanText(GUIDE, "en", title="Mine"), {"summary"})
    assert (found.title, found.tags) == (None, ())
    assert set(found.methods) == {"summary"}


def test_names_keep_their_letters_and_other_words_lose_their_capitals() -> None:
    text = (
        "Replication slots keep WAL files. Replication slots need max_wal_size. A slot that is "
        "idle fills the disk with WAL, whatever max_wal_size says. Maren Oduya found that out."
    )
    tags = extract(text).tags
    assert {"replication slots", "WAL", "max_wal_size"} <= set(tags)


@pytest.mark.parametrize(
    ("language", "text", "tags"),
    [
        (
            "de",
            (
                "Der Luftdruck entscheidet. Prüfen Sie den Luftdruck der Reifen alle zwei Wochen. "
                "Ein Reifen mit zu wenig Luftdruck rollt schwer."
            ),
            {"Luftdruck", "Reifen"},
        ),
        (
            "fr",
            (
                "L'attelage doit être réglé. Un attelage mal réglé grince, et la remorque tire. "
                "Serrez l'attelage avant de charger la remorque."
            ),
            {"attelage", "remorque"},
        ),
        ("ja", "自転車の修理。自転車の修理は予約できます。タイヤとタイヤのチューブ。", {"タイヤ"}),
    ],
)
def test_tags_are_told_in_other_languages_too(language: str, text: str, tags: set[str]) -> None:
    assert tags <= set(extract(text, language).tags)


def test_every_document_of_the_demo_has_a_title_a_summary_and_tags() -> None:
    files = sorted(DEMO.glob("*/*.*"))
    assert len(files) > 40
    for file in files:
        text = file.read_text()
        known: dict[str, Any] = {"is_plain": file.suffix == ".txt"}
        if file.suffix == ".html":
            page = clean_html(text)
            text, known = page.markdown, {"page_title": page.title}
        found = extract(text, **known)
        assert found.title, file
        assert found.summary, file
        assert 2 <= len(found.tags) <= 7, file


@given(st.text(), st.sampled_from(["en", "de", "fr", "ja", "xx"]), st.booleans())
def test_whatever_the_text_what_is_found_is_bounded_and_on_one_line(
    text: str, language: str, is_plain: bool
) -> None:
    found = extract(text, language, is_plain=is_plain, url="/node/1")
    for value, most in ((found.title, 100), (found.summary, 320)):
        assert value is None or (0 < len(value) <= most and "\n" not in value)
    assert len(found.tags) <= 7
    assert len(set(found.tags)) == len(found.tags)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    ["word " * 400_000, "a" * 1_000_000, "[x](" * 200_000, "**" * 300_000, "# " * 300_000,
     "日本" * 300_000, "_a" * 300_000, "l'" * 300_000],
)  # fmt: skip
def test_a_hostile_megabyte_takes_no_longer_than_an_honest_one(text: str) -> None:
    extract(text, "ja" if "日" in text else "fr")

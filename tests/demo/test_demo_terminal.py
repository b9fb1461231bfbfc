import io

import pytest

from demo.client import Hit
from demo.terminal import EXCERPT_CHARACTERS, Terminal, excerpt


class TerminalStream(io.StringIO):
    def isatty(self) -> bool:
        return True


HIT = Hit(
    external_id="returns",
    source_type="PAGE",
    title="Returns and refunds, with a title that is far too long for one line of a terminal",
    url="https://www.tarnholt.example/returns",
    relevance=0.714,
    headings=("Returns and refunds", "How long you have"),
    passages=("You may return an article within 60 days of receiving it. " * 20,),
    source_data={},
)


def test_a_result_shows_title_relevance_address_headings_and_passage() -> None:
    stream = io.StringIO()
    Terminal(stream, width=80).result(1, HIT, "return an article")
    text = stream.getvalue()
    for part in ("1. Returns", "PAGE", "relevance 0.71", HIT.url, "How long you have", "60 days"):
        assert part in text


@pytest.mark.parametrize("width", [50, 80, 100])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    stream = io.StringIO()
    terminal = Terminal(stream, width=width)
    terminal.say("word " * 100)
    terminal.question("In other words", "word " * 50)
    terminal.result(1, HIT, "article")
    terminal.check(holds=True, text="word " * 50)
    assert max(len(line) for line in stream.getvalue().splitlines()) <= width


def test_a_result_without_headings_has_no_empty_brackets() -> None:
    stream = io.StringIO()
    hit = Hit("a", "PAGE", "A", "https://www.tarnholt.example/a", 0.5, (), ("Text.",), {})
    Terminal(stream, width=80).result(1, hit, "text")
    assert "[" not in stream.getvalue()


def test_colour_is_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    plain, coloured = io.StringIO(), TerminalStream()
    for stream in (plain, coloured):
        terminal = Terminal(stream, width=80)
        terminal.heading("Search")
        terminal.result(1, HIT, "article")
    assert "\x1b[" not in plain.getvalue()
    assert "\x1b[1mSearch\x1b[0m" in coloured.getvalue()


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = TerminalStream()
    Terminal(stream, width=80).heading("Search")
    assert "\x1b[" not in stream.getvalue()


def test_progress_is_overwritten_on_a_terminal_and_silent_elsewhere() -> None:
    plain, terminal_stream = io.StringIO(), TerminalStream()
    for stream in (plain, terminal_stream):
        terminal = Terminal(stream, width=80)
        terminal.progress("3 of 64 searchable")
        terminal.say("done")
    assert plain.getvalue() == "  done\n"
    assert terminal_stream.getvalue() == "\r\x1b[K  3 of 64 searchable\r\x1b[K  done\n"


def test_a_short_passage_is_shown_whole() -> None:
    assert excerpt("One line.\n\nAnother  line.", "another") == "One line. Another line."


def test_a_long_passage_begins_at_the_line_that_matches_best() -> None:
    filler = [f"Filler sentence number {i}." for i in range(30)]
    passage = "\n".join([*filler, "Norway costs £118."])
    shown = excerpt(passage, "delivery to Norway")
    assert "Norway costs £118." in shown
    assert shown.startswith("… ")
    assert len(shown) <= EXCERPT_CHARACTERS + 2


def test_rules_of_markdown_tables_are_left_out() -> None:
    assert excerpt("| A | B |\n|---|:-:|\n| 1 | 2 |", "a") == "| A | B | | 1 | 2 |"


def test_a_row_of_a_long_table_is_shown_after_the_head_of_its_table() -> None:
    rows = "\n".join(f"| Country {i} | £{i}.50 |" for i in range(30))
    passage = f"## Rates\n\n| Destination | Trailer |\n|---|---|\n{rows}\n| Norway | £118 |"
    shown = excerpt(passage, "a trailer to Norway")
    assert shown == "… | Destination | Trailer | … | Norway | £118 |"


def test_a_heading_inside_a_passage_reads_as_a_label() -> None:
    assert excerpt("## Rates\n\nFree of charge.", "rates") == "Rates: Free of charge."


def test_a_table_without_a_matching_row_shows_its_head_once() -> None:
    rows = "\n".join(f"| Country {i} | £{i}.50 |" for i in range(30))
    shown = excerpt(f"| Destination | Trailer |\n|---|---|\n{rows}", "opening hours")
    assert shown.startswith("| Destination | Trailer | | Country 0 |")
    assert shown.count("Destination") == 1

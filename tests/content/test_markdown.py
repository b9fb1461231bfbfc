import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamaindex_reaktly.content.markdown import (
    BlockKind,
    list_item_starts,
    mask_code,
    split_plain_text,
    split_sections,
)


def outline(markdown: str) -> list[tuple[tuple[str, ...], list[tuple[str, str]]]]:
    return [
        (section.headings, [(b.kind.value, markdown[b.start : b.end]) for b in section.blocks])
        for section in split_sections(markdown)
    ]


def test_headings_of_both_kinds_make_a_path() -> None:
    markdown = "intro\n\n# A #\n\na\n\nB\n---\n\nb\n\n### C\n\n## D\nd"
    assert outline(markdown) == [
        ((), [("paragraph", "intro")]),
        (("A",), [("paragraph", "a")]),
        (("A", "B"), [("paragraph", "b")]),
        (("A", "B", "C"), []),
        (("A", "D"), [("paragraph", "d")]),
    ]


def test_a_fence_hides_what_it_holds() -> None:
    code = "```py\n# no heading\n\n- no list\n```"
    assert outline(f"# A\n{code}\nafter") == [
        (("A",), [("code", code), ("paragraph", "after")]),
    ]


def test_a_fence_is_closed_by_its_own_kind_only() -> None:
    code = "````\n```\n# no\n~~~\n````"
    assert outline(code) == [((), [("code", code)])]


def test_an_unclosed_fence_reaches_to_the_end() -> None:
    assert outline("~~~\n# a\n\nb") == [((), [("code", "~~~\n# a\n\nb")])]


def test_blocks_are_told_apart() -> None:
    parts = [
        ("paragraph", "two\nlines"),
        ("list", "- a\n  more\n\n  again\n- b"),
        ("table", "| a | b |\n|-|-|\n| 1 | 2 |"),
        ("quote", "> q\n> r"),
        ("code", "    indented\n    code"),
        ("list", "1. x\n2. y"),
    ]
    assert outline("\n\n".join(text for _, text in parts)) == [((), parts)]


def test_a_list_keeps_the_code_inside_it() -> None:
    markdown = "- a\n\n  ```\n  x\n\n  # no\n  ```\n\n- b"
    assert outline(markdown) == [((), [("list", markdown)])]
    assert list_item_starts(markdown) == [0, markdown.index("- b")]


def test_only_the_outermost_items_are_items() -> None:
    assert list_item_starts("- a\n  - inner\n- b\n   1. deep") == [0, 14]


def test_rules_part_blocks_and_are_none() -> None:
    assert outline("a\n\n***\n\nb\n\n---\n") == [((), [("paragraph", "a"), ("paragraph", "b")])]


def test_hash_tags_are_no_headings() -> None:
    assert outline("#tag and text") == [((), [("paragraph", "#tag and text")])]


def test_line_ends_of_windows_are_line_ends() -> None:
    assert outline("# A\r\n\r\ntext\r\nmore\r\n") == [(("A",), [("paragraph", "text\r\nmore")])]


def test_plain_text_has_paragraphs_only() -> None:
    text = "# not a heading\nline\n\n- not a list"
    (section,) = split_plain_text(text)
    assert section.headings == ()
    assert [text[b.start : b.end] for b in section.blocks] == text.split("\n\n")
    assert {b.kind for b in section.blocks} == {BlockKind.PARAGRAPH}


def test_code_is_masked_for_whoever_looks_for_markup() -> None:
    assert "<" not in mask_code("a `<p>` b ``<p>`</p>``\n```\n<p></p>\n```")
    assert "<p>" in mask_code("a ` b <p> c")
    assert "<p>" in mask_code("a ` b\n\n<p> ` c")


LINES = st.sampled_from(
    [
        "",
        "# h",
        "## h2",
        "text",
        "===",
        "---",
        "- a",
        "  - b",
        "1. c",
        "> q",
        "```",
        "~~~",
        "| a | b |",
        "|-|-|",
        "    code",
        "***",
        "\ttab",
        "#",
        "a | b",
        "`x`",
    ]
)


@settings(deadline=None)
@given(st.lists(LINES | st.text(max_size=12), max_size=40).map("\n".join))
def test_sections_hold_every_word_once_and_in_order(markdown: str) -> None:
    position = 0
    left_out = []
    for section in split_sections(markdown):
        assert position <= section.start <= section.end
        for block in section.blocks:
            assert position <= block.start < block.end <= len(markdown)
            left_out.append(markdown[position : block.start])
            position = block.end
    left_out.append(markdown[position:])
    headings = {h for section in split_sections(markdown) for h in section.headings}
    for line in "\n".join(left_out).split("\n"):
        bare = line.strip().lstrip("#").strip().rstrip("#").strip()
        assert (
            not bare.strip("=-*_ \t")
            or bare in headings
            or line.strip() in headings
            or any(bare in h for h in headings)
        )


@pytest.mark.parametrize(
    "unit",
    [
        "#",
        "# a\n",
        "-",
        "- ",
        "- a\n",
        "-\n",
        "> ",
        ">\n",
        "`",
        "```\n",
        "|",
        "| a |\n|-|\n",
        "\n",
        " \n",
        "a\n",
        "a\n-\n",
        "  ",
        "- a\n\n",
        "- ```\n",
        "* * ",
        "_ _\n",
        "1. ",
        "\t\n",
        "- a\n\n  b\n\n",
    ],
)
def test_hostile_megabytes_take_linear_time(unit: str) -> None:
    markdown = unit * (100_000 // len(unit))
    started = time.process_time()
    split_sections(markdown)
    list_item_starts(markdown)
    mask_code(markdown)
    assert time.process_time() - started < 10

import base64
import random
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamaindex_reaktly.embeddings.minilm import MiniLM
from llamaindex_reaktly.embeddings.minilm_tokenizer import find_model
from llamaindex_reaktly.node_parser.chunking import (
    MINIMUM_MAX_TOKENS,
    Chunk,
    Tokenizer,
    chunk_document,
    embedding_context,
    embedding_text,
)

SENTENCE = "Oil the garden tools in spring before the first use. "


def check(source: str, chunks: list[Chunk], tokenizer: Tokenizer, title: str, limit: int) -> None:
    """What holds for every chunk of every document."""
    previous = -1
    for chunk in chunks:
        assert tokenizer.count_tokens(embedding_text(title, chunk.headings, chunk.text)) <= limit
        assert source[chunk.start : chunk.end] in chunk.text
        assert chunk.start >= previous
        previous = chunk.end


def test_a_section_is_a_chunk_under_its_heading_path(tokenizer: Tokenizer) -> None:
    source = "# Tools\n\nAll of them.\n\n## Oil\n\nIn spring.\n\n## Rust\n\nIn autumn."
    assert chunk_document(source, title="Care", tokenizer=tokenizer) == [
        Chunk("All of them.", ("Tools",), 9, 21),
        Chunk("In spring.", ("Tools", "Oil"), 31, 41),
        Chunk("In autumn.", ("Tools", "Rust"), 52, 62),
    ]


def test_what_is_embedded_is_title_path_and_text() -> None:
    assert embedding_text("Care", ("Tools", "Oil"), "In spring.") == "Care\nTools > Oil\nIn spring."
    assert embedding_text("", (), "text") == "text"


def test_the_context_says_nothing_twice() -> None:
    assert embedding_text("Tools", ("tools", "Oil"), "x") == "Tools\nOil\nx"
    assert embedding_text("Tools", (), "Tools") == "Tools"


def test_long_context_loses_the_titles_end_and_the_outer_headings() -> None:
    context = embedding_context("word " * 100, ("outer " * 30, "inner " * 10), "text")
    title, path = context.split("\n")
    assert len(title) <= 100
    assert path.endswith("inner inner")
    assert len(path) <= 125


def test_a_document_without_text_is_found_by_its_title(tokenizer: Tokenizer) -> None:
    assert chunk_document(" \n", title="Only", tokenizer=tokenizer) == [Chunk("Only", (), 0, 0)]
    assert chunk_document(" \n", title=" ", tokenizer=tokenizer) == []


def test_a_heading_with_nothing_under_it_is_its_own_text(tokenizer: Tokenizer) -> None:
    chunks = chunk_document("# A\n\n## B\n\n# C\n", title="T", tokenizer=tokenizer)
    assert [(chunk.text, chunk.headings) for chunk in chunks] == [("B", ("A",)), ("C", ())]


def test_plain_text_is_not_read_as_markdown(tokenizer: Tokenizer) -> None:
    (chunk,) = chunk_document("# a comment\nls", title="T", tokenizer=tokenizer, plain=True)
    assert (chunk.text, chunk.headings) == ("# a comment\nls", ())


def test_a_table_is_cut_between_rows_and_repeats_its_header(tokenizer: Tokenizer) -> None:
    rows = [f"| tool {i} | needs oil in spring |" for i in range(120)]
    source = "\n".join(["| Name | Care |", "|-|-|", *rows])
    chunks = chunk_document(source, title="T", tokenizer=tokenizer)
    assert len(chunks) > 2
    assert all(chunk.text.startswith("| Name | Care |\n|-|-|\n| tool ") for chunk in chunks)
    assert [row for chunk in chunks for row in chunk.text.split("\n")[2:]] == rows


def test_code_is_cut_between_lines_and_stays_fenced(tokenizer: Tokenizer) -> None:
    lines = [f"    call_number_{i}(first, second)" for i in range(80)]
    source = "\n".join(["```py", *lines, "```"])
    chunks = chunk_document(source, title="T", tokenizer=tokenizer)
    assert len(chunks) > 2
    for chunk in chunks:
        first, *_, last = chunk.text.split("\n")
        assert (first, last) == ("```py", "```")
    assert [line for chunk in chunks for line in chunk.text.split("\n")[1:-1]] == lines


def test_a_list_is_cut_between_items(tokenizer: Tokenizer) -> None:
    items = [f"- item {i} is here\n  and goes on" for i in range(60)]
    chunks = chunk_document("\n".join(items), title="T", tokenizer=tokenizer)
    assert len(chunks) > 1
    assert all(re.match(r"- item \d+ is here\n", chunk.text) for chunk in chunks)
    assert all(chunk.text.endswith("and goes on") for chunk in chunks)


def test_prose_is_cut_between_sentences_into_full_parts(
    tokenizer: Tokenizer,
) -> None:
    chunks = chunk_document(SENTENCE * 60, title="T", tokenizer=tokenizer)
    assert len(chunks) > 2
    assert all(chunk.text.endswith("use.") for chunk in chunks)
    sizes = [len(chunk.text) for chunk in chunks]
    assert min(sizes[:-1]) > max(sizes) * 0.9


def test_every_part_of_a_long_definition_is_under_its_term(tokenizer: Tokenizer) -> None:
    long, longer = SENTENCE * 20, SENTENCE * 30
    source = f"- **`fsync`**\n\n  {longer}\n\n- **short**: one\n\n- **`wal`**\n\n  {long}"
    chunks = chunk_document(source, title="T", tokenizer=tokenizer)
    terms = [chunk.headings for chunk in chunks]
    assert terms == sorted(terms, key=[("fsync",), (), ("wal",)].index)
    assert terms.count(("fsync",)) > 1
    check(source, chunks, tokenizer, "T", 256)


def test_an_edit_in_one_section_changes_that_sections_chunks_only(tokenizer: Tokenizer) -> None:
    sections = [f"## Section {i}\n\n{SENTENCE * (i % 7 * 5 + 1)}" for i in range(20)]
    before = chunk_document("\n\n".join(sections), title="T", tokenizer=tokenizer)
    sections[7] = sections[7].replace("spring", "the early days of spring", 1)
    after = chunk_document("\n\n".join(sections), title="T", tokenizer=tokenizer)
    old, new = ({(c.headings, c.text) for c in chunks} for chunks in (before, after))
    assert {headings for headings, _ in old ^ new} == {("Section 7",)}


def test_no_character_is_cut_in_two(tokenizer: Tokenizer) -> None:
    family = "\U0001f469\u200d\U0001f469\u200d\U0001f467"
    for character in (family, "e\u0301\u0323", "\U0001f44b\U0001f3fd"):
        chunks = chunk_document(character * 5_000, title="T", tokenizer=tokenizer)
        assert len(chunks) > 1
        assert all(chunk.text.startswith(character) for chunk in chunks)


def test_encoded_data_is_kept_by_its_start_only(tokenizer: Tokenizer) -> None:
    data = base64.b64encode(random.Random(1).randbytes(750_000)).decode()
    source = f"before {data} after"
    started = time.process_time()
    chunks = chunk_document(source, title="T", tokenizer=tokenizer)
    assert time.process_time() - started < 10
    check(source, chunks, tokenizer, "T", 256)
    assert sum(len(chunk.text) for chunk in chunks) < 5_000
    assert chunks[0].text.startswith("before")
    assert chunks[-1].text == "after"


def test_a_budget_that_leaves_no_room_for_text_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match=str(MINIMUM_MAX_TOKENS)):
        chunk_document("text", title="T", tokenizer=tokenizer, max_tokens=MINIMUM_MAX_TOKENS - 1)


WORD = st.from_regex(r"[a-zA-Z]{1,12}", fullmatch=True)
LINE = st.one_of(
    st.lists(WORD, min_size=1, max_size=40).map(" ".join),
    st.lists(WORD, min_size=1, max_size=30).map(". ".join),
    WORD.map("# {}".format),
    WORD.map("## {}".format),
    st.lists(WORD, min_size=1, max_size=60).map("- {}".format),
    st.tuples(WORD, st.lists(WORD, max_size=90).map(" ".join)).map(
        "- **{0[0]}**\n\n  {0[1]}".format
    ),
    st.lists(WORD, min_size=1, max_size=9).map(lambda w: f"|{'|'.join(w)}|\n|{'-|' * len(w)}"),
    st.lists(WORD, min_size=2, max_size=9).map("|".join),
    st.sampled_from(["", "", "```", "***", "> "]),
    st.integers(200, 5000).map("数据。库".__mul__).map(lambda text: text[:3000]),
)
DOCUMENT = st.lists(LINE, max_size=30).map("\n".join)


@settings(deadline=None)
@given(
    source=DOCUMENT,
    title=st.lists(WORD, max_size=50).map(" ".join),
    max_tokens=st.integers(MINIMUM_MAX_TOKENS, 512),
)
def test_no_word_is_lost_and_nothing_is_over_the_budget(
    tokenizer: Tokenizer, source: str, title: str, max_tokens: int
) -> None:
    chunks = chunk_document(source, title=title, tokenizer=tokenizer, max_tokens=max_tokens)
    check(source, chunks, tokenizer, title, max_tokens)
    assert chunks == chunk_document(source, title=title, tokenizer=tokenizer, max_tokens=max_tokens)
    said = {
        word for chunk in chunks for text in (chunk.text, *chunk.headings) for word in _words(text)
    }
    assert set(_words(source)) <= said


@settings(deadline=None)
@given(
    source=st.text(max_size=600) | st.text(alphabet="a|-`#*>. \n\t1", max_size=400),
    title=st.text(max_size=300),
)
def test_any_text_can_be_cut(tokenizer: Tokenizer, source: str, title: str) -> None:
    for plain in (False, True):
        chunks = chunk_document(source, title=title, tokenizer=tokenizer, plain=plain)
        check(source, chunks, tokenizer, title, 256)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text)


@pytest.mark.skipif(find_model() is None, reason="the local model is not installed")
@pytest.mark.parametrize(
    "source",
    [
        SENTENCE * 200,
        "x" * 200_000,
        base64.b64encode(random.Random(2).randbytes(30_000)).decode(),
        "https://a.example/" + "path/" * 5_000,
        "数据库每晚备份一次，请不要关闭电源。" * 300,
        "데이터베이스는매일밤백업됩니다" * 300,
        "ก" * 5_000 + " " + "й" * 5_000,
        "".join(random.Random(3).choices("abcdefghijklmnopqrstuvwxyz", k=20_000)),
        "| a | b |\n|-|-|\n" + "| some cell | 12345 |\n" * 500,
    ],
)
def test_the_local_model_reads_every_chunk_to_its_end(source: str) -> None:
    with MiniLM.load() as model:
        for title in ("Care", "데이터 백업 " * 50, "zq" * 200):
            chunks = chunk_document(source, title=title, tokenizer=model)
            check(source, chunks, model, title, model.max_tokens)


def test_a_link_is_shown_with_its_target_and_embedded_without(tokenizer: Tokenizer) -> None:
    target = "https://example.com/a-long/path/to/somewhere(1).html#with-an-anchor"
    sentence = f"Oil [the shears]({target}) in spring. "
    plain = chunk_document(
        sentence.replace(f"]({target})", "") * 40, title="T", tokenizer=tokenizer
    )
    linked = chunk_document(sentence * 40, title="T", tokenizer=tokenizer)
    assert target in linked[0].text
    embedded = embedding_text("T", (), linked[0].text)
    assert "Oil the shears in spring." in embedded
    assert "example.com" not in embedded
    assert len(linked) <= len(plain) + 1


def test_markdowns_signs_are_shown_and_not_embedded(tokenizer: Tokenizer) -> None:
    source = (
        "> - **-t**: Instead of `x_y`, **oil**\n\n"
        "| Name | Care |\n|:-|-:|\n| a\\|b | -5 |\n\n"
        "```c\nint *p = a - b;\n```"
    )
    (chunk,) = chunk_document(source, title="", tokenizer=tokenizer)
    assert chunk.text == source
    words = "-t : Instead of x_y , oil Name Care a b -5 c int *p = a - b;"
    assert embedding_text("", (), chunk.text).split() == words.split()


def test_markdowns_signs_take_no_room_in_a_chunk(tokenizer: Tokenizer) -> None:
    words = [f"word{i}" for i in range(600)]
    bare = chunk_document("\n".join(words), title="T", tokenizer=tokenizer)
    signed = chunk_document(
        "\n".join(f"> **{word}** `" for word in words), title="T", tokenizer=tokenizer
    )
    assert len(signed) == len(bare)

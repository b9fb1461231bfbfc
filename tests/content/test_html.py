import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamaindex_reaktly.content.html import CleanPage, clean_html, visible_text

SENTENCE = "Oil the garden tools in spring, before the first use, and again when the leaves fall. "
NAVIGATION = (
    '<div class="navheader"><table><tr><td><a href="a.html">Prev</a></td>'
    '<td><a href="b.html">Next</a></td></tr></table></div>'
)


def page(body: str, head: str = "") -> str:
    start = f"<!doctype html><html><head><title>Care of tools</title>{head}</head>"
    return f"{start}<body>{body}</body></html>"


def test_headings_keep_their_levels() -> None:
    html = page(f"<h1>Tools</h1><p>{SENTENCE}</p><h3>Oil</h3><p>{SENTENCE}</p>")
    assert clean_html(html).markdown.split("\n\n") == [
        "# Tools",
        SENTENCE.strip(),
        "### Oil",
        SENTENCE.strip(),
    ]


def test_a_data_table_becomes_a_markdown_table() -> None:
    html = (
        "<table><thead><tr><th>Name</th><th>Size</th></tr></thead>"
        "<tr><td>a|b</td><td>2 bytes</td></tr></table>"
    )
    assert clean_html(html).markdown == "| Name | Size |\n|-|-|\n| a\\|b | 2 bytes |"


def test_a_layout_table_is_read_through() -> None:
    html = f"<table><tr><td><h2>Left</h2><p>{SENTENCE}</p></td><td><p>Right</p></td></tr></table>"
    assert clean_html(html).markdown == f"## Left\n\n{SENTENCE.strip()}\n\nRight"


def test_code_keeps_its_lines_and_language() -> None:
    html = '<pre><code class="language-sql">SELECT 1;\n  -- two  spaces\n</code></pre>'
    assert clean_html(html).markdown == "```sql\nSELECT 1;\n  -- two  spaces\n```"


def test_code_that_holds_a_fence_gets_a_longer_one() -> None:
    assert clean_html("<pre>```\nx\n```</pre>").markdown == "````\n```\nx\n```\n````"


def test_lists_keep_their_nesting() -> None:
    html = "<ul><li>one<ol><li>first</li><li>second</li></ol></li><li>two</li></ul>"
    assert clean_html(html).markdown == "- one\n  1. first\n  2. second\n- two"


def test_a_term_stays_with_its_definition() -> None:
    html = (
        "<dl><dt>fsync</dt><dd>Writes to disk.</dd>"
        "<dt>wal</dt><dd><p>A log.</p><p>Kept.</p></dd></dl>"
    )
    assert clean_html(html).markdown == (
        "- **fsync**: Writes to disk.\n- **wal**\n\n  A log.\n\n  Kept."
    )


def test_links_are_kept_as_absolute_addresses_only() -> None:
    html = (
        '<p><a href="https://a.example/x(1)">abs</a> '
        '<a href="b.html">rel</a> <a href="#c">here</a></p>'
    )
    assert clean_html(html).markdown == "[abs](https://a.example/x%281%29) rel here"
    assert (
        "[rel](https://a.example/d/b.html)"
        in clean_html(html, url="https://a.example/d/e").markdown
    )


@pytest.mark.parametrize(
    "href", ["javascript:evil()", "JaVaScRiPt:evil()", " data:text/html,evil", "vbscript:evil"]
)
def test_addresses_that_are_no_web_addresses_are_dropped(href: str) -> None:
    assert clean_html(f'<p><a href="{href}">text</a></p>').markdown == "text"


@pytest.mark.parametrize(
    "hidden",
    [
        "<script>secret</script>",
        "<style>secret</style>",
        "<!-- secret -->",
        "<template><p>secret</p></template>",
        "<nav><p>secret</p></nav>",
        "<header><p>secret</p></header>",
        "<footer><p>secret</p></footer>",
        "<p hidden>secret</p>",
        '<p style="display: none">secret</p>',
        '<div role="navigation">secret</div>',
        '<div class="cookie-banner">secret</div>',
        '<img src="data:image/png;base64,secret">',
        '<p onclick="secret">shown</p>',
        "<noscript>secret</noscript>",
    ],
)
def test_what_is_no_content_is_dropped(hidden: str) -> None:
    markdown = clean_html(page(f"{hidden}<p>{SENTENCE}</p>")).markdown
    assert SENTENCE.strip() in markdown
    assert "secret" not in markdown


def test_a_documentation_page_loses_its_navigation_and_keeps_the_rest() -> None:
    body = (
        f"{NAVIGATION}<h2>Types</h2><p>{SENTENCE}</p><pre>CREATE TABLE tools ();</pre>"
        "<table><tr><th>Name</th><th>Bytes</th></tr><tr><td>smallint</td><td>2</td></tr></table>"
        f"<dl><dt>oil</dt><dd>{SENTENCE}</dd></dl>{NAVIGATION}"
    )
    markdown = clean_html(page(body)).markdown
    assert "Prev" not in markdown
    for kept in ("## Types", "CREATE TABLE tools", "| smallint | 2 |", "**oil**"):
        assert kept in markdown


def test_an_article_loses_what_surrounds_it() -> None:
    related = "".join(
        f'<li><a href="https://n.example/{i}">Story number {i}</a></li>' for i in range(20)
    )
    article = "".join(f"<p>{SENTENCE * 3}Paragraph {i}.</p>" for i in range(8))
    html = page(
        f'<div class="related"><h3>More</h3><ul>{related}</ul></div>'
        f"<article><h1>Oil</h1>{article}</article>",
        '<meta property="og:type" content="article">',
    )
    markdown = clean_html(html).markdown
    assert "Paragraph 0." in markdown
    assert "Paragraph 7." in markdown
    assert "Story number" not in markdown


def test_a_page_of_links_keeps_them() -> None:
    links = "".join(f'<li><a href="https://d.example/{i}">Chapter {i}</a></li>' for i in range(9))
    assert "Chapter 8" in clean_html(page(f"<h1>Contents</h1><ul>{links}</ul>")).markdown


def test_a_fragment_keeps_all_its_visible_text() -> None:
    html = '<div class="sidebar">Short</div><p>Also short</p>loose<br>line'
    assert clean_html(html).markdown == "Short\n\nAlso short\n\nloose\nline"


@pytest.mark.parametrize(
    "text",
    ['{"id": "a", "n": [1, 2]}', "# Title\n\n* item `code<T>`\n\n```\n<b>x</b>\n```", "a < b"],
)
def test_content_without_markup_is_left_as_it_is(text: str) -> None:
    assert clean_html(text).markdown == text


@pytest.mark.parametrize("text", ["# no heading", "```", "~~~ x", "---", "==="])
def test_text_that_looks_like_markdown_is_escaped(text: str) -> None:
    assert clean_html(f"<p>{text}</p>").markdown == f"\\{text}"


def test_a_page_tells_title_language_and_description() -> None:
    head = '<meta name="description" content="How to care">'
    html = page(f"<h1>Care of tools</h1><p>{SENTENCE * 2}</p>", head)
    cleaned = clean_html(html)
    assert (cleaned.title, cleaned.language, cleaned.description) == (
        "Care of tools",
        "en",
        "How to care",
    )


def test_the_site_name_is_not_part_of_the_title() -> None:
    html = "<html><title>Oil | My Site</title><h1>Oil</h1><p>text</p>"
    assert clean_html(html).title == "Oil"


@pytest.mark.parametrize(
    "html",
    [
        page("<pre>" + "x" * 1_000_000 + "</pre><p>kept words</p>"),
        page("<p>kept words</p>" + "<p>a <b>b</b></p>" * 10_000),
        page(f'<p title="{"x" * 2_000_000}">kept words</p>'),
        page("<div>" * 200 + "kept words"),
        page("<div>" * 5_000 + "kept words"),
        page("<span>" * 1_500 + "kept words"),
        page("<ul><li>" * 1_000 + "kept words"),
        page("<blockquote>" * 900 + "kept words"),
        "<p>kept words</p>" + "<" * 300_000,
        "<p>kept words</p>" + "<!--" * 100_000,
        "<p>kept words</p>" + "&" * 300_000,
        "<p>kept words</p>" + "</p>" * 100_000,
        page("<table><tr><td>" * 300 + "kept words"),
    ],
)
def test_hostile_pages_are_read_in_bounded_time(html: str) -> None:
    started = time.process_time()
    assert "kept words" in clean_html(html).markdown
    assert time.process_time() - started < 15


def test_the_last_resort_is_all_visible_text() -> None:
    html = "<script>no</script>a &amp; b<!-- no --><style>no</style> 1 < 2 <p title='>'>c"
    assert visible_text(html) == "a & b 1 < 2 c"


@pytest.mark.parametrize("depth", [1, 130, 1_000, 2_100, 50_000])
@pytest.mark.parametrize("opened", ["<div>", "<span>", "<ul><li>", "<blockquote>", "<p><code>"])
@pytest.mark.parametrize(
    "unseen",
    [
        "<script>secret()</script>",
        "<style>.secret {}</style>",
        "<template>secret <b>too</b></template>",
        "<b hidden>secret</b>",
        "<b style='display:none'>secret<br><img> <i>too</i></b>",
    ],
)
def test_what_is_not_shown_is_not_read_at_any_depth(opened: str, unseen: str, depth: int) -> None:
    cleaned = clean_html(f"{opened * depth}<i>kept</i> {unseen} words")
    assert "secret" not in cleaned.markdown
    assert "too" not in cleaned.markdown
    assert cleaned.markdown.replace("`", "").split()[-2:] == ["kept", "words"]


def test_code_is_read_without_what_is_not_shown_in_it() -> None:
    html = (
        "<pre>a = 1<script>secret()</script><button>Copy</button>\nb = 2<span hidden>c</span></pre>"
    )
    assert clean_html(html).markdown == "```\na = 1\nb = 2\n```"


PIECES = st.sampled_from(
    [
        "<p>",
        "</p>",
        "<div>",
        "</div>",
        "<ul>",
        "<li>",
        "</ul>",
        "<table>",
        "<tr>",
        "<td>",
        "</table>",
        "<dl>",
        "<dt>",
        "<dd>",
        "<pre>",
        "</pre>",
        "<a\thref='http://[x'>",
        "</a>",
        "<br>",
        "<h1>",
        "</h1>",
        "<html>",
        "<body>",
        "<svg>",
        "<math>",
        "<article>",
        "<!--",
        "-->",
        "&",
        "<",
        "<script>",
        "<code>",
        "<blockquote>",
        "</blockquote>",
        "<!doctype\thtml>",
        "]]>",
        "<?x",
    ]
)


@settings(deadline=None)
@given(st.lists(PIECES | st.text(max_size=8), max_size=40).map("".join))
def test_no_html_makes_it_raise_and_cleaning_is_deterministic(html: str) -> None:
    first = clean_html(html)
    assert isinstance(first, CleanPage)
    first.markdown.encode("utf-8")
    assert clean_html(html) == first


@settings(deadline=None)
@given(st.lists(st.from_regex(r"[a-z]{3,9}", fullmatch=True), min_size=1, max_size=30))
def test_every_visible_word_of_a_fragment_is_kept(words: list[str]) -> None:
    html = "".join(
        f"<p>{word}</p>" if i % 3 else f"<ul><li>{word}</ul>" for i, word in enumerate(words)
    )
    assert [w.strip("- ") for w in clean_html(html).markdown.split() if w != "-"] == words

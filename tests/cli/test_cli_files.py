from pathlib import Path

import pytest

from llamaindex_reaktly.cli.files import decode, find_files, read_document, title_of
from llamaindex_reaktly.domain import ContentType, SourceDocument, SourceType
from llamaindex_reaktly.errors import InvalidRequest


def _read(path: Path, max_bytes: int = 10_000) -> SourceDocument | None:
    (file,) = find_files([str(path)])
    return read_document(
        file,
        knowledge_base_id="kb",
        source="integration:files",
        source_type=SourceType.PAGE,
        max_bytes=max_bytes,
    )


def test_a_folder_is_walked_in_order_without_hidden_and_foreign_files(folder: Path) -> None:
    assert [file.external_id for file in find_files([str(folder)])] == [
        "guides/mooring.html",
        "guides/tides.txt",
        "index.md",
    ]


def test_a_single_file_is_named_by_its_name(folder: Path) -> None:
    (file,) = find_files([str(folder / "guides" / "tides.txt")])
    assert file.external_id == "tides.txt"


def test_the_same_file_given_twice_is_one_document(folder: Path) -> None:
    tides = str(folder / "guides" / "tides.txt")
    assert len(find_files([tides, tides])) == 1


def test_two_files_of_one_id_are_refused_by_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.md").write_text("x")
    with pytest.raises(InvalidRequest, match=r"would both be 'index\.md'"):
        find_files([str(tmp_path / "a"), str(tmp_path / "b")])


@pytest.mark.parametrize("url", ["https://example.org/a.md", "http://x/sitemap.xml", "s3://b/c"])
def test_a_url_is_refused_for_what_it_is(url: str) -> None:
    with pytest.raises(InvalidRequest, match="is a URL; only files and folders"):
        find_files([url])


def test_what_is_not_there_or_of_another_kind_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidRequest, match="there is no file or folder"):
        find_files([str(folder / "nowhere")])
    with pytest.raises(InvalidRequest, match="is none of"):
        find_files([str(folder / "guides" / "chart.png")])


def test_links_to_folders_are_not_followed_round_in_circles(folder: Path) -> None:
    (folder / "guides" / "up").symlink_to(folder)
    assert len(find_files([str(folder)])) == 3


def test_titles_come_from_the_page_the_first_heading_or_the_name(folder: Path) -> None:
    titles = {}
    for path in (folder / "index.md", folder / "guides/mooring.html", folder / "guides/tides.txt"):
        document = _read(path)
        assert document is not None
        titles[path.name] = (document.title, document.content_type)
    assert titles == {
        "index.md": ("The index", ContentType.MARKDOWN),
        "mooring.html": ("How to & moor", ContentType.HTML),
        "tides.txt": ("tides", ContentType.TEXT),
    }


def test_a_heading_in_a_code_block_is_no_title() -> None:
    assert title_of("```sh\n# a comment\n```\n\n## Real\n", ContentType.MARKDOWN) == "Real"


def test_a_page_without_a_title_is_called_by_its_first_heading() -> None:
    html = "<h1> Tide\n <em>tables</em></h1><h1>Other</h1>"
    assert title_of(html, ContentType.HTML) == "Tide tables"
    assert title_of("", ContentType.HTML) == ""


@pytest.mark.parametrize("kind", list(ContentType))
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "windows-1252"])
def test_text_is_read_in_the_encoding_it_is_in(kind: ContentType, encoding: str) -> None:
    text = "Der Fährmann grüßt den Schlüsselträger über den Höfen der Käserei. " * 3
    assert decode(text.encode(encoding), kind) == text


def test_a_text_about_charsets_is_not_decoded_by_what_it_speaks_of() -> None:
    text = 'Write <meta charset="windows-1252"> for the ferry — never. Grüße'
    assert decode(text.encode(), ContentType.MARKDOWN) == text


def test_a_binary_file_with_a_text_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "photo.txt"
    path.write_bytes(b"JFIF\x00\x01\x00binary")
    with pytest.raises(InvalidRequest, match="not a text file"):
        _read(path)


def test_a_file_over_the_limit_is_refused_with_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("x" * 101)
    with pytest.raises(InvalidRequest, match=r"REAKTLY_MAX_BODY_BYTES \(100\)"):
        _read(path, max_bytes=100)


@pytest.mark.parametrize("name", ["line\nbreak.md", "n" * 200 + "/" + "m" * 60 + ".md"])
def test_a_path_that_can_be_no_id_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")
    (file,) = find_files([str(tmp_path)])
    with pytest.raises(InvalidRequest, match="cannot be an id"):
        read_document(
            file,
            knowledge_base_id="kb",
            source="integration:files",
            source_type=SourceType.PAGE,
            max_bytes=100,
        )


def test_an_empty_file_is_no_document(tmp_path: Path) -> None:
    path = tmp_path / "empty.md"
    path.write_text(" \n\n")
    assert _read(path) is None

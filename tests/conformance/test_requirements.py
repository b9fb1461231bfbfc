"""The requirements hold together: nothing of the vendors' pages is left out or made up."""

import hashlib
from pathlib import Path

import pytest

from scripts.conformance import (
    NamedTest,
    Requirement,
    VendorPage,
    line_numbers,
    problems,
    proofs,
    vendor_pages,
)

ROOT = Path(__file__).parents[2]
PAGES = vendor_pages(ROOT)


def test_each_requirement_has_a_test_and_each_named_one_exists() -> None:
    assert not list(problems(PAGES, proofs(ROOT)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.title)
def test_every_line_of_a_vendors_page_promises_something_or_is_said_not_to(
    page: VendorPage, seeds: Path
) -> None:
    content = (seeds / page.file).read_bytes()
    assert hashlib.sha256(content).hexdigest() == page.sha256, "another version of the page"
    lines = dict(enumerate(content.decode().splitlines(), 1))
    written = {number for number, line in lines.items() if line.strip()}
    promised = {number for entry in page.requirements for number in line_numbers(entry.lines)}
    silent = {number for entry in page.silences for number in line_numbers(entry.lines)}
    assert not [(number, lines[number]) for number in sorted(written - promised - silent)]
    assert not sorted((promised | silent) - set(lines))
    assert not sorted(promised & silent)


def a_page(*requirements: Requirement) -> VendorPage:
    return VendorPage("X", "A page", "x.txt", "", requirements, ())


TEST = NamedTest("tests/test_x.py", "test_x")


def test_a_requirement_without_a_test_is_found() -> None:
    assert list(problems([a_page(Requirement("X-01", "1", "It holds."))], {})) == [
        "X-01 has no test: It holds."
    ]


def test_a_test_that_names_an_unknown_requirement_is_found() -> None:
    assert list(problems([a_page()], {"X-09": [TEST]})) == [
        "tests/test_x.py: test_x names X-09, which does not exist"
    ]


def test_a_requirement_that_is_given_up_needs_no_test_and_may_have_none() -> None:
    given_up = a_page(Requirement("X-01", "1", "It holds.", unmet="There is no way."))
    assert not list(problems([given_up], {}))
    assert list(problems([given_up], {"X-01": [TEST]}))


def test_an_id_stands_for_one_requirement_of_its_own_page() -> None:
    twice = a_page(Requirement("X-01", "1", "It holds."), Requirement("X-01", "2", "This too."))
    assert list(problems([twice], {"X-01": [TEST]})) == ["X-01 is there twice"]
    strange = a_page(Requirement("Y-01", "1", "It holds."))
    assert list(problems([strange], {"Y-01": [TEST]})) == [
        "Y-01 does not begin with X-, as those of its page do"
    ]


def test_requirements_are_read_from_marks_and_from_marked_parameters(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_a.py").write_text(
        "import pytest\n"
        "@pytest.mark.requirement('X-01', 'X-02')\n"
        "@pytest.mark.parametrize('n', [pytest.param(1, marks=pytest.mark.requirement('X-03'))])\n"
        "async def test_one(n: int) -> None: ...\n"
        "def test_two() -> None: ...\n"
    )
    one = [NamedTest("tests/test_a.py", "test_one")]
    assert proofs(tmp_path) == {"X-01": one, "X-02": one, "X-03": one}

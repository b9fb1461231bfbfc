"""Writes docs/reference/conformance.md from the requirements and the tests, or checks both.

A requirement is a promise of a vendor's page, in tests/conformance/requirements; a test
names the ones that it proves by `@pytest.mark.requirement("R-01", …)`.

Usage: python -m scripts.conformance [--check]
"""

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = Path("docs/reference/conformance.md")
REQUIREMENTS = Path("tests/conformance/requirements")
TESTS = Path("tests")
HEADER = """\
# Conformance

What the vendors' pages promise, in our words, and the tests that prove each promise. The
lines are those of the page as it was published; a test holds that none of them is left out.
This page is written by `python -m scripts.conformance`, from `tests/conformance/requirements`
and from the tests that name a requirement.
"""


@dataclass(frozen=True, slots=True)
class Requirement:
    """A promise. `unmet` says why it is not kept, `differs` what is ours about keeping it."""

    id: str
    lines: str
    behaviour: str
    differs: str | None = None
    unmet: str | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """Lines of a page that promise nothing, and why that is so."""

    lines: str
    reason: str


@dataclass(frozen=True, slots=True)
class VendorPage:
    """A page as published: which file it is, and what becomes of its lines."""

    prefix: str
    title: str
    file: str
    sha256: str
    requirements: Sequence[Requirement]
    silences: Sequence[Silence]


@dataclass(frozen=True, slots=True)
class NamedTest:
    """A test that names requirements; `path` is below the repository's root."""

    path: str
    name: str


def line_numbers(lines: str) -> list[int]:
    """`"1-3, 7"` as numbers."""
    numbers: list[int] = []
    for part in lines.split(","):
        first, _, last = part.strip().partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return numbers


def vendor_pages(root: Path = Path()) -> list[VendorPage]:
    """All pages, in the order of their files."""
    pages = [_vendor_page(path) for path in (root / REQUIREMENTS).glob("*.toml")]
    return sorted(pages, key=lambda page: page.file)


def _vendor_page(path: Path) -> VendorPage:
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    return VendorPage(
        prefix=raw["prefix"],
        title=raw["title"],
        file=raw["file"],
        sha256=raw["sha256"],
        requirements=[Requirement(**entry) for entry in raw["requirement"]],
        silences=[Silence(**entry) for entry in raw["promises_nothing"]],
    )


def proofs(root: Path = Path()) -> dict[str, list[NamedTest]]:
    """Each id that a test names, with those tests."""
    found: dict[str, list[NamedTest]] = {}
    for path in sorted((root / TESTS).rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                test = NamedTest(path.relative_to(root).as_posix(), node.name)
                for name in dict.fromkeys(_named(node)):
                    found.setdefault(name, []).append(test)
    return found


def _named(test: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """What the marks of a test name, those of single parameters included."""
    for decorator in test.decorator_list:
        for node in ast.walk(decorator):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.requirement":
                for argument in node.args:
                    yield str(ast.literal_eval(argument))


def problems(
    pages: Sequence[VendorPage], tests: Mapping[str, Sequence[NamedTest]]
) -> Iterator[str]:
    """A sentence for each id that is wrong, that no test names, or that only a test knows."""
    known: set[str] = set()
    for page in pages:
        for requirement in page.requirements:
            name = requirement.id
            if name in known:
                yield f"{name} is there twice"
            if not name.startswith(f"{page.prefix}-"):
                yield f"{name} does not begin with {page.prefix}-, as those of its page do"
            if requirement.unmet is None and name not in tests:
                yield f"{name} has no test: {requirement.behaviour}"
            if requirement.unmet is not None and name in tests:
                yield f"{name} is said to be unmet, but {tests[name][0].path} proves it"
            known.add(name)
    for name, named in tests.items():
        if name not in known:
            yield f"{named[0].path}: {named[0].name} names {name}, which does not exist"


def page(pages: Sequence[VendorPage], tests: Mapping[str, Sequence[NamedTest]]) -> str:
    """The whole page as it should be."""
    return HEADER + "".join(_section(page, tests) for page in pages)


def _section(page: VendorPage, tests: Mapping[str, Sequence[NamedTest]]) -> str:
    rows = "".join(_row(requirement, tests) for requirement in page.requirements)
    return f"\n## {page.title}\n\n| id | lines | what holds | tests |\n|---|---|---|---|\n{rows}"


def _row(requirement: Requirement, tests: Mapping[str, Sequence[NamedTest]]) -> str:
    holds = requirement.behaviour
    if requirement.differs:
        holds += f" *{requirement.differs}*"
    if requirement.unmet:
        proof = f"**Not met.** {requirement.unmet}"
    else:
        proof = "<br>".join(_link(test) for test in tests.get(requirement.id, ()))
    return f"| {requirement.id} | {requirement.lines} | {holds} | {proof} |\n"


def _link(test: NamedTest) -> str:
    sentence = test.name.removeprefix("test_").replace("_", " ")
    return f"[{sentence}](../../{test.path})"


def main() -> None:
    """Write the page; with `--check`, exit 1 when it or the requirements are out of step."""
    pages, tests = vendor_pages(), proofs()
    found = list(problems(pages, tests))
    if found:
        sys.exit("\n".join(found))
    text = page(pages, tests)
    if sys.argv[1:] == ["--check"]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
            sys.exit(f"{PAGE} is out of step: run python -m scripts.conformance")
        print("Every requirement has its tests, and the page shows them.")
        return
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""The pages that are written from the code and from metadata are current."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "scripts").glob("*.md")]
)
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


@pytest.mark.parametrize(
    "module", ["conformance", "error_table", "settings_table", "third_party_notices"]
)
def test_a_generated_page_is_current(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"scripts.{module}", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    assert not [target for target in targets if not (page.parent / target).exists()]


def test_every_decision_is_listed() -> None:
    listed = (ROOT / "docs/adr/README.md").read_text(encoding="utf-8")
    decisions = sorted((ROOT / "docs/adr").glob("0*.md"))
    assert decisions
    assert not [path.name for path in decisions if path.name not in listed]


def test_the_import_contracts_name_every_module() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = {c["id"]: c for c in pyproject["tool"]["importlinter"]["contracts"]}
    package = ROOT / "llamaindex_reaktly"
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    modules |= {path.parent.name for path in package.glob("*/__init__.py")}
    core = {f"llamaindex_reaktly.{name}" for name in modules - {"cli"}}
    assert set(contracts["core"]["source_modules"]) == core
    # What runs the chain, what cuts and what reads are LlamaIndex's through and through.
    light = modules - {"ingestion", "node_parser", "readers"}
    assert set(contracts["llama-index"]["source_modules"]) == {
        "reaktly_api",
        "reaktly_mcp",
        *(f"llamaindex_reaktly.{name}" for name in light),
    }


def test_every_verb_of_the_makefile_says_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    verbs = set(re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split())  # type: ignore[index]
    done = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert {line.split()[1] for line in done.stdout.splitlines()} == verbs

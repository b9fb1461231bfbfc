"""What the packages import is what the metadata asks for."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import llamaindex_reaktly
import reaktly_api
import reaktly_mcp

ROOT = Path(__file__).parents[2]
# These pin a half of themselves exactly: whoever asks for the one gets the other.
HALVES = {"mcp_types": "mcp", "pydantic_core": "pydantic"}
# uvicorn takes these two by name.
NAMED = {"httptools", "uvloop"}
OWN = {"llamaindex_reaktly", "reaktly_api", "reaktly_mcp", "reaktly_minilm"}


def imported_names() -> set[str]:
    names: set[str] = set()
    for package in (llamaindex_reaktly, reaktly_api, reaktly_mcp):
        for path in Path(next(iter(package.__path__))).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    names |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - OWN


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def stated_dependencies() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    requirements = [*project["dependencies"], *(line for extra in extras for line in extra)]
    return {normalised(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in requirements}


def test_every_import_is_a_stated_dependency() -> None:
    stated = stated_dependencies()
    distributions = importlib.metadata.packages_distributions()
    missing = {
        name
        for name in {HALVES.get(name, name) for name in imported_names()}
        if not {normalised(one) for one in distributions.get(name, [name])} & stated
    }
    assert missing == set()


def test_every_stated_dependency_is_imported() -> None:
    distributions = importlib.metadata.packages_distributions()
    imported = {
        normalised(one)
        for name in imported_names()
        for one in distributions.get(HALVES.get(name, name), [])
    }
    assert stated_dependencies() - imported - NAMED == {"llamaindex-reaktly"}

"""Checks that requirements.lock is in step with the requirements that the sources state.

Usage: python -m scripts.check_lock [ROOT]
"""

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from scripts.lock_file import DEVELOPMENT, PROJECT, LockedPackage, read_lock

# npm writes where each package's makers may be paid; that goes by hand.
JAVASCRIPT = (
    Path("tests", "mcp_server", "node", "package-lock.json"),
    Path("tests", "node_clients", "package-lock.json"),
)
# Needs no lock: it comes with the virtual environment.
WITH_THE_ENVIRONMENT = frozenset({canonicalize_name("pip")})


def problems(root: Path) -> Iterator[str]:
    """A sentence for each way in which the lock does not fit."""
    lock = root / "requirements.lock"
    text = lock.read_text(encoding="utf-8")
    for each in (lock, *(root / path for path in JAVASCRIPT)):
        if "://" in each.read_text(encoding="utf-8"):
            yield f"{each.name} holds an address; whose index is used is the user's choice"
    if any(line.startswith("--") for line in text.splitlines()):
        yield "requirements.lock holds an option of pip; only packages and hashes belong there"
        return

    locked: dict[NormalizedName, list[LockedPackage]] = {}
    for package in read_lock(lock):
        locked.setdefault(package.name, []).append(package)
        if not any("--hash=sha256:" in line for line in package.lines):
            yield f"{package.name} is locked without a hash"

    pyproject = _load(root / "pyproject.toml")
    project = pyproject["project"]
    extras = project.get("optional-dependencies", {})
    groups = pyproject.get("dependency-groups", {})
    stated = {
        PROJECT: [*project["dependencies"], *(one for extra in extras.values() for one in extra)],
        DEVELOPMENT: groups["dev"],
    }
    own = canonicalize_name(project["name"])
    for asker, requirements in stated.items():
        wanted = {canonicalize_name(Requirement(text).name) for text in requirements} - {own}
        found = {
            name for name, versions in locked.items() if any(asker in v.asked_by for v in versions)
        }
        for name in sorted(found - wanted):
            yield f"{name} is locked for {asker}, which no longer asks for it"
        for name in sorted(wanted - found):
            yield f"{name} is asked for by {asker} and not locked for it"

    builds = [pyproject["build-system"]["requires"]]
    models = sorted((root / "models").glob("*/pyproject.toml"))
    builds += [_load(path)["build-system"]["requires"] for path in models]
    for text in [line for group in (*stated.values(), *builds) for line in group]:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        if name == own or name in WITH_THE_ENVIRONMENT:
            continue
        for package in locked.get(name, []):
            if not requirement.specifier.contains(package.version):
                yield f"{name} is locked at {package.version}; the sources ask for {requirement}"
        if name not in locked:
            yield f"{name} is needed and not locked"

    if any("reaktly-minilm" in text for text in stated[PROJECT]):
        yield "no metadata may depend on reaktly-minilm: its name is not ours in public indexes"


def _load(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def main() -> None:
    """Print each problem; exit 1 if there is one."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    found = list(problems(root))
    for problem in found:
        print(problem, file=sys.stderr)
    if found:
        sys.exit("run scripts/lock")
    print("The lock is in step.")


if __name__ == "__main__":
    main()

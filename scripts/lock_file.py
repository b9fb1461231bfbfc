"""Reads requirements.lock: what is locked, for whom, and what the product itself needs.

`uv pip compile` writes below each package who asked for it (`# via`), the project's
own requirements as `llamaindex-reaktly (pyproject.toml)` and those of its
development group with `:dev` behind. That is the whole graph, for every platform.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

PROJECT = "llamaindex-reaktly (pyproject.toml)"
DEVELOPMENT = "llamaindex-reaktly (pyproject.toml:dev)"


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """One version of a package. `asked_by` are names, `PROJECT` or `DEVELOPMENT`."""

    requirement: Requirement
    lines: tuple[str, ...]
    asked_by: frozenset[str]

    @property
    def name(self) -> NormalizedName:
        """The name as the index normalises it."""
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        """The locked version."""
        (specifier,) = self.requirement.specifier
        return specifier.version


def read_lock(path: Path) -> list[LockedPackage]:
    """All locked packages, in the file's order; a name may have several versions."""
    blocks: list[list[str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line[0].isspace() and not line.startswith("#"):
            blocks.append([])
        if blocks:
            blocks[-1].append(line)
    return [_package(block) for block in blocks]


def _package(block: list[str]) -> LockedPackage:
    comments = [line.strip().removeprefix("#").strip() for line in block if "#" in line]
    askers = [comment.removeprefix("via").strip() for comment in comments]
    return LockedPackage(
        Requirement(block[0].removesuffix("\\").strip()),
        tuple(block),
        frozenset(asker for asker in askers if asker),
    )


def runtime_packages(packages: list[LockedPackage]) -> list[LockedPackage]:
    """Those that the product needs with all its extras, directly or through another."""
    askers: Mapping[NormalizedName, set[str]] = {package.name: set() for package in packages}
    for package in packages:
        askers[package.name].update(package.asked_by)
    needed = {name for name, asked_by in askers.items() if PROJECT in asked_by}
    grown = True
    while grown:
        more = {name for name, asked_by in askers.items() if asked_by & needed} - needed
        needed |= more
        grown = bool(more)
    return [package for package in packages if package.name in needed]

"""Checks that the project's wheel holds its packages whole, and nothing else.

Usage: python -m scripts.check_wheel dist/llamaindex_reaktly-*.whl
"""

import sys
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path

# Folder in the repository → package in the wheel.
PACKAGES = {
    "llamaindex_reaktly": "llamaindex_reaktly",
    "api/reaktly_api": "reaktly_api",
    "mcp_server/reaktly_mcp": "reaktly_mcp",
}
LARGEST = 1024 * 1024


def problems(wheel: Path, root: Path) -> Iterator[str]:
    """A sentence for each thing that is missing, or should not be there."""
    with zipfile.ZipFile(wheel) as archive:
        present = {name for name in archive.namelist() if not name.endswith("/")}
        metadata_name = next(name for name in present if name.endswith(".dist-info/METADATA"))
        information = metadata_name.removesuffix("METADATA")
        metadata = Parser().parsestr(archive.read(metadata_name).decode())

    expected = {
        f"{package}/{path.relative_to(root / folder).as_posix()}"
        for folder, package in PACKAGES.items()
        for path in (root / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    for name in sorted(expected - present):
        yield f"{name} is in the repository and not in the wheel"
    for name in sorted(present - expected):
        if not name.startswith(information):
            yield f"{name} is in the wheel and not in a package of ours"
    for package in PACKAGES.values():
        if f"{package}/py.typed" not in present:
            yield f"{package}/py.typed is missing: the types would not count"
    for name in ("LICENSE", "THIRD_PARTY_NOTICES.md"):
        if f"{information}licenses/{name}" not in present:
            yield f"{name} is missing from the wheel"
    if f"{information}entry_points.txt" not in present:
        yield "the wheel has no entry point: there would be no reaktly command"
    for requirement in metadata.get_all("Requires-Dist", []):
        if "minilm" in requirement or "://" in requirement:
            yield f"the wheel must not depend on {requirement}"
    if wheel.stat().st_size > LARGEST:
        yield f"the wheel has {wheel.stat().st_size:,} bytes; at most {LARGEST:,} are expected"


def main() -> None:
    """Print each problem; exit 1 if there is one."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    found = list(problems(Path(sys.argv[1]), Path()))
    for problem in found:
        print(problem, file=sys.stderr)
    if found:
        sys.exit(1)
    print("The wheel is whole.")


if __name__ == "__main__":
    main()

"""Checks what is in git: no machine paths, no package indexes' hosts, no large files.

Usage: python -m scripts.check_tree [ROOT]
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LARGEST = 512 * 1024

# Written so that this file does not match itself.
FORBIDDEN = {
    r"/(?:home|Users|root|work)/[\w.]": "a path of one machine",
    r"/tmp/[\w.]": "a path in one machine's temporary folder",
    r"\b(?:pypi|pythonhosted|npmjs|crates)\.(?:org|io|com)\b": "the host of a package index",
    r"(?i)\b(?:extra-)?index-url\s*[=:]\s*\S*//": "the address of a package index",
}


def problems(root: Path) -> Iterator[str]:
    """A sentence for each line or file that does not belong into git."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        path = root / name
        if not path.is_file():
            continue
        size = path.stat().st_size
        if size > LARGEST:
            yield f"{name}: {size:,} bytes; at most {LARGEST:,} belong into git"
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, 1):
            for pattern, meaning in FORBIDDEN.items():
                if re.search(pattern, line):
                    yield f"{name}:{number}: {meaning}"


def main() -> None:
    """Print each problem; exit 1 if there is one."""
    found = list(problems(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
    for problem in found:
        print(problem, file=sys.stderr)
    if found:
        sys.exit(1)
    print("The tree is clean.")


if __name__ == "__main__":
    main()

"""Prints the part of requirements.lock that the product needs to run, hashes included.

Usage: python -m scripts.runtime_lock > runtime.lock
"""

from pathlib import Path

from scripts.lock_file import read_lock, runtime_packages


def main() -> None:
    """Print the lock without what only development needs."""
    for package in runtime_packages(read_lock(Path("requirements.lock"))):
        print("\n".join(package.lines))


if __name__ == "__main__":
    main()

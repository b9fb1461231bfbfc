"""Writes THIRD_PARTY_NOTICES.md from installed metadata, or checks it.

Every package that the product needs must state a licence that fits an MIT product
which people run and pass on: permissive ones, the MPL (weak, by file) and, for packages
named in `REPLACEABLE`, the LGPL. Where a package offers a choice, one that fits is enough.

Usage: python -m scripts.third_party_notices [--check]
"""

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from scripts.lock_file import read_lock, runtime_packages

PAGE = Path("THIRD_PARTY_NOTICES.md")
HEADER = """\
# Third-party notices

Reaktly is MIT-licensed. It is installed together with the packages below, each under
its own licence; the texts come with each package. This page is written by
`python -m scripts.third_party_notices` from the packages' own metadata.

## The local model

The distribution `reaktly-minilm` holds all-MiniLM-L6-v2 by the Sentence Transformers
authors, licensed under the Apache License 2.0, converted by us from the published
weights to an int8 ONNX graph. Its wheel carries the licence and a notice of the change.

## Packages

| package | licence |
|---|---|
"""

FITTING = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CNRI-Python",
    "GPL-3.0-or-later WITH GCC-exception-3.1",
    "ISC",
    "MIT",
    "MIT-CMU",
    "MIT-0",
    "MPL-1.1",
    "MPL-2.0",
    "PSF-2.0",
    "Python-2.0",
    "Unlicense",
    "Zlib",
}
# What packages without an SPDX expression write → the SPDX name. BSD without a number
# has two or three clauses; both fit.
SPELLINGS = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "Apache 2": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "BSD 3-clause": "BSD-3-Clause",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 1.1 (MPL 1.1)": "MPL-1.1",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "MPL 2.0": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
# Packages whose metadata is silent or unclear, with what their licence files say.
READ_BY_HAND = {"pysqlite3": "Zlib"}
# Used unmodified through imports, from an extra that nobody needs for SQLite: whoever passes
# the product on can put another build of them in their place, which is what the LGPL asks.
REPLACEABLE = {"psycopg": "LGPL-3.0-only", "psycopg-binary": "LGPL-3.0-only"}


def licence_of(package: Distribution) -> str:
    """The licence as an SPDX expression, as far as the package states one; else its words."""
    by_hand = READ_BY_HAND.get(package.name.lower())
    if by_hand:
        return by_hand
    metadata = package.metadata.json
    stated = metadata.get("license_expression")
    if stated:
        return str(stated)
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in metadata.get("classifier", [])
        if line.startswith("License :: ") and not line.endswith("OSI Approved")
    ]
    words = classifiers or [str(metadata.get("license", "")).strip().partition("\n")[0]]
    # A package with several classifiers offers a choice among them.
    return " OR ".join(sorted({SPELLINGS.get(word, word) for word in words}))


def fits(expression: str) -> bool:
    """Whether each part of an `AND` offers, among its `OR`s, a licence that fits."""
    return all(
        any(choice.strip("() ") in FITTING for choice in re.split(r"\s+OR\s+", part))
        for part in re.split(r"\s+AND\s+", expression)
    )


def licences() -> dict[str, str]:
    """Name to licence, for all that the product needs on this machine."""
    found: dict[str, str] = {}
    for package in runtime_packages(read_lock(Path("requirements.lock"))):
        try:
            found[package.name] = licence_of(distribution(package.name))
        except PackageNotFoundError:
            # Locked for another platform or Python: checked there.
            continue
    return dict(sorted(found.items()))


def main() -> None:
    """Write the page, or with `--check` compare; exit 1 when a licence does not fit."""
    found = licences()
    refused = [
        f"{name}: {licence!r}"
        for name, licence in found.items()
        if not fits(licence) and REPLACEABLE.get(name) != licence
    ]
    if refused:
        sys.exit("licences that do not fit, or are not understood:\n" + "\n".join(refused))
    rows = {name: f"| {name} | {licence} |\n" for name, licence in found.items()}
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(HEADER + "".join(rows.values()), encoding="utf-8")
        return
    text = PAGE.read_text(encoding="utf-8")
    # Another platform or Python may need a package more, which stays listed.
    locked = {package.name for package in runtime_packages(read_lock(Path("requirements.lock")))}
    listed = set(re.findall(r"^\| ([a-z0-9-]+) \| ", text, re.MULTILINE)) - {"package"}
    missing = [name for name, row in rows.items() if row not in text]
    if not text.startswith(HEADER) or missing or listed - locked:
        names = ", ".join([*missing, *sorted(listed - locked)]) or "its introduction"
        sys.exit(f"{PAGE} is out of step ({names}): run python -m scripts.third_party_notices")
    print(f"The notices are current; {len(found)} licences fit.")


if __name__ == "__main__":
    main()

"""Documentation pages as Debian packages them: installed, or fetched into a cache.

The packages are unpacked, never installed, and nothing of them is in this repository.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import DataAbsent


def documentation_folder(package: str, folder: Path) -> Path:
    """Where the package's folder (relative to the root) is on this machine.

    Raises `DataAbsent` where it is neither installed nor cached and can't be fetched.
    """
    cached = _cache_folder() / package
    for place in (Path("/") / folder, cached / folder):
        # Other packages may have the same folder, without the pages.
        if any(place.glob("*.html")):
            return place
    _fetch(package, cached)
    return cached / folder


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "reaktly-benchmarks"


def _fetch(package: str, destination: Path) -> None:
    """Unpack Debian's package there, without installing it."""
    if not all([shutil.which("apt-get"), shutil.which("dpkg-deb")]):
        raise DataAbsent(f"the pages of Debian's package {package} are absent")
    print(f"benchmarks: fetching {package} with apt-get", file=sys.stderr, flush=True)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent) as folder:
        try:
            _run(["apt-get", "download", package], folder)
            archive = next(Path(folder).glob(f"{package}_*.deb"))
            _run(["dpkg-deb", "-x", str(archive), str(Path(folder) / "unpacked")], folder)
        except (subprocess.CalledProcessError, StopIteration) as error:
            reason = getattr(error, "stderr", "") or "nothing was downloaded"
            raise DataAbsent(
                f"the pages of Debian's package {package} are absent and could not be fetched: "
                f"{reason.strip().splitlines()[-1]} (is `apt-get update` needed?)"
            ) from error
        (Path(folder) / "unpacked").rename(destination)


def _run(command: Sequence[str], folder: str) -> None:
    subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)

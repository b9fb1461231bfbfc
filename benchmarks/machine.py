"""What a figure was measured on."""

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("llama-index-core", "numpy", "onnxruntime", "starlette", "uvicorn")


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine, its software, and how busy it was before the benchmarks began."""

    processor: str
    cores: int
    memory_gib: float | None
    system: str
    python: str
    packages: tuple[str, ...]
    load: float

    def sentence(self) -> str:
        """All of it in a line."""
        memory = "" if self.memory_gib is None else f", {self.memory_gib:.0f} GiB"
        return (
            f"{self.processor}, {self.cores} cores{memory}, {self.system}, "
            f"Python {self.python}, {', '.join(self.packages)}; "
            f"load before it {self.load:.1f}."
        )


def describe_machine() -> Machine:
    """This machine as it is now."""
    return Machine(
        processor=_processor(),
        cores=usable_cores(),
        memory_gib=_memory_gib(),
        system=_system(),
        python=platform.python_version(),
        packages=tuple(_packages()),
        load=os.getloadavg()[0],
    )


def usable_cores() -> int:
    """The cores that this process may run on."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    name = _field(Path("/proc/cpuinfo"), "model name")
    return name or platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    total = _field(Path("/proc/meminfo"), "MemTotal")
    return None if total is None else int(total.split()[0]) / 2**20


def _system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.platform()
    return f"{name} (kernel {platform.release()})"


def _packages() -> Iterator[str]:
    for name in _PACKAGES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
    import pysqlite3.dbapi2 as sqlite3

    yield "SQLite " + ".".join(str(part) for part in sqlite3.sqlite_version_info)


def _field(file: Path, name: str) -> str | None:
    """The first value of a `name : value` line."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None

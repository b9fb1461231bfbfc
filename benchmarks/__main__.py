"""Run the benchmarks and keep their figures in RESULTS.md.

    python -m benchmarks                    all of them
    python -m benchmarks startup latency    these

Sections of benchmarks that are not run, or whose data is absent, stay as they were.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import cast

from benchmarks.machine import describe_machine
from benchmarks.results import (
    RESULTS_FILE,
    BenchmarkFailed,
    DataAbsent,
    Result,
    section,
    show,
    write_sections,
)

# In the order of the results file.
BENCHMARKS = (
    "ingestion_rate",
    "repush_rate",
    "latency",
    "group_commit",
    "flood",
    "scale",
    "dialects",
    "mcp",
    "startup",
    "replacement",
    "retrieval",
    "relevance",
    "answers",
    "found_metadata",
    "weaviate_store",
    "weaviate_speed",
    "weaviate_retrieval",
    "weaviate_bases",
    "bad_input",
)
Run = Callable[[], list[Result]]


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every target holds, 1 when one is missed, 2 when a benchmark could not run."""
    parser = argparse.ArgumentParser(description="Run the benchmarks and keep their figures.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    names = parser.parse_args(arguments).names or BENCHMARKS
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark is called {min(unknown)}; there are {', '.join(BENCHMARKS)}")
    codes = [_run(name) for name in BENCHMARKS if name in names]
    return max(codes)


def _run(name: str) -> int:
    print(f"==> {name}", flush=True)
    machine = describe_machine()
    module = import_module(f"benchmarks.{name}")
    started = time.monotonic()
    try:
        results = cast("Run", module.run)()
    except (DataAbsent, BenchmarkFailed) as error:
        print(f"\n  !! {name} was NOT measured: {error}\n", file=sys.stderr, flush=True)
        return 2
    code = show(results)
    print(f"  ({time.monotonic() - started:.0f} s)", flush=True)
    about = (module.__doc__ or "").partition("\n")[0]
    # After each one: an interrupted run keeps what it measured.
    write_sections({name: section(name, about, results, machine)}, BENCHMARKS)
    print(f"  kept in {RESULTS_FILE}", flush=True)
    return code


if __name__ == "__main__":
    raise SystemExit(main())

"""Torture the product and judge it.

    python -m torture                          every scenario
    python -m torture kills --kills 300        one of them
    python -m torture kills --seed 4711        with the schedule of an earlier run

The last line of each scenario holds its figures. Exit code 0: everything acknowledged was
as it must be; 1: something was not, and the line names the seed; 2: a scenario could not be
carried out. What this machine cannot do (mount a disk, shift the clock) is left out and said.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.__main__ import BENCHMARKS
from benchmarks.machine import describe_machine
from benchmarks.results import BenchmarkFailed, Result, section, write_sections
from scripts.postgresql import NotInstalled
from scripts.weaviate_server import WeaviateMissing
from torture.connection import NotAnswered, NotSent
from torture.context import Context
from torture.fleet import NotPossible, TortureFailed
from torture.outcome import Outcome
from torture.scenarios import SCENARIOS, Scenario
from torture.servers import RegistryKind, StoreKind, servers_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scenarios; the exit code is the worst of them."""
    parser = argparse.ArgumentParser(
        prog="python -m torture", description="Torture the product and judge it."
    )
    parser.add_argument("names", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--kills", type=int, default=30, help="kills on each registry (30)")
    parser.add_argument("--minutes", type=float, help="of soaking (a fifth of the kills)")
    parser.add_argument("--seed", type=int, help="of an earlier run, to repeat its schedule")
    parser.add_argument(
        "--registry", type=RegistryKind, choices=list(RegistryKind), help="only this one (both)"
    )
    parser.add_argument("--store", type=StoreKind, choices=list(StoreKind), default="embedded")
    parser.add_argument("--record", action="store_true", help="keep figures in RESULTS.md")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(SCENARIOS)
    if unknown:
        parser.error(f"there is no scenario {min(unknown)!r}; there are {', '.join(SCENARIOS)}")
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    minutes = options.kills / 5 if options.minutes is None else options.minutes
    machine = describe_machine()
    codes = [0]
    skipped = 0
    for name, scenario in SCENARIOS.items():
        if options.names and name not in options.names:
            continue
        results: list[Result] = []
        for registry in RegistryKind:
            if options.registry not in (None, registry) or not scenario.runs_on(
                registry, options.store
            ):
                continue
            folder = Path(tempfile.mkdtemp(prefix="reaktly-torture-"))
            context = Context(
                name, seed, options.kills, minutes, registry, options.store, folder, show=_say
            )
            code, outcome = _run(scenario, context)
            codes.append(code)
            skipped += outcome is None
            results += [] if outcome is None else outcome.results()
        if options.record and results:
            # After each one: an interrupted run keeps what it has.
            title = f"torture: {name} with the {options.store} store"
            sections = {title: section(title, scenario.about, results, machine)}
            write_sections(sections, BENCHMARKS)
    if skipped:
        print(f"!!!!! {skipped} SCENARIOS WERE NOT RUN TO THEIR END", file=sys.stderr, flush=True)
    return max(codes)


def _run(scenario: Scenario, context: Context) -> tuple[int, Outcome | None]:
    """Run one; its exit code and what came of it. The files of one that fails are kept."""
    print(f"==> torture: {context.title}, seed {context.seed}", flush=True)
    kept = True
    try:
        with servers_of(context.registry, context.store, context.directory) as servers:
            outcome = scenario.run(replace(context, servers=servers))
        kept = not outcome.holds
    except (NotPossible, NotInstalled, WeaviateMissing) as error:
        kept = False
        print(f"!!!!! {context.title} WAS NOT RUN: {error}", file=sys.stderr, flush=True)
        # What may be mounted is the machine's affair; what can be installed must be there.
        missing = not isinstance(error, NotPossible) and os.environ.get("CI") == "true"
        return (2 if missing else 0), None
    except (TortureFailed, BenchmarkFailed, NotSent, NotAnswered, TimeoutError) as error:
        words = str(error) or type(error).__name__
        print(f"!!!!! {context.title} could not be carried out: {words}", file=sys.stderr)
        print(_how_to_repeat(context), file=sys.stderr, flush=True)
        return 2, None
    finally:
        if not kept:
            shutil.rmtree(context.directory, ignore_errors=True)
    print(outcome.line(), flush=True)
    if outcome.holds:
        return 0, outcome
    print(outcome.explanation(), file=sys.stderr)
    print(_how_to_repeat(context), file=sys.stderr, flush=True)
    return 1, outcome


def _how_to_repeat(context: Context) -> str:
    return (
        f"      again: python -m torture {context.scenario} --registry {context.registry} "
        f"--store {context.store} --seed {context.seed} --kills {context.kills}; "
        f"files: {context.directory}"
    )


def _say(sentence: str) -> None:
    print(f"    {time.strftime('%H:%M:%S')} {sentence}", flush=True)


if __name__ == "__main__":
    # Whoever ends us ends the servers with us.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    raise SystemExit(main())

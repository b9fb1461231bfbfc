"""An hour under load: memory and open files stay where they are, and nothing is lost.

Updates, deletes and searches go on all the while. The slopes are those of straight lines
through what each process had, from when it had settled in.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.results import Result
from torture.context import Context
from torture.fleet import SERVED, Fleet
from torture.inspection import inspect, settle
from torture.oracle import Fault
from torture.outcome import Outcome
from torture.workload import Workload

# The first part is left out: caches fill, pools grow to the number of clients.
WARM_UP_SHARE = 0.25
_SAMPLE_SECONDS = 2.0
# Of each client: a knowledge base that grows takes memory, and that is no leak.
_OWN_DOCUMENTS = 150
# In an hour: what a leak would pass, and what the noise of a short soak does not.
MOST_MIB_AN_HOUR = 64.0
MOST_FILES_AN_HOUR = 16.0
_MIB = 2**20


def soak(context: Context) -> Outcome:
    """Run under load for so long, then judge slopes and documents."""
    oracle = context.oracle()
    samples: list[tuple[float, Mapping[str, tuple[int, int]]]] = []
    with Fleet(context.directory, SERVED, servers=context.servers) as fleet:
        fleet.start()
        workload = Workload(fleet, oracle, context.seed, most_own=_OWN_DOCUMENTS)
        with workload:
            (worker,) = fleet.worker_pids()
            pids = {"API": fleet.apis[0].pid, "worker": worker}
            end = time.monotonic() + context.minutes * 60
            told = time.monotonic()
            while time.monotonic() < end:
                time.sleep(min(_SAMPLE_SECONDS, context.minutes))
                at = time.monotonic() - context.begun
                samples.append(
                    (at, {name: (memory(pid), files(pid)) for name, pid in pids.items()})
                )
                if time.monotonic() - told > 60:
                    told = time.monotonic()
                    minute = f"{at / 60:.0f} of {context.minutes:.0f} minutes"
                    context.show(f"{minute}: {_sentence(samples[-1][1])}")
        if fleet.worker_pids() != [worker] or not fleet.apis[0].is_alive:
            oracle.accuse(Fault.ANSWER, "a process", "died by itself")
        settle(fleet, oracle)
        inspect(fleet, oracle, show=context.show)
    kept = [sample for sample in samples if sample[0] > samples[-1][0] * WARM_UP_SHARE]
    figures = [figure for name in pids for figure in _slopes(name, kept, context.minutes)]
    return Outcome.of(
        context,
        oracle,
        tally=workload.tally,
        notes=[f"{context.minutes:.0f} minutes", *(f"{f.what}: {f.figure()}" for f in figures)],
        figures=figures,
    )


def memory(pid: int) -> int:
    """Bytes of memory that are a process's own (Linux): what others share is no leak."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    kilobytes = [
        int(line.split()[1])
        for line in text.splitlines()
        if line.startswith(("Private_Clean:", "Private_Dirty:"))
    ]
    return sum(kilobytes) * 1024


def files(pid: int) -> int:
    """How many files a process has open (Linux)."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """How much the values grow in a unit of time, by least squares."""
    return float(np.polyfit(np.asarray(times), np.asarray(values), 1)[0])


def _slopes(
    name: str, samples: Sequence[tuple[float, Mapping[str, tuple[int, int]]]], minutes: float
) -> list[Result]:
    hours = [at / 3600 for at, _ in samples]
    bytes_, opened = zip(*(sample[name] for _, sample in samples), strict=True)
    # A line through minutes says little of an hour: then it is shown, not judged.
    judged = minutes >= 30
    return [
        _figure(
            f"soak: memory of the {name}",
            slope(hours, [value / _MIB for value in bytes_]),
            "MiB/h",
            MOST_MIB_AN_HOUR if judged else None,
            f"{bytes_[0] / _MIB:.0f} MiB after the warm-up, {bytes_[-1] / _MIB:.0f} in the end, "
            f"{max(bytes_) / _MIB:.0f} at most",
        ),
        _figure(
            f"soak: open files of the {name}",
            slope(hours, opened),
            "files/h",
            MOST_FILES_AN_HOUR if judged else None,
            f"{opened[0]} after the warm-up, {opened[-1]} in the end, {max(opened)} at most",
        ),
    ]


def _figure(what: str, value: float, unit: str, most: float | None, detail: str) -> Result:
    return Result(
        id=what,
        what=what,
        value=round(value, 2),
        unit=unit,
        target=None if most is None else f"<= {most:g} {unit}",
        holds=None if most is None else value <= most,
        detail=f"{detail}; slope of a line through the samples",
    )


def _sentence(sample: Mapping[str, tuple[int, int]]) -> str:
    return ", ".join(f"{n} {m / _MIB:.0f} MiB, {f} files" for n, (m, f) in sample.items())

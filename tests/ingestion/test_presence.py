"""Who of the workers lives."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llamaindex_reaktly.ingestion.presence import DeadWorker, Presence

# Is there, says so, and does what it is told to.
WORKER = """
import os, signal, sys, threading
from pathlib import Path
from llamaindex_reaktly.ingestion.presence import Presence
presence = Presence(Path(sys.argv[1]))
presence.record_crashes()
print(presence.owner, flush=True)
if sys.argv[2] == "hang":
    with presence.bounded(0.1):
        threading.Event().wait()
threading.Event().wait()
"""


def start(directory: Path, what: str = "wait") -> tuple["subprocess.Popen[str]", str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(directory), what], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_the_living_are_not_taken_for_dead(tmp_path: Path) -> None:
    ours, another = Presence(tmp_path), Presence(tmp_path)
    assert list(ours.dead()) == list(another.dead()) == []
    another.close()
    assert list(ours.dead()) == []
    ours.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "crashed"), [(signal.SIGKILL, False), (signal.SIGSEGV, True), (signal.SIGABRT, True)]
)
def test_the_dead_are_found_once_and_a_crash_is_told_from_a_kill(
    tmp_path: Path, number: signal.Signals, crashed: bool
) -> None:
    ours = Presence(tmp_path)
    process, owner = start(tmp_path)
    with process:
        assert list(ours.dead()) == []
        process.send_signal(number)
    assert list(ours.dead()) == [DeadWorker(owner, crashed)]
    assert list(ours.dead()) == []
    ours.close()


def test_one_that_hangs_too_long_ends_as_crashed(tmp_path: Path) -> None:
    ours = Presence(tmp_path)
    process, owner = start(tmp_path, "hang")
    with process:
        assert process.wait(20) != 0
    assert list(ours.dead()) == [DeadWorker(owner, crashed=True)]
    ours.close()


@pytest.mark.parametrize("crashed", [True, False])
def test_one_that_ends_with_claims_left_counts_as_dead(tmp_path: Path, crashed: bool) -> None:
    ours, another = Presence(tmp_path), Presence(tmp_path)
    another.close(claims_left=True, crashed=crashed)
    another.close()
    assert list(ours.dead()) == [DeadWorker(another.owner, crashed)]
    ours.close()

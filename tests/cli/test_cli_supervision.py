import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamaindex_reaktly.cli.supervision import (
    MISCONFIGURED,
    RestartPolicy,
    WorkerSupervisor,
)
from llamaindex_reaktly.errors import Unavailable

AT_ONCE = RestartPolicy(first_delay=0.0)

PARENT = """
import sys, threading
from llamaindex_reaktly.cli.supervision import WorkerSupervisor
WorkerSupervisor(1, command=sys.argv[1:]).start()
threading.Event().wait()
"""


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[BinaryIO]:
    """What the children write into the named pipe `said`, line by line, as they write it."""
    os.mkfifo(tmp_path / "said")
    # Open for writing too, so that it has no end while children come and go.
    descriptor = os.open(tmp_path / "said", os.O_RDWR)
    with os.fdopen(descriptor, "rb", buffering=0) as pipe:
        yield pipe


def _child(tmp_path: Path, *lines: str) -> list[str]:
    """A command that runs `lines` of Python, in which `say` writes a line into the pipe."""
    script = (
        "import os, signal, sys, threading",
        f"pipe = os.open({str(tmp_path / 'said')!r}, os.O_WRONLY)",
        "def say(text): os.write(pipe, f'{text}\\n'.encode())",
        *lines,
    )
    return [sys.executable, "-c", "\n".join(script)]


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_worker_that_dies_is_started_again(tmp_path: Path, heard: BinaryIO) -> None:
    command = _child(tmp_path, "say(os.getpid())", "sys.exit(1)")
    supervisor = WorkerSupervisor(1, command=command, policy=AT_ONCE)
    supervisor.start()
    pids = {heard.readline() for _ in range(3)}
    supervisor.stop(timeout=10)
    assert len(pids) == 3


def test_a_worker_that_dies_too_often_is_given_up(tmp_path: Path, heard: BinaryIO) -> None:
    command = _child(tmp_path, "say(os.getpid())", "sys.exit(1)")
    policy = RestartPolicy(first_delay=0.0, most_deaths=3)
    supervisor = WorkerSupervisor(1, command=command, policy=policy)
    supervisor.start()
    assert len({heard.readline() for _ in range(3)}) == 3
    supervisor.join()
    assert supervisor.has_given_up()
    assert supervisor.pids() == []
    with pytest.raises(Unavailable, match="1 of 1 ingestion workers died too often"):
        supervisor.require_workers()


def test_a_worker_that_cannot_work_with_the_settings_is_given_up_at_once(
    tmp_path: Path, heard: BinaryIO
) -> None:
    command = _child(tmp_path, "say(os.getpid())", f"sys.exit({MISCONFIGURED})")
    told = threading.Event()
    supervisor = WorkerSupervisor(1, command=command, policy=AT_ONCE, on_misconfigured=told.set)
    supervisor.start()
    supervisor.join()
    assert told.is_set()
    assert supervisor.is_misconfigured
    assert supervisor.has_given_up()


def test_it_tells_whether_workers_run(tmp_path: Path, heard: BinaryIO) -> None:
    supervisor = WorkerSupervisor(1, command=_child(tmp_path, "say('on')", "sys.stdin.read()"))
    with pytest.raises(Unavailable, match="no ingestion worker runs at the moment"):
        supervisor.require_workers()
    supervisor.start()
    assert heard.readline() == b"on\n"
    supervisor.require_workers()
    supervisor.stop(timeout=10)


def test_a_long_life_makes_up_for_the_deaths_before(tmp_path: Path, heard: BinaryIO) -> None:
    command = _child(tmp_path, "say(os.getpid())", "sys.exit(1)")
    policy = RestartPolicy(first_delay=0.0, most_deaths=2, healthy_after=0.0)
    supervisor = WorkerSupervisor(1, command=command, policy=policy)
    supervisor.start()
    assert len({heard.readline() for _ in range(4)}) == 4
    assert not supervisor.has_given_up()
    supervisor.stop(timeout=10)


def test_a_worker_that_gets_on_between_its_deaths_is_not_given_up(
    tmp_path: Path, heard: BinaryIO
) -> None:
    command = _child(tmp_path, "say(os.getpid())", "sys.exit(1)")
    policy = RestartPolicy(first_delay=0.0, most_deaths=2)
    documents = itertools.count()
    supervisor = WorkerSupervisor(
        1, command=command, policy=policy, progress=lambda: next(documents)
    )
    supervisor.start()
    assert len({heard.readline() for _ in range(4)}) == 4
    supervisor.stop(timeout=10)
    assert not supervisor.has_given_up()


def test_a_program_that_cannot_be_started_is_tried_again_and_given_up(tmp_path: Path) -> None:
    policy = RestartPolicy(first_delay=0.0, most_deaths=3)
    supervisor = WorkerSupervisor(1, command=[str(tmp_path / "none")], policy=policy)
    supervisor.start()
    supervisor.join()
    assert supervisor.has_given_up()


def test_each_worker_is_a_process_of_its_own(tmp_path: Path, heard: BinaryIO) -> None:
    command = _child(tmp_path, "say(os.getpid())", "sys.stdin.read()")
    supervisor = WorkerSupervisor(2, command=command)
    supervisor.start()
    pids = {int(heard.readline()) for _ in range(2)}
    assert set(supervisor.pids()) == pids
    supervisor.stop(timeout=10)
    assert not any(map(_is_running, pids))


def test_stop_lets_a_worker_finish(tmp_path: Path, heard: BinaryIO) -> None:
    command = _child(
        tmp_path,
        "asked = threading.Event()",
        "signal.signal(signal.SIGTERM, lambda *_: asked.set())",
        "say('ready')",
        "asked.wait()",
        "say('finished')",
    )
    supervisor = WorkerSupervisor(1, command=command)
    supervisor.start()
    assert heard.readline() == b"ready\n"
    supervisor.stop(timeout=10)
    assert heard.readline() == b"finished\n"
    assert supervisor.pids() == []


def test_a_worker_that_will_not_stop_is_killed(tmp_path: Path, heard: BinaryIO) -> None:
    command = _child(
        tmp_path,
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "say(os.getpid())",
        "threading.Event().wait()",
    )
    supervisor = WorkerSupervisor(1, command=command)
    supervisor.start()
    pid = int(heard.readline())
    supervisor.stop(timeout=0.2)
    supervisor.join()
    assert not _is_running(pid)


def test_nothing_is_started_after_stop(tmp_path: Path) -> None:
    command = _child(tmp_path, "say('started')")
    supervisor = WorkerSupervisor(1, command=command)
    supervisor.stop(timeout=1)
    supervisor.start()
    supervisor.join()
    assert not supervisor.has_given_up()


def test_a_killed_parent_is_the_end_of_the_workers_stdin(tmp_path: Path, heard: BinaryIO) -> None:
    command = _child(tmp_path, "say('ready')", "sys.stdin.read()", "say('orphaned')")
    parent = subprocess.Popen([sys.executable, "-c", PARENT, *command])
    assert heard.readline() == b"ready\n"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert heard.readline() == b"orphaned\n"


@given(deaths=st.integers(min_value=1, max_value=1000))
def test_the_wait_doubles_up_to_a_bound(deaths: int) -> None:
    policy = RestartPolicy()
    assert policy.delay(1) == 0.5
    assert policy.delay(deaths) <= policy.delay(deaths + 1) <= policy.longest_delay
    if policy.delay(deaths + 1) < policy.longest_delay:
        assert policy.delay(deaths + 1) == 2 * policy.delay(deaths)


def test_a_witness_hears_of_every_start_and_death_and_of_giving_up(tmp_path: Path) -> None:
    told: list[tuple[str, int | None]] = []
    policy = RestartPolicy(first_delay=0.0, most_deaths=2)
    supervisor = WorkerSupervisor(
        1,
        command=_child(tmp_path, "sys.exit(1)"),
        policy=policy,
        witness=lambda event, pid: told.append((event, pid)),
    )
    os.mkfifo(tmp_path / "said")
    reader = os.open(tmp_path / "said", os.O_RDWR)
    supervisor.start()
    supervisor.join()
    os.close(reader)
    first, second = ("worker_starts", "worker_deaths"), ("worker_starts", "worker_deaths")
    assert [event for event, _ in told] == [*first, *second, "workers_given_up"]
    assert told[0][1] == told[1][1] != told[2][1]

"""Waking other processes."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from llamaindex_reaktly.doorbell import Doorbell, PipeDoorbell
from llamaindex_reaktly.registry.database import Database

# How a process of its own comes to the same bell.
PIPES = (
    "import os, pathlib, sys; from llamaindex_reaktly.doorbell import PipeDoorbell;"
    "bell = PipeDoorbell(pathlib.Path(sys.argv[1]), 'work');"
)
NOTIFICATIONS = (
    "import os, sys; from llamaindex_reaktly.registry.database import Database;"
    "bell = Database(sys.argv[1]).bell('work');"
)

OpenBell = Callable[[], Doorbell]


@pytest.fixture(params=["pipes", "notifications"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """The program that opens a bell, and its argument."""
    if request.param == "pipes":
        return PIPES, str(tmp_path)
    return NOTIFICATIONS, request.getfixturevalue("postgresql_url")


@pytest.fixture
def open_bell(place: tuple[str, str]) -> Iterator[OpenBell]:
    """Opens the same bell as often as one likes, each as another process would."""
    program, where = place
    with ExitStack() as stack:

        def opened() -> Doorbell:
            if program == PIPES:
                return PipeDoorbell(Path(where), "work")
            return stack.enter_context(closing(Database(where))).bell("work")

        yield opened


def elsewhere(place: tuple[str, str], statement: str) -> None:
    """Run a statement about `bell` in a process of its own, which ends without cleaning up."""
    program, where = place
    subprocess.run(
        [sys.executable, "-c", f"{program} {statement}; os._exit(0)", where],
        check=True,
        timeout=30,
        env=dict(os.environ),
    )


def test_a_ring_is_heard_by_everyone_who_listens(open_bell: OpenBell) -> None:
    here, there = open_bell(), open_bell()
    with here.listen() as first, here.listen() as second, there.listen() as third:
        here.ring()
        for listener in (first, second, third):
            assert listener.wait(5)
        assert not first.wait(0)


def test_rings_from_before_the_wait_are_heard_as_one(open_bell: OpenBell) -> None:
    bell = open_bell()
    with bell.listen() as listener, bell.listen() as last:
        for _ in range(100):
            bell.ring()
        assert listener.wait(5)
        # Once all have arrived, nothing is left of them.
        deadline = time.monotonic() + 5
        while listener.wait(0.2):
            assert time.monotonic() < deadline
        assert last.wait(0)


def test_a_ring_that_nobody_hears_does_no_harm(open_bell: OpenBell) -> None:
    bell = open_bell()
    assert not bell.has_listeners()
    bell.ring()


def test_a_ring_from_another_process_is_heard(open_bell: OpenBell, place: tuple[str, str]) -> None:
    with open_bell().listen() as listener:
        elsewhere(place, "bell.ring()")
        assert listener.wait(5)


def test_whoever_listens_elsewhere_is_known_until_it_is_gone(
    open_bell: OpenBell, place: tuple[str, str]
) -> None:
    bell = open_bell()
    elsewhere(place, "listener = bell.listen(); assert bell.has_listeners()")
    deadline = time.monotonic() + 5
    while bell.has_listeners():  # PostgreSQL notices the end of a connection a little later
        bell.ring()
        assert time.monotonic() < deadline
    with bell.listen():
        assert bell.has_listeners()


def test_a_listener_that_nobody_rings_gives_up_in_time(open_bell: OpenBell) -> None:
    with open_bell().listen() as listener:
        assert not listener.wait(0.01)
        listener.wake()
        assert listener.wait(5)
    listener.close()


def test_a_dead_listeners_pipe_is_removed_by_the_next_ring(tmp_path: Path) -> None:
    elsewhere((PIPES, str(tmp_path)), "listener = bell.listen()")
    assert [path.suffix for path in (tmp_path / "work").iterdir()] == [".pipe"]
    bell = PipeDoorbell(tmp_path, "work")
    with bell.listen() as listener:
        bell.ring()
        assert listener.wait(5)
        assert len(list((tmp_path / "work").iterdir())) == 1

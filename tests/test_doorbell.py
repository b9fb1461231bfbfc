"""Waking other processes."""

import subprocess
import sys
from pathlib import Path

from llamaindex_reaktly.doorbell import Doorbell


def test_a_ring_is_heard_by_everyone_who_listens(tmp_path: Path) -> None:
    bell = Doorbell(tmp_path, "work")
    with bell.listen() as first, bell.listen() as second:
        bell.ring()
        assert first.wait(5)
        assert second.wait(5)
        assert not first.wait(0)


def test_a_ring_from_before_the_wait_is_not_lost(tmp_path: Path) -> None:
    bell = Doorbell(tmp_path, "work")
    with bell.listen() as listener:
        for _ in range(100_000 // 1000):
            bell.ring()
        assert listener.wait(0)


def test_a_ring_that_nobody_hears_does_no_harm(tmp_path: Path) -> None:
    Doorbell(tmp_path / "missing", "work").ring()


def _elsewhere(statement: str, directory: Path) -> None:
    """Run a statement about `bell` in a process of its own, which ends without cleaning up."""
    program = (
        "import os, pathlib, sys; from llamaindex_reaktly.doorbell import Doorbell;"
        f"bell = Doorbell(pathlib.Path(sys.argv[1]), 'work'); {statement}; os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program, str(directory)], check=True, timeout=30)


def test_a_dead_listeners_pipe_is_removed_by_the_next_ring(tmp_path: Path) -> None:
    _elsewhere("listener = bell.listen()", tmp_path)
    assert [path.suffix for path in (tmp_path / "work").iterdir()] == [".pipe"]
    bell = Doorbell(tmp_path, "work")
    with bell.listen() as listener:
        bell.ring()
        assert listener.wait(5)
        assert len(list((tmp_path / "work").iterdir())) == 1


def test_a_ring_from_another_process_is_heard(tmp_path: Path) -> None:
    with Doorbell(tmp_path, "work").listen() as listener:
        _elsewhere("bell.ring()", tmp_path)
        assert listener.wait(0)


def test_a_listener_that_nobody_rings_gives_up_in_time(tmp_path: Path) -> None:
    with Doorbell(tmp_path, "work").listen() as listener:
        assert not listener.wait(0.01)
        listener.wake()
        assert listener.wait(5)
    listener.close()

"""Waking other processes."""

import multiprocessing
import os
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


def _listen_and_die(directory: Path) -> None:
    Doorbell(directory, "work").listen()
    os._exit(0)


def test_a_dead_listeners_pipe_is_removed_by_the_next_ring(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_listen_and_die, args=(tmp_path,))
    process.start()
    process.join(30)
    assert [path.suffix for path in (tmp_path / "work").iterdir()] == [".pipe"]
    bell = Doorbell(tmp_path, "work")
    with bell.listen() as listener:
        bell.ring()
        assert listener.wait(5)
        assert len(list((tmp_path / "work").iterdir())) == 1


def _ring(directory: Path) -> None:
    Doorbell(directory, "work").ring()


def test_a_ring_from_another_process_is_heard(tmp_path: Path) -> None:
    with Doorbell(tmp_path, "work").listen() as listener:
        process = multiprocessing.get_context("spawn").Process(target=_ring, args=(tmp_path,))
        process.start()
        assert listener.wait(30)
        process.join(30)


def test_a_listener_that_nobody_rings_gives_up_in_time(tmp_path: Path) -> None:
    with Doorbell(tmp_path, "work").listen() as listener:
        assert not listener.wait(0.01)
        listener.wake()
        assert listener.wait(5)
    listener.close()

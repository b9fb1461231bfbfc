"""What is known of the workers, from what they say of themselves."""

import os

import pytest

from llamaindex_reaktly.registry.registry import Registry


@pytest.fixture
def clock(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The registry's clock; the last number is now."""
    times = [1000.0]
    monkeypatch.setattr(registry.database, "now", lambda _connection: times[-1])
    return times


def test_a_worker_is_alive_until_it_is_overdue(registry: Registry, clock: list[float]) -> None:
    registry.workers.beat("w", silence_seconds=60)
    clock.append(1060.0)
    (sign,) = registry.workers.all()
    assert (sign.pid, sign.age, sign.silent_for, sign.is_alive) == (os.getpid(), 60, 60, True)
    clock.append(1061.0)
    assert not registry.workers.all()[0].is_alive
    registry.workers.beat("w", silence_seconds=60)
    (sign,) = registry.workers.all()
    assert (sign.age, sign.silent_for, sign.is_alive) == (61, 0, True)


def test_a_pause_is_as_old_as_its_first_reason(registry: Registry, clock: list[float]) -> None:
    registry.workers.beat("w", silence_seconds=60)
    registry.workers.beat("w", silence_seconds=60, pause_reason="the store is away")
    clock.append(1010.0)
    registry.workers.beat("w", silence_seconds=60, pause_reason="the model is away")
    (sign,) = registry.workers.all()
    assert (sign.paused_for, sign.pause_reason) == (10, "the model is away")
    registry.workers.beat("w", silence_seconds=60)
    (sign,) = registry.workers.all()
    assert (sign.paused_for, sign.pause_reason) == (None, None)


def test_a_worker_that_took_its_leave_is_not_missed(registry: Registry) -> None:
    for name in ("first", "second"):
        registry.workers.beat(name, silence_seconds=60)
    registry.workers.forget("first")
    assert [sign.worker_id for sign in registry.workers.all()] == ["second"]


def test_a_dead_process_is_struck_out_by_whoever_saw_it_die(registry: Registry) -> None:
    registry.workers.beat("w", silence_seconds=60)
    registry.workers.forget_process(os.getpid() + 1)
    assert len(registry.workers.all()) == 1
    registry.workers.forget_process(os.getpid())
    assert registry.workers.all() == []


def test_the_silent_are_forgotten_after_a_day(registry: Registry, clock: list[float]) -> None:
    registry.workers.beat("silent", silence_seconds=60)
    clock.append(1000.0 + 86_401)
    registry.workers.beat("w", silence_seconds=60)
    assert [sign.worker_id for sign in registry.workers.all()] == ["w"]

"""Which knowledge bases are left alone, and for how long."""

from llamaindex_reaktly.ingestion.breaker import LONGEST_PAUSE_SECONDS, Breaker


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def breaker() -> tuple[Breaker, _Clock]:
    clock = _Clock()
    return Breaker(clock=clock, jitter=lambda: 1.0), clock


def test_the_pause_doubles_up_to_a_bound() -> None:
    one, _ = breaker()
    pauses = [one.failed("a", "away") for _ in range(8)]
    assert pauses == [0.5, 1.0, 2.0, 4.0, *[LONGEST_PAUSE_SECONDS] * 4]


def test_a_base_is_tried_when_its_pause_is_over_and_by_one_only() -> None:
    one, clock = breaker()
    one.failed("a", "away")
    assert (one.due(), one.seconds_until_due(), one.away()) == (None, 0.5, {"a": "away"})
    clock.now += 0.5
    assert one.due() == "a"
    assert one.due() is None
    assert one.away() == {"a": "away"}


def test_a_try_without_an_answer_is_repeated() -> None:
    one, clock = breaker()
    one.failed("a", "away")
    clock.now += 1
    assert one.due() == "a"
    clock.now += LONGEST_PAUSE_SECONDS
    assert one.due() == "a"


def test_when_one_base_works_the_others_are_tried_at_once() -> None:
    one, _ = breaker()
    for _ in range(5):
        one.failed("a", "away")
        one.failed("b", "away")
    one.worked("a")
    assert one.due() == "b"
    one.worked("b")
    assert (one.away(), one.due(), one.seconds_until_due()) == ({}, None, None)


def test_a_base_that_was_well_all_along_changes_nothing() -> None:
    one, _ = breaker()
    one.failed("a", "away")
    one.worked("b")
    assert one.due() is None

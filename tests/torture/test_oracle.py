"""The oracle knows each fault that it is there for, and takes no allowed state for one."""

import itertools
from collections.abc import Callable, Iterator

import pytest

from torture.documents import Name
from torture.oracle import Fault, Oracle

NAME = Name("kb", "int", "page")


class Clock:
    """A clock on which every look is later than the one before."""

    def __init__(self) -> None:
        self._ticks = itertools.count(1)

    def __call__(self) -> float:
        return float(next(self._ticks))


@pytest.fixture
def oracle() -> Iterator[Oracle]:
    return Oracle(clock=Clock())  # type: ignore[return-value]


def acknowledged(oracle: Oracle, version: str | None) -> None:
    oracle.acknowledge(oracle.begin({NAME: version}))


def faults(oracle: Oracle) -> list[Fault]:
    return [violation.fault for violation in oracle.violations()]


See = Callable[[Oracle, str | None], None]


def in_registry(oracle: Oracle, version: str | None) -> None:
    oracle.see_registry(NAME, version, oracle.start_reading(), "a test")


def in_index(oracle: Oracle, version: str | None) -> None:
    oracle.see_index(NAME, version, oracle.start_reading(), "a test")


def test_the_last_acknowledged_version_is_what_must_be_there(oracle: Oracle) -> None:
    acknowledged(oracle, "v1")
    acknowledged(oracle, "v2")

    in_registry(oracle, "v2")

    assert oracle.may_be(NAME) == {"v2"}
    assert faults(oracle) == []


def test_a_lost_document_is_missing(oracle: Oracle) -> None:
    acknowledged(oracle, "v1")

    in_registry(oracle, None)

    assert faults(oracle) == [Fault.MISSING]


def test_an_older_version_is_of_the_wrong_version(oracle: Oracle) -> None:
    acknowledged(oracle, "v1")
    acknowledged(oracle, "v2")

    in_registry(oracle, "v1")

    assert faults(oracle) == [Fault.WRONG_VERSION]


def test_a_version_that_nobody_sent_is_of_the_wrong_version(oracle: Oracle) -> None:
    acknowledged(oracle, "v1")

    in_registry(oracle, "another document's")
    in_index(oracle, "another document's")

    assert faults(oracle) == [Fault.WRONG_VERSION, Fault.WRONG_VERSION]


@pytest.mark.parametrize("see", [in_registry, in_index])
def test_what_is_seen_after_its_acknowledged_delete_is_undeleted(oracle: Oracle, see: See) -> None:
    acknowledged(oracle, "v1")
    acknowledged(oracle, None)

    see(oracle, "v1")

    assert faults(oracle) == [Fault.UNDELETED]


def test_a_version_from_before_a_delete_stays_deleted_when_a_new_one_follows(
    oracle: Oracle,
) -> None:
    acknowledged(oracle, "v1")
    acknowledged(oracle, None)
    acknowledged(oracle, "v2")

    in_index(oracle, "v1")

    assert faults(oracle) == [Fault.UNDELETED]


def test_a_version_posted_again_after_its_delete_may_be_seen(oracle: Oracle) -> None:
    acknowledged(oracle, "v1")
    acknowledged(oracle, None)
    acknowledged(oracle, "v1")

    in_index(oracle, "v1")
    in_registry(oracle, "v1")

    assert faults(oracle) == []


def test_the_index_may_lag_behind_but_not_go_back(oracle: Oracle) -> None:
    acknowledged(oracle, "v1")
    acknowledged(oracle, "v2")

    in_index(oracle, "v1")
    in_index(oracle, "v2")
    assert faults(oracle) == []

    in_index(oracle, "v1")
    assert faults(oracle) == [Fault.WRONG_VERSION]


def test_a_document_that_was_found_must_be_found_until_it_may_be_deleted(oracle: Oracle) -> None:
    acknowledged(oracle, "v1")
    in_index(oracle, None)  # not indexed yet
    in_index(oracle, "v1")
    assert faults(oracle) == []

    in_index(oracle, None)
    assert faults(oracle) == [Fault.MISSING]


def test_a_document_may_be_gone_as_soon_as_its_delete_is_on_its_way(oracle: Oracle) -> None:
    acknowledged(oracle, "v1")
    in_index(oracle, "v1")
    delete = oracle.begin({NAME: None})

    in_index(oracle, None)
    in_index(oracle, "v1")
    oracle.acknowledge(delete)
    in_index(oracle, None)

    assert faults(oracle) == []


@pytest.mark.parametrize("seen", ["v1", "v2"])
def test_a_write_that_nobody_answered_may_have_taken_effect_or_not(
    oracle: Oracle, seen: str
) -> None:
    acknowledged(oracle, "v1")
    oracle.leave_open(oracle.begin({NAME: "v2"}))

    assert oracle.may_be(NAME) == {"v1", "v2"}
    in_registry(oracle, seen)

    assert faults(oracle) == []


def test_a_delete_that_nobody_answered_leaves_both_states_and_no_third(oracle: Oracle) -> None:
    acknowledged(oracle, "v1")
    acknowledged(oracle, "v2")
    oracle.leave_open(oracle.begin({NAME: None}))

    assert oracle.may_be(NAME) == {"v2", None}


def test_a_write_that_nobody_answered_cannot_undo_a_later_one(oracle: Oracle) -> None:
    oracle.leave_open(oracle.begin({NAME: "v1"}))
    acknowledged(oracle, "v2")

    in_registry(oracle, "v1")

    assert faults(oracle) == [Fault.WRONG_VERSION]


@pytest.mark.parametrize("see", [in_registry, in_index])
def test_once_it_was_seen_a_write_that_nobody_answered_has_taken_effect(
    oracle: Oracle, see: See
) -> None:
    acknowledged(oracle, "v1")
    oracle.leave_open(oracle.begin({NAME: "v2"}))
    see(oracle, "v2")

    in_registry(oracle, "v1")

    assert faults(oracle) == [Fault.WRONG_VERSION]


def test_a_delete_that_nobody_answered_and_was_seen_has_taken_effect(oracle: Oracle) -> None:
    acknowledged(oracle, "v1")
    oracle.leave_open(oracle.begin({NAME: None}))
    in_registry(oracle, None)

    in_registry(oracle, "v1")

    assert faults(oracle) == [Fault.UNDELETED]


def test_a_refused_write_has_not_taken_effect(oracle: Oracle) -> None:
    acknowledged(oracle, "v1")
    oracle.refuse(oracle.begin({NAME: "v2"}))

    assert oracle.may_be(NAME) == {"v1"}
    in_registry(oracle, "v2")

    assert faults(oracle) == [Fault.WRONG_VERSION]


@pytest.mark.parametrize("seen", ["v1", "v2"])
def test_of_two_writes_at_once_either_may_have_been_the_last(oracle: Oracle, seen: str) -> None:
    first, second = oracle.begin({NAME: "v1"}), oracle.begin({NAME: "v2"})
    oracle.acknowledge(first)
    oracle.acknowledge(second)

    in_registry(oracle, seen)

    assert faults(oracle) == []


def test_a_read_that_began_before_a_delete_was_answered_may_still_show_the_document(
    oracle: Oracle,
) -> None:
    acknowledged(oracle, "v1")
    begun = oracle.start_reading()
    acknowledged(oracle, None)

    oracle.see_index(NAME, "v1", begun, "a slow search")
    oracle.see_registry(NAME, "v1", begun, "a slow fetch")

    assert faults(oracle) == []


def test_where_another_process_commits_an_open_write_may_come_a_moment_later() -> None:
    oracle = Oracle(afterwards=100.0, clock=Clock())
    oracle.leave_open(oracle.begin({NAME: "v1"}))
    acknowledged(oracle, "v2")

    assert oracle.may_be(NAME) == {"v1", "v2"}


def test_it_counts_what_is_known_and_what_is_open(oracle: Oracle) -> None:
    acknowledged(oracle, "v1")
    oracle.leave_open(oracle.begin({NAME: "v2"}))

    assert (oracle.acknowledged(), oracle.left_open(), oracle.names()) == (1, 1, [NAME])

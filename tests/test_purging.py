"""How often the files are rewritten, on a clock that only the test moves."""

from typing import cast

import pytest

from llamaindex_reaktly.purging import BURST_SECONDS, MAX_SHARE, Purger
from llamaindex_reaktly.registry.registry import Registry
from llamaindex_reaktly.stores.protocol import Store


class Files:
    """A store, a registry and a clock in one: rewriting them takes `cost` seconds."""

    def __init__(self, cost: float) -> None:
        self.cost = cost
        self.now = 1000.0
        self.rewritten = 0

    @property
    def database(self) -> "Files":
        return self

    def purge(self, knowledge_base_id: str) -> None:
        self.now += self.cost
        self.rewritten += 1

    def scrub(self) -> bool:
        return True


def purger(files: Files) -> Purger:
    return Purger(cast("Registry", files), cast("Store", files), clock=lambda: files.now)


def test_single_deletes_are_wiped_at_once() -> None:
    files = Files(cost=BURST_SECONDS / 20)
    purging = purger(files)
    assert all(purging.purge(["kb"]) for _ in range(20))
    assert files.rewritten == 20


@pytest.mark.parametrize("cost", [0.01, 1.0, 20 * BURST_SECONDS])
def test_a_storm_of_deletes_gets_its_share_of_the_time(cost: float) -> None:
    files = Files(cost)
    purging = purger(files)
    started = files.now
    postponed = 0
    while files.now < started + 100 * cost + 10 * BURST_SECONDS:
        if not purging.purge(["kb"]):
            postponed += 1
            files.now += cost / 10
    spent = files.rewritten * cost
    assert postponed
    assert spent <= BURST_SECONDS + (files.now - started) * MAX_SHARE + cost


def test_after_a_pause_deletes_are_wiped_at_once_again() -> None:
    files = Files(cost=2 * BURST_SECONDS)
    purging = purger(files)
    assert purging.purge(["kb"])
    assert not purging.purge(["kb"])
    files.now += 2 * BURST_SECONDS / MAX_SHARE
    assert purging.purge(["kb"])

"""A seed is a schedule: the same one gives the same requests and the same kills."""

import itertools
from collections import Counter
from collections.abc import Sequence

import pytest

from torture.documents import item, versions_in
from torture.schedule import (
    HOT,
    OF_THE_PRODUCT,
    OF_THE_STORE,
    Request,
    Target,
    Verb,
    kills,
    questions_of,
    requests_of,
)


def first(seed: int, client: int = 0, number: int = 400) -> list[Request]:
    return list(itertools.islice(requests_of(seed, client), number))


def test_the_same_seed_gives_the_same_schedule() -> None:
    assert first(7) == first(7)
    assert kills(7, 30) == kills(7, 30)
    for client in (0, 1):
        looks = [list(itertools.islice(questions_of(7, client), 50)) for _ in range(2)]
        assert looks[0] == looks[1]


def test_another_seed_and_another_client_do_something_else() -> None:
    assert first(7) != first(8)
    assert first(7, client=0) != first(7, client=1)
    assert kills(7, 30) != kills(8, 30)


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    assert kills(7, 300)[:30] == kills(7, 30)


@pytest.mark.parametrize("targets", [OF_THE_PRODUCT, OF_THE_STORE])
@pytest.mark.parametrize("seed", range(5))
def test_kills_are_split_evenly_over_their_targets(seed: int, targets: Sequence[Target]) -> None:
    drawn = kills(seed, 30, targets=targets)
    assert Counter(kill.target for kill in drawn) == dict.fromkeys(targets, 10)


@pytest.mark.parametrize("seed", range(20))
def test_no_worker_is_killed_so_often_in_a_row_that_its_supervisor_gives_it_up(seed: int) -> None:
    runs = [
        len(list(group))
        for target, group in itertools.groupby(kill.target for kill in kills(seed, 300))
        if target is Target.WORKER
    ]
    assert max(runs) <= 2


def test_clients_do_all_that_the_documentation_offers_and_contend() -> None:
    requests = first(1)
    assert {request.verb for request in requests} == set(Verb)
    names = [
        {name for request in first(1, client) for name in request.versions} for client in (0, 1)
    ]
    assert names[0] & names[1], "hot documents are edited by several clients"
    assert names[0] - names[1], "others by one"


def test_a_client_can_be_kept_to_a_number_of_documents() -> None:
    requests = itertools.islice(requests_of(1, 0, most_own=5), 400)
    own = {name for request in requests for name in request.versions if name not in HOT}
    assert len(own) == 5


def test_documents_are_posted_unchanged_and_set_back_as_well() -> None:
    sent: dict[object, list[str]] = {}
    for request in first(1):
        for name, version in request.versions.items():
            if version:
                sent.setdefault(name, []).append(version)
    histories = list(sent.values())
    assert any(a == b for h in histories for a, b in itertools.pairwise(h)), "unchanged"
    assert any(h[i] in h[: i - 1] and h[i] != h[i - 1] for h in histories for i in range(2, len(h)))


def test_each_section_of_a_document_says_which_version_it_is() -> None:
    requests = first(1)
    posted = [(n, v) for request in requests for n, v in request.versions.items() if v]
    sections = set()
    for name, version in posted:
        data = item(name, version)["data"]
        assert isinstance(data, dict)
        parts = data["content"].split("# Part ")[1:]
        sections.add(len(parts))
        for text in (data["title"], *parts):
            assert versions_in(text) == {version}
    assert sections == {1, 3}

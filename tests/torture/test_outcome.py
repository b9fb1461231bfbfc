"""A scenario's line says all that a reader needs, the seed first of all."""

import tempfile
from pathlib import Path

import pytest

from torture import __main__ as program
from torture.context import Context
from torture.documents import Name
from torture.fleet import NotPossible, TortureFailed
from torture.oracle import Fault, Oracle
from torture.outcome import Outcome
from torture.scenarios import Scenario
from torture.servers import RegistryKind, StoreKind
from torture.soak import slope


def outcome(*faults: Fault) -> Outcome:
    oracle = Oracle()
    oracle.acknowledge(oracle.begin({Name("kb", "int", "page"): "v1"}))
    for fault in faults:
        oracle.accuse(fault, "a page", "was seen so")
    context = Context("kills", 4711, 30, 6.0, RegistryKind.SQLITE, StoreKind.EMBEDDED, Path())
    return Outcome.of(context, oracle, kills=context.kills)


def test_a_line_holds_seed_figures_and_a_count_for_each_fault() -> None:
    line = outcome(Fault.STUCK, Fault.STUCK).line()
    for part in ("BROKEN", "seed 4711", "30 kills", "1 documents", "0 missing", "2 stuck"):
        assert part in line
    assert outcome().line().startswith("HOLDS kills on sqlite")


def test_the_results_file_gets_a_target_that_one_fault_misses() -> None:
    (good,), (bad,) = outcome().results(), outcome(Fault.MISSING).results()
    assert (good.value, good.holds) == (0, True)
    assert (bad.value, bad.holds) == (1, False)


@pytest.fixture(autouse=True)
def kept_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a failure keeps, it keeps here."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def run(
    monkeypatch: pytest.MonkeyPatch, ending: Outcome | Exception, *arguments: str
) -> tuple[int, Context]:
    contexts: list[Context] = []

    def scenario(context: Context) -> Outcome:
        contexts.append(context)
        if isinstance(ending, Exception):
            raise ending
        return ending

    only = {"kills": Scenario("a test", scenario, (RegistryKind.SQLITE,))}
    monkeypatch.setattr(program, "SCENARIOS", only)
    return program.main(["kills", *arguments]), contexts[0]


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (outcome(), 0),
        (outcome(Fault.MISSING), 1),
        (TortureFailed("the server ended by itself"), 2),
        (NotPossible("there is no mount here"), 0),
    ],
    ids=["holds", "broken", "not carried out", "not possible here"],
)
def test_the_exit_code_is_the_verdict(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ending: Outcome | Exception,
    code: int,
) -> None:
    assert run(monkeypatch, ending)[0] == code
    printed = capsys.readouterr()
    if isinstance(ending, Exception):
        assert str(ending) in printed.err
        assert "1 SCENARIOS WERE NOT RUN" in printed.err


def test_a_failure_says_how_to_repeat_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, outcome(Fault.MISSING), "--seed", "4711", "--kills", "9")
    command = "torture kills --registry sqlite --store embedded --seed 4711 --kills 9"
    assert command in capsys.readouterr().err


def test_without_a_seed_each_run_has_another(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = {run(monkeypatch, outcome())[1].seed for _ in range(5)}
    assert len(seeds) > 1


def test_a_soak_is_a_fifth_of_the_kills_in_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, outcome(), "--kills", "300")[1].minutes == 60
    assert run(monkeypatch, outcome(), "--kills", "300", "--minutes", "5")[1].minutes == 5


def test_a_slope_is_that_of_the_line_through_the_samples() -> None:
    assert slope([0.0, 1.0, 2.0], [10.0, 12.0, 14.0]) == pytest.approx(2.0)
    assert slope([0.0, 1.0, 2.0, 3.0], [5.0, 6.0, 6.0, 5.0]) == pytest.approx(0.0)

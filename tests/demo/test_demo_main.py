from pathlib import Path

import pytest

from demo import __main__ as program
from demo.client import DemoFailed
from demo.terminal import Terminal


def showing(
    monkeypatch: pytest.MonkeyPatch, outcome: list[str] | BaseException, seen: list[Path]
) -> None:
    def show(terminal: Terminal, work_dir: Path, store: str) -> list[str]:
        seen.append(work_dir)
        assert work_dir.is_dir()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(program, "_show", show)


@pytest.mark.parametrize(
    ("outcome", "code", "text"),
    [
        ([], 0, "Everything held"),
        (["carrier-40 is among the first 3"], 1, "NOT MET carrier-40 is among the first 3"),
        (DemoFailed("the server ended with exit code 3"), 1, "ended with exit code 3"),
        (KeyboardInterrupt(), 130, "Interrupted"),
    ],
)
def test_the_exit_code_says_how_it_went_and_nothing_is_left_behind(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    outcome: list[str] | BaseException,
    code: int,
    text: str,
) -> None:
    seen: list[Path] = []
    showing(monkeypatch, outcome, seen)
    assert program.main() == code
    assert text in capsys.readouterr().out
    assert not seen[0].exists()

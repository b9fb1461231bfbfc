import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner, Result

from llamaindex_reaktly.cli.application import app

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory of the test's own, and no settings but that."""
    for name in os.environ:
        if name.startswith("REAKTLY_"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    place = tmp_path / "data"
    monkeypatch.setenv("REAKTLY_DATA_DIR", str(place))
    return place


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Commands set up logging for a process of their own; here they share one with others."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


@pytest.fixture
def run() -> Run:
    """Run a command in this process."""

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(app, arguments)

    return invoke


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a document of each kind, and things that are none."""
    place = tmp_path / "docs"
    (place / "guides").mkdir(parents=True)
    (place / ".hidden").mkdir()
    (place / "index.md").write_text("Before it\n\n# The index\n\nWelcome to the harbour.\n")
    (place / "guides" / "mooring.html").write_text(
        "<!doctype html><title>How to &amp; moor</title><p>Tie a bowline knot.</p>"
    )
    (place / "guides" / "tides.txt").write_text("High water comes twice a day.\n")
    (place / "guides" / "chart.png").write_bytes(b"\x89PNG")
    (place / ".hidden" / "secret.md").write_text("# Not for anyone")
    return place

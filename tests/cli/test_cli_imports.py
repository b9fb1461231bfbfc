import subprocess
import sys
from pathlib import Path

import pytest

# Runs a command, then prints which of the dear packages it imported.
REPORTING = """
import sys
from llamaindex_reaktly.cli import main
try:
    main()
except SystemExit as end:
    dear = ("llama_index", "onnxruntime", "alembic", "uvicorn", "sqlalchemy", "structlog")
    print(end.code, *[name for name in dear if name in sys.modules], file=sys.stderr)
"""


def _imported(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", REPORTING, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    code, *imported = done.stderr.split()
    assert code == "0"
    return set(imported)


@pytest.mark.parametrize("arguments", [("--help",), ("keys", "create", "--help")])
def test_help_imports_nothing_dear(arguments: tuple[str, ...]) -> None:
    assert _imported(*arguments) == set()


def test_key_commands_import_neither_llamaindex_nor_a_model(data_dir: Path) -> None:
    _imported("keys", "create", "--name", "n", "--knowledge-base", "*")
    assert _imported("keys", "list") == {"sqlalchemy", "structlog"}


@pytest.mark.parametrize("command", ["status", "kb"])
def test_looking_imports_neither_llamaindex_nor_a_model(command: str) -> None:
    arguments = [command, *(["list"] if command == "kb" else [])]
    _imported(*arguments)
    assert not {"llama_index", "onnxruntime"} & _imported(*arguments)


def test_linear_algebra_gets_one_thread_unless_somebody_said_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = (
        "import os\n"
        "from llamaindex_reaktly.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n"
        "    print(os.environ['OPENBLAS_NUM_THREADS'], os.environ['OMP_NUM_THREADS'])\n"
    )
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    done = subprocess.run(
        [sys.executable, "-c", script, "keys", "list"],
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    assert done.stdout.splitlines()[-1] == "1 3"

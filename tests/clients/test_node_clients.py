"""Clients of OpenAI's endpoints in JavaScript: the tests themselves are in tests/node_clients."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import QUESTION, Endpoint

FOLDER = Path(__file__).parents[1] / "node_clients"


@pytest.fixture(scope="module")
def node() -> str:
    """The program `node`, with the locked packages beside the tests."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        missing = "node and npm are not installed: no client in JavaScript was tried"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    installed = FOLDER / "node_modules" / ".package-lock.json"
    lock = FOLDER / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=FOLDER,
            check=True,
            timeout=240,
        )
    return node


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.test.mjs")))
def test_the_clients_in_javascript_read_the_dialect(
    node: str, endpoint: Endpoint, name: str
) -> None:
    run = subprocess.run(
        [node, "--test", name],
        cwd=FOLDER,
        env=os.environ
        | {
            "REAKTLY_TEST_BASE_URL": endpoint.base_url,
            "REAKTLY_TEST_KEY": endpoint.key,
            "REAKTLY_TEST_QUESTION": QUESTION,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    assert "# pass 0" not in run.stdout, run.stdout

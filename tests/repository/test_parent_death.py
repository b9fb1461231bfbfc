"""A test run that is killed leaves no server behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import subprocess, time
from scripts.parent_death import end_with_parent
server = subprocess.Popen(["sleep", "60"], start_new_session=True, preexec_fn=end_with_parent)
print(server.pid, flush=True)
time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own")
def test_a_server_ends_when_whoever_started_it_is_killed() -> None:
    root = str(Path(__file__).parents[2])
    run = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    with run:
        assert run.stdout is not None
        server = int(run.stdout.readline())
        assert is_alive(server)
        run.kill()
    deadline = time.monotonic() + 10
    while is_alive(server):
        assert time.monotonic() < deadline

"""The fleet knows its own processes from those that were left over."""

import subprocess
from pathlib import Path

from torture.fleet import Fleet


def test_a_process_that_nobody_of_the_fleet_has_started_is_a_stray(tmp_path: Path) -> None:
    with Fleet(tmp_path) as fleet:
        assert fleet.strays() == []
        with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as left_over:
            try:
                assert fleet.strays() == [left_over.pid]
            finally:
                left_over.kill()
        assert fleet.strays() == []

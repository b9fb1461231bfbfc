"""What is under test is what people install."""

import importlib.metadata
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import llamaindex_reaktly
import reaktly_api
import reaktly_mcp

PACKAGES = [llamaindex_reaktly, reaktly_api, reaktly_mcp]


def is_editable() -> bool:
    origin = importlib.metadata.distribution("llamaindex-reaktly").read_text("direct_url.json")
    return bool(origin and json.loads(origin).get("dir_info", {}).get("editable"))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_the_tests_run_against_the_installed_wheel(package: object) -> None:
    if is_editable() and not os.environ.get("CI"):
        pytest.skip("the source tree is installed; `make test` installs the wheel")
    location = Path(getattr(package, "__file__", "")).resolve()
    assert location.is_relative_to(Path(sysconfig.get_path("purelib")).resolve())


def test_the_metadata_does_not_name_the_model_distribution() -> None:
    requirements = importlib.metadata.requires("llamaindex-reaktly") or []
    assert requirements
    assert not [line for line in requirements if "minilm" in line]


def test_the_command_is_installed_and_answers() -> None:
    command = Path(sys.executable).with_name("reaktly")
    done = subprocess.run([command, "--help"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "serve" in done.stdout


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_the_packages_declare_their_types(package: object) -> None:
    assert Path(getattr(package, "__file__", "")).with_name("py.typed").is_file()

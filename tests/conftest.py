"""Fixtures that every part of the tests shares."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from llamaindex_reaktly.registry.registry import Registry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    registry = Registry(f"sqlite:///{tmp_path / 'registry.sqlite'}")
    yield registry
    registry.close()

"""What `from llamaindex_reaktly import …` offers."""

import subprocess
import sys

import pytest

import llamaindex_reaktly


def test_the_exported_names_are_sorted_and_every_one_can_be_had() -> None:
    names = llamaindex_reaktly.__all__
    assert names == sorted(names)
    for name in names:
        assert getattr(llamaindex_reaktly, name).__name__ == name
        assert getattr(llamaindex_reaktly, name).__doc__


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = llamaindex_reaktly.Nonsense


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "statement",
    [
        "import llamaindex_reaktly",
        "from llamaindex_reaktly import KnowledgeBase, SourceDocument, Settings",
        "import reaktly_api.app",
    ],
)
def test_what_is_not_llamaindex_does_not_import_llamaindex(statement: str) -> None:
    check = f"{statement}; import sys; print([m for m in sys.modules if m == 'llama_index.core'])"
    run = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"

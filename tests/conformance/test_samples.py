"""What looks at samples sees what it is there to see."""

from pathlib import Path

import pytest

from tests.conformance.recorder import Recorder
from tests.conformance.samples import Samples, differences, indented

DOCUMENTED = {"ok": True, "count": 1, "list": [{"id": "a", "share": 0.5}]}


@pytest.mark.parametrize(
    ("answer", "difference"),
    [
        ({"ok": True, "list": []}, "count is missing"),
        ({"ok": True, "count": 1, "list": [], "more": 1}, "more is not documented"),
        ({"ok": True, "count": "1", "list": []}, "count is '1', and 1 is documented"),
        ({"ok": 1, "count": 1, "list": []}, "ok is 1, and True is documented"),
        ({"ok": True, "count": 1, "list": [{"id": "a"}]}, "list[].share is missing"),
        ([], f"the answer is [], and {DOCUMENTED!r} is documented"),
    ],
)
def test_a_difference_from_what_is_documented_is_found(answer: object, difference: str) -> None:
    assert list(differences(answer, DOCUMENTED)) == [difference]


def test_numbers_of_either_kind_and_fields_of_ours_are_none() -> None:
    answer = {"ok": False, "count": 2.5, "list": [{"id": "b", "share": 1, "url": None}]}
    assert not list(differences(answer, DOCUMENTED, ours=["list[].url"]))


def test_a_repair_that_finds_nothing_to_repair_is_a_fault(tmp_path: Path) -> None:
    page = tmp_path / "page.txt"
    page.write_text('Heading\n{\n"a": HOST\n}Next heading\n')
    with Recorder(0) as recorder:
        samples = Samples(page, recorder, tmp_path)
        assert samples.json(2, 4, {"HOST": "1"}) == {"a": 1}
        with pytest.raises(AssertionError, match="in vain"):
            samples.text(2, 4, {"PORT": "1"})


def test_a_function_gets_its_indentation_back() -> None:
    lost = "def f(x):\ny = (\nx\n)\nreturn y\n\nprint(f(1))\n"
    assert indented(lost) == "def f(x):\n    y = (\n    x\n    )\n    return y\n\nprint(f(1))\n"

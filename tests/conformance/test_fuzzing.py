"""What `make fuzz` leaves out is little, and is of operations that exist."""

import tomllib
from pathlib import Path

from reaktly_api import quant, smarttalk
from reaktly_api.reaktly import documents, ingest, jobs

CONFIGURATION = Path(__file__).parent / "fuzzing" / "schemathesis.toml"
MOST_PAIRS = 10
OPERATIONS = (
    *documents.OPERATIONS,
    *ingest.OPERATIONS,
    *jobs.OPERATIONS,
    *quant.OPERATIONS,
    *smarttalk.OPERATIONS,
)


def test_at_most_ten_checks_of_an_operation_are_left_out() -> None:
    configuration = tomllib.loads(CONFIGURATION.read_text(encoding="utf-8"))
    pairs = [
        (operation["include-operation-id"], check)
        for operation in configuration["operations"]
        for check, settings in operation["checks"].items()
        if not settings["enabled"]
    ]
    assert len(set(pairs)) == len(pairs) <= MOST_PAIRS
    assert {name for name, _ in pairs} <= {operation.name for operation in OPERATIONS}
    # Nothing is left out for all operations at once.
    assert all(settings.get("enabled", True) for settings in configuration["checks"].values())

import io
import json
import logging

import pytest
import structlog

from llamaindex_reaktly.errors import Unavailable
from llamaindex_reaktly.logs import configure_logging, gathered_lines

# Source lines are shown in tracebacks; this is what a value would be.
CONTENT = "the patient's rash"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_json_is_one_object_a_line_with_level_and_time() -> None:
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    structlog.get_logger("x").info("done", documents=3)
    structlog.get_logger("x").debug("detail")
    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert (event["event"], event["level"], event["documents"]) == ("done", "info", 3)
    assert event["timestamp"].endswith("Z")


def test_auto_is_colour_on_a_terminal_and_json_elsewhere() -> None:
    terminal, file = _Terminal(), io.StringIO()
    for stream in (terminal, file):
        configure_logging("auto", stream=stream)
        structlog.get_logger("x").info("done")
    assert "\x1b[" in terminal.getvalue()
    assert json.loads(file.getvalue())["event"] == "done"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_neither_keys_passwords_nor_content_reach_a_log(log_format: str) -> None:
    stream = io.StringIO()
    configure_logging("json" if log_format == "json" else "console", stream=stream)
    log = structlog.get_logger("x")
    log.info("asked", query=CONTENT, token="rk_live_abc")
    log.info("connected", address="postgresql://me:hunter2@db/name", header="Bearer rk_live_d-_f")
    try:
        raise ValueError(CONTENT)
    except ValueError:
        log.exception("failed")
    logging.getLogger("driver").error("no", exc_info=ValueError(CONTENT))
    written = stream.getvalue()
    for secret in ("rash", "hunter2", "abc", "d-_f"):
        assert secret not in written
    assert "postgresql://me:[hidden]@db/name" in written
    assert written.count("ValueError") >= 2


def test_an_error_of_ours_keeps_its_words_and_its_causes_their_kind() -> None:
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    try:
        try:
            raise KeyError(CONTENT)
        except KeyError as cause:
            raise Unavailable("the store is away") from cause
    except Unavailable:
        structlog.get_logger("x").exception("failed")
    told = json.loads(stream.getvalue())["exception"]
    assert "Unavailable: the store is away" in told
    assert "KeyError" in told
    assert CONTENT not in told


def test_third_parties_are_heard_from_warnings_up_only() -> None:
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    logging.getLogger("httpx").info("chatter")
    logging.getLogger("trafilatura.core").error("discarding: a whole page")
    logging.getLogger("uvicorn.error").warning("Invalid request")
    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert (event["event"], event["logger"]) == ("Invalid request", "uvicorn.error")


def test_configuring_again_replaces_rather_than_adds() -> None:
    stream = io.StringIO()
    configure_logging("json", stream=io.StringIO())
    configure_logging("json", stream=stream)
    logging.getLogger("x").warning("once")
    assert stream.getvalue().count("once") == 1


def test_gathered_lines_are_all_written_in_order_when_their_block_ends() -> None:
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    log = structlog.get_logger()
    with gathered_lines(stream):
        for number in range(1_000):
            log.info("counted", number=number)
    log.info("behind")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line.get("number") for line in lines] == [*range(1_000), None]
    assert lines[-1]["event"] == "behind"


def test_gathered_lines_do_not_stop_who_logs_when_nobody_reads_them() -> None:
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    with gathered_lines(stream):
        stream.close()
        structlog.get_logger().info("into the void")

"""Logging: JSON lines for machines, colour for people, no content and no secrets for anyone.

Everything goes to stderr, so that stdout holds data alone. Our own events come from
structlog; records of third parties pass only from WARNING up and are rendered alike.
"""

import contextlib
import logging
import re
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from typing import Literal, TextIO, cast

import orjson
import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from llamaindex_reaktly.errors import ReaktlyError

LogFormat = Literal["auto", "json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]

# Fields that could hold what a user wrote or what opens a door. No event of ours has
# them; should one come to, its value stays out of the log.
HIDDEN_FIELDS = frozenset(
    {"authorization", "body", "content", "key", "password", "query", "secret", "text", "token"}
)
HIDDEN = "[hidden]"

# How long a line waits for others; people who look on do not see it.
_GATHER_SECONDS = 0.01

# These warn about the texts they are given, and quote them.
QUIET_LOGGERS = ("charset_normalizer", "courlan", "htmldate", "trafilatura")

_TOKENS = re.compile(r"rk_live_[\w-]+")
_PASSWORDS = re.compile(r"(://[^\s/:@]*:)[^\s/@]+@")


def configure_logging(
    log_format: LogFormat = "auto", log_level: LogLevel = "info", *, stream: TextIO | None = None
) -> None:
    """Set up logging of this process; may be called again, the last call holds.

    `auto` is `console` when `stream` (default: stderr) is a terminal, else `json`.
    """
    stream = stream or sys.stderr
    on_terminal = stream.isatty()
    for_people = log_format == "console" or (log_format == "auto" and on_terminal)
    level = logging.getLevelNamesMapping()[log_level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_fields,
        structlog.processors.ExceptionRenderer(describe_exception),
    ]
    rendering: list[Processor] = [
        structlog.dev.ConsoleRenderer(
            colors=on_terminal, exception_formatter=structlog.dev.plain_traceback
        )
        if for_people
        else structlog.processors.JSONRenderer(serializer=_to_json),
        # What follows a renderer gets a line of text, which the type of a processor hides.
        cast("Processor", mask_secrets),
    ]
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    _adopt_third_parties(stream, shared, rendering)


@contextlib.contextmanager
def gathered_lines(stream: TextIO | None = None) -> Iterator[None]:
    """Write the lines of our own events some together, a moment later, inside this block.

    For a process that logs each of thousands of requests a second: a write of its own for
    each line costs a system call, and the interpreter's lock with it, on the thread that
    answers. `stream` is that of `configure_logging`, which is to be called before. What is
    not written yet is lost with a process that is killed.
    """
    before = structlog.get_config()["logger_factory"]
    gatherer = _Gatherer(stream or sys.stderr)
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", gatherer)))
    try:
        yield
    finally:
        structlog.configure(logger_factory=before)
        gatherer.close()


class _Gatherer:
    """A stream for lines, which a thread of its own writes to another."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: deque[str] = deque()
        self._arrived = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="log-lines", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        self._lines.append(line)

    def flush(self) -> None:
        if not self._arrived.is_set():  # to set it again costs more than to look
            self._arrived.set()

    def close(self) -> None:
        self._closed = True
        self._arrived.set()
        self._thread.join()

    def _run(self) -> None:
        is_last = False
        while not is_last:
            self._arrived.wait()
            time.sleep(_GATHER_SECONDS)
            self._arrived.clear()
            is_last = self._closed
            text = "".join([self._lines.popleft() for _ in range(len(self._lines))])
            # A log that cannot be written is no reason to stop.
            with contextlib.suppress(OSError, ValueError):
                self._stream.write(text)
                self._stream.flush()


def hide_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Blank the values of fields that may hold content or secrets."""
    for name in HIDDEN_FIELDS & event.keys():
        event[name] = HIDDEN
    return event


def mask_secrets(_logger: WrappedLogger, _method: str, rendered: str) -> str:
    """Cut API keys and passwords in URLs out of a rendered line, wherever they came from."""
    return _PASSWORDS.sub(rf"\1{HIDDEN}@", _TOKENS.sub("rk_live_" + HIDDEN, rendered))


def describe_exception(exc_info: ExcInfo) -> str:
    """Where an exception came from, cause by cause, and what kind it is.

    The words of foreign exceptions are left out: drivers and parsers quote the values
    they choke on. Ours are written for the caller, the operating system's are fixed.
    """
    error: BaseException | None = exc_info[1]
    parts: list[str] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        kind = type(error).__qualname__
        if isinstance(error, ReaktlyError):
            kind = f"{kind}: {error.message}"
        elif isinstance(error, OSError) and error.strerror:
            kind = f"{kind}: {error.strerror}"
        parts.append("".join(traceback.format_tb(error.__traceback__)) + kind)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\nwhich came from\n".join(parts)


def _to_json(event: object, **_options: object) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _adopt_third_parties(
    stream: TextIO, shared: list[Processor], rendering: list[Processor]
) -> None:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)

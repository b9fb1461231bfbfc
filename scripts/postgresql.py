"""A PostgreSQL server of one's own, in a temporary directory, for tests and benchmarks.

    .venv/bin/python -m scripts.postgresql        serves until Ctrl-C and prints the URL

It uses the programs that are installed and touches no cluster of the system's: it
listens on a Unix socket inside its directory and on nothing else.
"""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg

from scripts.parent_death import end_with_parent

DEBIAN_PROGRAMS = Path("/usr/lib/postgresql")
STARTS_WITHIN = 30.0
STOPS_WITHIN = 20.0
SUPERUSER = "postgres"

# What a crash of the machine may cost does not matter to most tests. `full_page_writes`
# stays: it is what a kill of the server, which does matter, could need.
_FLEETING = ("-c", "fsync=off")


class NotInstalled(Exception):
    """PostgreSQL's programs are not on this machine."""


class PostgreSQL:
    """A cluster with its server; leaving it ends both. `durable` flushes as in production.

    Raises `NotInstalled` where the programs are missing.
    """

    def __init__(self, *, durable: bool = False, settings: tuple[str, ...] = ()) -> None:
        self._programs = programs()
        self._settings = [*([] if durable else _FLEETING)]
        for setting in settings:
            self._settings += ["-c", setting]
        self._owner = _unprivileged_user()
        # Short, for the socket's path may have some 100 bytes; and not below the tests' own
        # directory, which the server's user could not enter.
        self.directory = Path(tempfile.mkdtemp(prefix="pg-"))
        self._data = self.directory / "data"
        self._log = self.directory / "log"
        self._names = itertools.count()
        self._process: subprocess.Popen[bytes] | None = None
        if self._owner is not None:
            os.chown(self.directory, self._owner.pw_uid, self._owner.pw_gid)
        try:
            # English order is not that of bytes: whatever relies on one of them shows.
            made = self._launch(
                "initdb", "-D", self._data, "-U", SUPERUSER, "-A", "trust", "--no-sync",
                "-E", "UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en",
            ).wait()  # fmt: skip
            assert made == 0, self.log()
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The server's first process."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def url(self, database: str, *, driver: str = "") -> str:
        """The URL of a database; `driver` as SQLAlchemy names it (`+psycopg`)."""
        return f"postgresql{driver}://{SUPERUSER}@/{database}?host={quote(str(self.directory))}"

    def create_database(self, template: str = "template0") -> str:
        """Make a database as a copy of another to which nobody is connected; its name."""
        name = f"test_{next(self._names)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement of the superuser's outside a transaction; its rows, if it has any."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Start the server and return when it answers."""
        self._process = self._launch(
            "postgres", "-D", self._data, "-c", "listen_addresses=", "-c", "max_connections=200",
            "-c", f"unix_socket_directories={self.directory}", *self._settings,
        )  # fmt: skip
        deadline = time.monotonic() + STARTS_WITHIN
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"PostgreSQL did not start: {self.log()}") from error
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """Shut the server down; sessions are cut off, transactions in progress rolled back."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End the server as a crash would: the next start recovers from the log."""
        self._end(signal.SIGQUIT)

    def log(self) -> str:
        """What the server wrote."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def close(self) -> None:
        """End the server and remove the cluster. Idempotent."""
        self._end(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _launch(self, program: str, *arguments: str | Path) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [self._programs / program, *arguments],
                cwd=self.directory,
                env={name: value for name, value in os.environ.items() if name[:2] != "PG"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,
                user=self._owner and self._owner.pw_uid,
                group=self._owner and self._owner.pw_gid,
                extra_groups=self._owner and [],
            )


def programs() -> Path:
    """The folder of the newest installed server's programs. Raises `NotInstalled`."""
    found = [folder for folder in _folders() if (folder / "initdb").exists()]
    if not found:
        raise NotInstalled("PostgreSQL is not installed; on Debian: apt-get install postgresql")
    return found[0]


def _folders() -> Iterator[Path]:
    versions = [path for path in DEBIAN_PROGRAMS.glob("*") if path.name.isdigit()]
    for version in sorted(versions, key=lambda path: -int(path.name)):
        yield version / "bin"
    if (on_path := shutil.which("initdb")) is not None:
        yield Path(on_path).resolve().parent


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Whom the server runs as, for it refuses root; None stands for ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SUPERUSER)
    except KeyError:
        return pwd.getpwnam("nobody")


def main() -> None:
    """Serve until a signal says stop."""
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    with PostgreSQL(durable=True) as server:
        print(server.url(server.create_database()), flush=True)
        over.wait()


if __name__ == "__main__":
    main()

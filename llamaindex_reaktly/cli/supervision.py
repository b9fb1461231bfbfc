"""Ingestion workers as child processes: started, watched, started again, ended.

Each has a thread that waits for its process, so that nothing polls and the server's
event loop is never asked. A worker's standard input is a pipe of which we hold the
other end: whatever ends us, even a kill, ends the pipe, and the worker stops by itself.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from llamaindex_reaktly.errors import Unavailable

log = structlog.get_logger(__name__)

WORKER_COMMAND = (
    sys.executable,
    "-m",
    "llamaindex_reaktly.cli",
    "worker",
    "--until-stdin-ends",
)


# Is told of an event in a worker's life, by the name of its counter, with its process id.
Witness = Callable[[str, int | None], None]

# How long what was killed may take to be gone.
REAP_SECONDS = 0.5
# How a worker ends that cannot work with these settings (sysexits.h): not worth another try.
MISCONFIGURED = os.EX_CONFIG


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When a worker that died is started again; all but the count in seconds."""

    first_delay: float = 0.5
    longest_delay: float = 30.0
    # A worker that lived so long was well: what follows is a new story.
    healthy_after: float = 60.0
    most_deaths: int = 10

    def delay(self, deaths: int) -> float:
        """How long to wait after so many deaths in a row (1 or more)."""
        return float(min(self.longest_delay, self.first_delay * 2 ** min(deaths - 1, 64)))


class WorkerSupervisor:
    """Keeps a number of workers running between `start` and `stop`.

    `witness` is told of what becomes of them; `progress` counts what they have done so far.
    """

    def __init__(
        self,
        workers: int,
        *,
        command: Sequence[str] = WORKER_COMMAND,
        policy: RestartPolicy | None = None,
        witness: Witness = lambda _event, _pid: None,
        on_misconfigured: Callable[[], None] = lambda: None,
        progress: Callable[[], int] = lambda: 0,
    ) -> None:
        self._command = list(command)
        self._policy = policy or RestartPolicy()
        self._witness = witness
        self._on_misconfigured = on_misconfigured
        self._progress = progress
        self.is_misconfigured = False
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._given_up = 0
        self._threads = [
            threading.Thread(target=self._keep, args=(n,), name=f"worker-{n}", daemon=True)
            for n in range(workers)
        ]

    def start(self) -> None:
        """Start the workers; none if `stop` was called before."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float) -> None:
        """Ask the workers to stop, and kill those that have not within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with self._lock:
            self._stopping.set()
            for process in self._processes.values():
                process.terminate()
        self.join(deadline)
        self.kill()
        self.join(time.monotonic() + REAP_SECONDS)

    def join(self, deadline: float | None = None) -> None:
        """Block until nothing runs and nothing will be started, or the clock says `deadline`."""
        for thread in self._threads:
            if thread.ident is not None:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                thread.join(left)

    def kill(self) -> None:
        """End the workers that still run, at once. Their claims run out by themselves."""
        with self._lock:
            self._stopping.set()
            left = list(self._processes.values())
        for process in left:
            log.warning("worker_killed", pid=process.pid)
            process.kill()

    def has_given_up(self) -> bool:
        """Whether no worker is left because each died too often."""
        return self._given_up == len(self._threads) > 0

    def require_workers(self) -> None:
        """Raise `Unavailable`, with a sentence, while no worker runs, or fewer than should."""
        with self._lock:
            running, given_up = len(self._processes), self._given_up
        if given_up:
            raise Unavailable(
                f"{given_up} of {len(self._threads)} ingestion workers died too often and are not "
                "started again; run `reaktly doctor`, then start the server again or run "
                "`reaktly worker`"
            )
        if not running:
            raise Unavailable("no ingestion worker runs at the moment; one is started soon")

    def pids(self) -> list[int]:
        """Process ids of the workers that run now."""
        with self._lock:
            return [process.pid for process in self._processes.values()]

    def _keep(self, number: int) -> None:
        deaths = 0
        while True:
            progress = self._progress()
            with self._lock:
                if self._stopping.is_set():
                    return
                started = time.monotonic()
                process = self._spawn(number)
            if process is not None:
                self._witness("worker_starts", process.pid)
                code = process.wait()
                with self._lock:
                    del self._processes[number]
                    if process.stdin is not None:
                        process.stdin.close()
                if self._stopping.is_set():
                    return
                log.warning("worker_died", pid=process.pid, exit_code=code)
                self._witness("worker_deaths", process.pid)
                if code == MISCONFIGURED:
                    self.is_misconfigured = True
                    self._give_up(1)
                    self._on_misconfigured()
                    return
            was_well = time.monotonic() - started >= self._policy.healthy_after
            # Documents that each take their worker with them are got rid of one by one. Where
            # there are other workers, it may be those that get on.
            got_on = len(self._threads) == 1 and self._progress() > progress
            deaths = 1 if was_well or got_on else deaths + 1
            if deaths >= self._policy.most_deaths:
                self._give_up(deaths)
                return
            if self._stopping.wait(self._policy.delay(deaths)):
                return

    def _give_up(self, deaths: int) -> None:
        log.error(
            "worker_given_up",
            deaths=deaths,
            advice="documents are accepted and searched, but none is indexed; run "
            "`reaktly doctor`, then start the server again or run `reaktly worker`",
        )
        self._witness("workers_given_up", None)
        with self._lock:
            self._given_up += 1

    def _spawn(self, number: int) -> subprocess.Popen[bytes] | None:
        try:
            process = subprocess.Popen(self._command, stdin=subprocess.PIPE)  # noqa: S603 (our own program)
        except OSError as error:  # no memory or no process to be had: worth another try
            log.warning("worker_not_started", reason=error.strerror)
            return None
        self._processes[number] = process
        return process

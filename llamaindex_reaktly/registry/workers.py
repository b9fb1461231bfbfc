"""Which workers there are: each says now and then that it lives, and why it does nothing."""

import os
import socket
from dataclasses import dataclass

import sqlalchemy as sa

from llamaindex_reaktly.registry.database import Database
from llamaindex_reaktly.registry.schema import workers

# A worker that died without a word is shown for a day, then nobody wants to know.
FORGET_AFTER_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class WorkerSign:
    """The last that was heard of a worker; ages in seconds. Without `is_alive` it is overdue."""

    worker_id: str
    host: str
    pid: int
    age: float
    silent_for: float
    is_alive: bool
    paused_for: float | None
    pause_reason: str | None


class Workers:
    """The table of workers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def beat(
        self, worker_id: str, *, silence_seconds: float, pause_reason: str | None = None
    ) -> None:
        """Say that this process's worker lives, and will say so again within that time.

        With a reason it is paused, since the first time that it gave one.
        """

        def update(connection: sa.Connection) -> None:
            now = self._database.now(connection)
            insert = self._database.insert(workers)
            connection.execute(
                insert.on_conflict_do_update(
                    index_elements=[workers.c.worker_id],
                    set_={
                        "seen_at": insert.excluded.seen_at,
                        "pause_reason": insert.excluded.pause_reason,
                        "paused_since": sa.case(
                            (insert.excluded.pause_reason.is_(None), None),
                            else_=sa.func.coalesce(
                                workers.c.paused_since, insert.excluded.paused_since
                            ),
                        ),
                    },
                ),
                {
                    "worker_id": worker_id,
                    "host": socket.gethostname(),
                    "pid": os.getpid(),
                    "started_at": now,
                    "seen_at": now,
                    "silence_seconds": silence_seconds,
                    "paused_since": None if pause_reason is None else now,
                    "pause_reason": pause_reason,
                },
            )
            connection.execute(
                sa.delete(workers).where(workers.c.seen_at < now - FORGET_AFTER_SECONDS)
            )

        self._database.write(update)

    def forget(self, worker_id: str) -> None:
        """Strike out a worker that ended as it should."""
        self._strike(workers.c.worker_id == worker_id)

    def forget_process(self, pid: int) -> None:
        """Strike out the worker that was a process of this machine, and is known to be dead."""
        self._strike(workers.c.host == socket.gethostname(), workers.c.pid == pid)

    def _strike(self, *which: sa.ColumnElement[bool]) -> None:
        self._database.write(
            lambda connection: connection.execute(sa.delete(workers).where(*which))
        )

    def all(self) -> list[WorkerSign]:
        """Every worker that was heard of and did not take its leave, the oldest first."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            rows = connection.execute(sa.select(workers).order_by(workers.c.started_at))
            return [
                WorkerSign(
                    worker_id=row.worker_id,
                    host=row.host,
                    pid=row.pid,
                    age=max(0.0, now - row.started_at),
                    silent_for=max(0.0, now - row.seen_at),
                    is_alive=now - row.seen_at <= row.silence_seconds,
                    paused_for=None
                    if row.paused_since is None
                    else max(0.0, now - row.paused_since),
                    pause_reason=row.pause_reason,
                )
                for row in rows
            ]

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from llamaindex_reaktly.knowledge_base import KnowledgeBase
from reaktly_api.threads import Threads


async def test_the_loop_stays_free_while_the_core_works(
    client: httpx.AsyncClient, knowledge_base: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, release = threading.Event(), threading.Event()

    def slow(*args: object, **kwargs: object) -> None:
        held.set()
        assert release.wait(30)
        raise ZeroDivisionError

    monkeypatch.setattr(knowledge_base, "list_documents", slow)
    waiting = asyncio.create_task(client.get("/documents"))
    assert await asyncio.to_thread(held.wait, 30)
    assert (await client.get("/health")).status_code == 200
    assert (await client.get("/ready?for=accept")).status_code == 200
    release.set()
    assert (await waiting).status_code == 500


async def test_who_finds_no_waiter_is_answered_at_once() -> None:
    threads = Threads(workers=1, waiters=1)
    release = threading.Event()
    first = asyncio.create_task(threads.wait(lambda: release.wait(30)))
    await asyncio.sleep(0)
    assert await threads.wait(lambda: True) is None
    release.set()
    assert await first is True
    assert await threads.wait(lambda: True) is True
    threads.close()


async def test_waiting_requests_keep_no_worker_from_others(
    open_client: Callable[..., Any],
    make_key: Callable[..., str],
    knowledge_base: KnowledgeBase,
    item: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = await open_client(make_key(), threads=1, waiters=1)
    held, release = threading.Event(), threading.Event()

    def settle(ids: list[str], timeout: float) -> list[object]:
        held.set()
        assert release.wait(30)
        return []

    monkeypatch.setattr(knowledge_base, "wait_until_settled", settle)
    patient = asyncio.create_task(client.post("/ingest?wait=true", json=item))
    assert await asyncio.to_thread(held.wait, 30)
    second = await client.post("/ingest?wait=true", json=item | {"externalId": "a2"})
    assert second.json() == {"status": "queued", "jobId": "int-a2"}
    release.set()
    assert (await patient).json()["status"] == "queued"


def test_importing_the_door_pulls_in_nothing_heavy() -> None:
    heavy = (
        "'alembic', 'limits', 'llama_index', 'numpy', 'onnxruntime', 'sqlalchemy', 'trafilatura'"
    )
    program = f"import sys, reaktly_api; print([m for m in ({heavy}) if m in sys.modules])"
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "[]"

"""Each released schema's data directory is opened by this version, and answers as it did."""

import json
import os
import signal
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from llamaindex_reaktly.domain import DocumentState, SearchMode, SearchRequest
from llamaindex_reaktly.errors import Unavailable
from llamaindex_reaktly.ingestion.worker import Worker
from llamaindex_reaktly.registry.database import Database
from llamaindex_reaktly.registry.schema import metadata
from scripts.postgresql import PostgreSQL
from tests.upgrades.keep_release import HARBOUR, PIER, RELEASES, answers, open_kept, states

ARCHIVES = sorted(RELEASES.glob("*.tar.gz"))
GONE = b"The harbour master has moved away"


@pytest.fixture(params=ARCHIVES, ids=lambda archive: str(archive.name).split(".")[0])
def release(request: pytest.FixtureRequest) -> str:
    """The name of a released schema."""
    archive: Path = request.param
    return archive.name.split(".")[0]


@pytest.fixture
def data_dir(tmp_path: Path, release: str) -> Path:
    """A data directory as that release left it."""
    return unpacked(release, tmp_path / "data")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, data_dir: Path, release: str) -> str:
    """Its registry, on each database in turn."""
    sqlite = f"sqlite:///{data_dir / 'registry.sqlite'}"
    if request.param == "sqlite":
        return sqlite
    server: PostgreSQL = request.getfixturevalue("postgresql")
    url = server.url(server.create_database())
    carry_over(sqlite, url, release)
    return url


def unpacked(release: str, place: Path) -> Path:
    with tarfile.open(RELEASES / f"{release}.tar.gz") as archive:
        archive.extractall(place, filter="data")
    return place


def carry_over(source: str, target: str, revision: str) -> None:
    """The rows of a kept registry, into the schema of the same release on PostgreSQL."""
    config = Config()
    config.set_main_option("script_location", "llamaindex_reaktly.registry:migrations")
    writing = sa.create_engine(target)
    # Opened by the newest code it would be migrated: read it as it is.
    import pysqlite3.dbapi2 as pysqlite

    reading = sa.create_engine(source, module=pysqlite)
    with writing.begin() as into, reading.connect() as connection:
        config.attributes["connection"] = into
        command.upgrade(config, revision)
        tables = sa.MetaData()
        tables.reflect(into)
        for table in tables.sorted_tables:
            if table.name == "alembic_version":
                continue
            rows = connection.execute(sa.select(table)).mappings().all()
            if rows:
                into.execute(sa.insert(table), [dict(row) for row in rows])
    writing.dispose()
    reading.dispose()


def expected_of(data_dir: Path) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads((data_dir / "expected.json").read_text())
    return kept


def test_a_kept_directory_is_migrated_and_answers_as_it_did(
    data_dir: Path, database_url: str
) -> None:
    expected = expected_of(data_dir)
    for _ in range(2):  # migrating, and as migrated
        with open_kept(data_dir, database_url) as knowledge_base:
            assert states(knowledge_base) == expected["states"]
            assert answers(knowledge_base) == expected["answers"]
            key = knowledge_base.authenticate(expected["token"])
            assert key is not None
            assert key.knowledge_bases == {HARBOUR, PIER}
            assert_schema_is_current(knowledge_base.registry.database.engine)


def test_what_a_release_had_not_done_yet_is_done_after_the_upgrade(
    data_dir: Path, database_url: str
) -> None:
    """Queued, claimed by the dead, deleted but not wiped out.

    The vectors of the other base are of no model, so its documents fail: no others do.
    """
    assert GONE in bytes_of(data_dir / "index")
    with open_kept(data_dir, database_url) as knowledge_base:
        worker = Worker(knowledge_base.settings, knowledge_base)
        try:
            worker.work_off_everything()
        finally:
            worker.close()
        statuses = knowledge_base.list_documents(PIER).items
        assert {status.key.external_id: status.state for status in statuses} == {
            "held": DocumentState.COMPLETED,
            "waiting": DocumentState.COMPLETED,
        }
        hits = knowledge_base.search(SearchRequest(PIER, "ferry", mode=SearchMode.TEXT)).hits
        assert [hit.key.external_id for hit in hits] == ["waiting"]
        assert knowledge_base.registry.queue.unpurged() == []
    assert GONE not in bytes_of(data_dir)


def bytes_of(directory: Path) -> bytes:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return b"".join(path.read_bytes() for path in files)


def assert_schema_is_current(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


@pytest.fixture(params=["sqlite", "postgresql"])
def copies(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str, str], str]:
    """Makes a database as a release left it, new for each name; release "" is an empty one."""

    def copy(release: str, name: str) -> str:
        place = tmp_path / name
        place.mkdir()
        sqlite = f"sqlite:///{place / 'registry.sqlite'}"
        if release:
            unpacked(release, place)
        if request.param == "sqlite":
            return sqlite
        server: PostgreSQL = request.getfixturevalue("postgresql")
        url = server.url(server.create_database())
        if release:
            carry_over(sqlite, url, release)
        return url

    return copy


def migrated_in_a_child(url: str, kill_at: int | None) -> int:
    """Migrate in a process that is killed at a statement; how many statements it made.

    A fork, because a process of its own would spend a second on imports for each kill.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        made = 0

        @sa.event.listens_for(sa.Engine, "after_cursor_execute")
        def count(*_: object) -> None:
            nonlocal made
            made += 1
            os.write(writing, b".")
            if made == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        code = 1
        try:
            Database(url)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        made = len(pipe.read())
    assert os.WTERMSIG(status) == signal.SIGKILL if kill_at else status == 0
    return made


@pytest.mark.timeout(180)
@pytest.mark.parametrize("release", ["", *(archive.name.split(".")[0] for archive in ARCHIVES)])
def test_a_migration_that_is_killed_at_whatever_statement_is_done_by_the_next_start(
    copies: Callable[[str, str], str], release: str
) -> None:
    statements = migrated_in_a_child(copies(release, "whole"), None)
    # A dozen of them, the last one always; which ones moves with every statement that is added.
    for kill_at in range(statements, 0, -max(1, statements // 12)):
        url = copies(release, str(kill_at))
        migrated_in_a_child(url, kill_at)
        database = Database(url)
        assert_schema_is_current(database.engine)
        database.close()


def test_a_registry_of_a_newer_version_is_refused_with_a_sentence(bare_url: str) -> None:
    database = Database(bare_url)
    database.write(
        lambda connection: connection.execute(
            sa.text("UPDATE alembic_version SET version_num = '9999'")
        )
    )
    database.close()
    with pytest.raises(Unavailable, match="install the newest llamaindex-reaktly"):
        Database(bare_url)

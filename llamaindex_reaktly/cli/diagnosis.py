"""`reaktly doctor`: looks at every part and says what to do about what it finds."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from llamaindex_reaktly.cli.checks import Check, Verdict
from llamaindex_reaktly.cli.documents import NEEDS_WORKER
from llamaindex_reaktly.cli.opening import open_knowledge_base, read_settings
from llamaindex_reaktly.cli.output import print_json, print_line
from llamaindex_reaktly.cli.parameters import AsJson
from llamaindex_reaktly.errors import EmbedderMismatch, ModelMissing, ReaktlyError
from llamaindex_reaktly.file_systems import network_file_system

if TYPE_CHECKING:
    from llamaindex_reaktly.knowledge_base import KnowledgeBase
    from llamaindex_reaktly.registry.knowledge_bases import KnowledgeBaseInfo
    from llamaindex_reaktly.settings import Settings

# The embedded store scans all vectors of a base; above this, it is Weaviate's turn.
MAX_CHUNKS = 200_000
# Trained on English: it finds German half as often as a multilingual model does.
ENGLISH_EMBEDDERS = frozenset({"minilm"})
# Free disk below so many times what is kept free is worth a word before it is a refusal.
LOW_DISK_FACTOR = 10
MIB = 2**20


def doctor(
    deep: Annotated[
        bool,
        typer.Option(
            "--deep", help="Compare every document with its index too, and mend what differs."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check settings, storage, model, store and limits; say what to do."""
    checks = []
    for check in _checks(deep=deep):
        checks.append(check)
        if not as_json:
            print_line(f"{check.verdict.value:8} {check.part}: {check.found}")
            if check.advice:
                print_line(f"         → {check.advice}")
    healthy = all(check.verdict is not Verdict.FAILED for check in checks)
    if as_json:
        print_json(
            {
                "healthy": healthy,
                "checks": [
                    {
                        "part": check.part,
                        "verdict": check.verdict.value,
                        "found": check.found,
                        "advice": check.advice or None,
                    }
                    for check in checks
                ],
            }
        )
    if not healthy:
        raise typer.Exit(1)


def _checks(*, deep: bool) -> Iterator[Check]:
    try:
        settings = read_settings(warn=False)
    except ReaktlyError as error:
        yield Check("settings", Verdict.FAILED, error.message, "correct it and run this again")
        return
    yield from _check_settings()
    disk = list(_check_disk(settings))
    yield from disk
    if any(check.verdict is Verdict.FAILED for check in disk):
        return
    from llamaindex_reaktly.registry.migrations import HEAD

    try:
        with open_knowledge_base(settings) as knowledge_base:
            # Opening migrates, so a registry that opens is at the newest schema.
            yield Check("registry", Verdict.OK, f"open, at schema {HEAD}")
            yield _check_model(knowledge_base)
            yield _check_store(knowledge_base)
            if settings.store == "weaviate":
                from llamaindex_reaktly.cli.weaviate_diagnosis import (
                    check_weaviate,
                    remove_orphaned_tenants,
                )

                yield from check_weaviate(settings)
                if deep:
                    bases = knowledge_base.registry.knowledge_bases
                    yield remove_orphaned_tenants(
                        settings, lambda: [info.knowledge_base_id for info in bases.all()]
                    )
            if settings.redis_url is not None:
                yield _check_redis(settings.redis_url.get_secret_value())
            if deep:
                yield _check_registry_file(knowledge_base)
            for info in knowledge_base.registry.knowledge_bases.all():
                yield from _check_knowledge_base(knowledge_base, info)
                if deep:
                    yield from _mend(knowledge_base, info.knowledge_base_id)
    except ReaktlyError as error:
        advice = "check REAKTLY_DATABASE_URL and that the database runs"
        if settings.database_url is None:
            advice = f"check that {settings.data_dir.absolute()} is whole and yours to write"
        yield Check("registry", Verdict.FAILED, error.message, advice)


def _check_registry_file(knowledge_base: "KnowledgeBase") -> Check:
    problems = knowledge_base.registry.database.problems()
    if not problems:
        return Check("registry file", Verdict.OK, "every page is sound")
    return Check(
        "registry file",
        Verdict.FAILED,
        "; ".join(problems),
        "export what can be read, put a back-up in its place, or import into a new one",
    )


def _mend(knowledge_base: "KnowledgeBase", knowledge_base_id: str) -> Iterator[Check]:
    """Compare a base with its index, and mend it: a warning, for it is well soon."""
    from llamaindex_reaktly.integrity import compare, repair

    part = f"index of {knowledge_base_id}"
    try:
        findings = compare(knowledge_base, knowledge_base_id)
        queued = repair(knowledge_base, knowledge_base_id, findings)
    except ReaktlyError as error:
        yield Check(part, Verdict.FAILED, error.message, NEEDS_WORKER)
        return
    again = f"{queued} documents are queued for it; {NEEDS_WORKER}"
    found = [
        (len(findings.missing), "are not in it", again),
        (len(findings.stale), "are in it in another version, or not whole", again),
        (len(findings.orphaned), "are in it alone", "they are removed"),
        (len(findings.stuck), "were left by a worker that fell silent", NEEDS_WORKER),
    ]
    for problem in findings.damage:
        yield Check(part, Verdict.WARNING, problem, f"it is made again: {again}")
    for number, what, advice in found:
        if number:
            yield Check(part, Verdict.WARNING, f"{number} documents {what}", advice)
    if not findings.damage and not any(number for number, _, _ in found):
        yield Check(part, Verdict.OK, "holds what the registry says")


def _check_settings() -> Iterator[Check]:
    from llamaindex_reaktly.settings import unknown_variables, variables_in_use

    unknown = unknown_variables(variables_in_use())
    for sentence in unknown:
        yield Check("settings", Verdict.WARNING, sentence, "rename or remove it")
    if not unknown:
        yield Check("settings", Verdict.OK, "all are known and valid")


def _check_disk(settings: "Settings") -> Iterator[Check]:
    place = settings.data_dir.absolute()
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        yield Check(
            "data directory",
            Verdict.FAILED,
            f"{place} cannot be written: {error.strerror}",
            "give this user the right to write there, or set REAKTLY_DATA_DIR",
        )
        return
    yield Check("data directory", Verdict.OK, f"{place} can be written")
    if kind := network_file_system(place):
        yield Check(
            "file system",
            Verdict.WARNING,
            f"{place} is on a network file system ({kind}), on which SQLite may lose data",
            "use a local disk, or PostgreSQL (REAKTLY_DATABASE_URL) and Weaviate (REAKTLY_STORE)",
        )
    free, kept = shutil.disk_usage(place).free, settings.free_disk_bytes
    found = f"{free // MIB} MiB free"
    if free < kept:
        advice = f"free some: below {kept // MIB} MiB nothing is accepted"
        yield Check("disk", Verdict.FAILED, found, advice)
    elif free < kept * LOW_DISK_FACTOR:
        advice = f"below {kept // MIB} MiB nothing will be accepted"
        yield Check("disk", Verdict.WARNING, found, advice)
    else:
        yield Check("disk", Verdict.OK, found)


def _check_model(knowledge_base: "KnowledgeBase") -> Check:
    name = knowledge_base.settings.embedder
    try:
        embedder = knowledge_base.embedder(name)
        embedder.embed_query("Is anybody there?")
    except ModelMissing as error:
        return Check("model", Verdict.FAILED, error.message, "run `reaktly model install`")
    except ReaktlyError as error:
        return Check("model", Verdict.FAILED, error.message, "check REAKTLY_EMBEDDER")
    identity = embedder.identity
    return Check("model", Verdict.OK, f"{identity.name}, {identity.dimension} dimensions")


def _check_store(knowledge_base: "KnowledgeBase") -> Check:
    try:
        knowledge_base.store.count("")
    except ReaktlyError as error:
        advice = "if it stays so, `reaktly rebuild` makes the index again"
        if knowledge_base.settings.store == "weaviate":
            advice = "wait while it starts; what else there is to check is said below"
        return Check("store", Verdict.FAILED, error.message, advice)
    return Check("store", Verdict.OK, f"{knowledge_base.settings.store}, open")


def _check_redis(url: str) -> Check:
    from reaktly_api.windows import RedisWindow

    try:
        window = RedisWindow(url)
        with contextlib.closing(window):
            return Check("redis", Verdict.OK, f"{window.version()}, counts for the rate limits")
    except ReaktlyError as error:
        advice = "check REAKTLY_REDIS_URL and that Redis runs: until then nothing is limited"
        return Check("redis", Verdict.FAILED, error.message, advice)


def _check_knowledge_base(
    knowledge_base: "KnowledgeBase", info: "KnowledgeBaseInfo"
) -> Iterator[Check]:
    part = f"knowledge base {info.knowledge_base_id}"
    try:
        info.require(knowledge_base.embedder(info.embedder).identity)
        chunks = knowledge_base.store.count(info.knowledge_base_id).nodes
        languages = knowledge_base.store.languages(info.knowledge_base_id)
    except EmbedderMismatch as error:  # says itself what to do
        yield Check(part, Verdict.FAILED, error.message)
        return
    except ReaktlyError as error:
        yield Check(part, Verdict.FAILED, error.message, "see the model and the store above")
        return
    healthy = True
    if languages and languages[0] != "en" and info.embedder in ENGLISH_EMBEDDERS:
        healthy = False
        yield Check(
            part,
            Verdict.WARNING,
            f"most of it is in {languages[0]!r}, and {info.embedder} was trained on English",
            "searches by meaning will find less here than those by words; try --mode text",
        )
    if chunks > MAX_CHUNKS and knowledge_base.settings.store == "embedded":
        healthy = False
        yield Check(
            part,
            Verdict.WARNING,
            f"{chunks} chunks, and the embedded store is made for some {MAX_CHUNKS}",
            "searches slow down as it grows; keep the index on a Weaviate (REAKTLY_STORE)",
        )
    if healthy:
        yield Check(part, Verdict.OK, f"{chunks} chunks by {info.embedder}")

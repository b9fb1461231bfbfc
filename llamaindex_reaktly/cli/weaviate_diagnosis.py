"""What `reaktly doctor` says of a Weaviate."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from llamaindex_reaktly.cli.checks import Check, Verdict
from llamaindex_reaktly.errors import ReaktlyError

if TYPE_CHECKING:
    from llamaindex_reaktly.settings import Settings

# What the store was measured and tested on; older ones lack what it stands on.
OLDEST_VERSION = (1, 39)
# A tenant takes some 15 files of the server: here it comes near a usual limit of 65,536.
MANY_TENANTS = 4_000


def check_weaviate(settings: "Settings") -> Iterator[Check]:
    """Version, nodes, copies, tenants and locked shards of the server that is set."""
    from llamaindex_reaktly.stores.weaviate_opening import open_weaviate

    store = open_weaviate(settings, lambda _: None)
    try:
        report = store.report()
    except ReaktlyError as error:
        yield Check(
            "weaviate",
            Verdict.FAILED,
            f"{settings.weaviate_url}: {error.message}",
            "check that it runs, REAKTLY_WEAVIATE_URL, REAKTLY_WEAVIATE_GRPC_URL and the key",
        )
        return
    finally:
        store.close()
    version = tuple(int(part) for part in report.version.split(".")[:2] if part.isdigit())
    if version < OLDEST_VERSION:
        yield Check(
            "weaviate",
            Verdict.WARNING,
            f"version {report.version}",
            f"upgrade it to {OLDEST_VERSION[0]}.{OLDEST_VERSION[1]} or newer",
        )
    else:
        yield Check(
            "weaviate",
            Verdict.OK,
            f"version {report.version}, {len(report.nodes)} nodes, {report.tenants} tenants",
        )
    for name, status in sorted(report.nodes.items()):
        if status != "HEALTHY":
            yield Check("weaviate nodes", Verdict.WARNING, f"{name} is {status}", "see its log")
    for one in report.collections:
        wanted = settings.weaviate_replication_factor
        if one.replication_factor != wanted:
            yield Check(
                "weaviate copies",
                Verdict.WARNING,
                f"vectors of {one.model} are kept {one.replication_factor} times, not {wanted}",
                "the factor is set when a collection is made: `reaktly rebuild` under another "
                "REAKTLY_WEAVIATE_PREFIX makes it anew",
            )
        locked = one.shards.total() - one.shards["READY"]
        if locked:
            states = ", ".join(sorted(set(one.shards) - {"READY"}))
            yield Check(
                "weaviate shards",
                Verdict.FAILED,
                f"{locked} tenants are {states}",
                "free its disk, then set the shards READY; ingestion goes on by itself",
            )
    if report.tenants > MANY_TENANTS:
        yield Check(
            "weaviate tenants",
            Verdict.WARNING,
            f"{report.tenants} tenants, of some 15 files each",
            "raise the server's limit of open files (ulimit -n)",
        )

"""`reaktly kb`: the knowledge bases themselves."""

from typing import TYPE_CHECKING, Annotated

import typer

from llamaindex_reaktly.cli.opening import open_knowledge_base, open_registry, read_settings
from llamaindex_reaktly.cli.output import print_json, print_line, print_table, show_time
from llamaindex_reaktly.cli.parameters import AsJson, KnowledgeBaseId
from llamaindex_reaktly.domain import DocumentState

if TYPE_CHECKING:
    from llamaindex_reaktly.registry.knowledge_bases import KnowledgeBaseInfo, SourceCount

app = typer.Typer(help="Knowledge bases: create, list, show, delete.", no_args_is_help=True)

# What the states are called where a person counts documents.
STATE_NAMES = {
    DocumentState.COMPLETED: "searchable",
    DocumentState.QUEUED: "queued",
    DocumentState.PROCESSING: "processing",
    DocumentState.FAILED: "failed",
}


@app.command()
def create(
    knowledge_base_id: KnowledgeBaseId,
    name: Annotated[str, typer.Option(help="A name for people; the id without it.")] = "",
    org: Annotated[str | None, typer.Option(help="The organisation it belongs to.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a knowledge base."""
    settings = read_settings()
    with open_registry(settings) as registry:
        info = registry.knowledge_bases.create(
            knowledge_base_id, embedder=settings.embedder, name=name, organisation=org
        )
    if as_json:
        print_json(_as_json(info))
    else:
        print_line(f"created {info.knowledge_base_id}")


@app.command("list")
def list_knowledge_bases(as_json: AsJson = False) -> None:
    """List the knowledge bases with the number of their documents."""
    with open_registry() as registry:
        bases = [
            (info, registry.knowledge_bases.sources(info.knowledge_base_id))
            for info in registry.knowledge_bases.all()
        ]
    if as_json:
        print_json(
            {
                "knowledgeBases": [
                    {**_as_json(info), "documents": _documents(sources)} for info, sources in bases
                ]
            }
        )
        return
    print_table(
        ("ID", "NAME", "ORGANISATION", "DOCUMENTS", "EMBEDDER", "CREATED"),
        [
            (
                info.knowledge_base_id,
                info.name,
                info.organisation,
                _documents(sources),
                info.embedder,
                show_time(info.created_at),
            )
            for info, sources in bases
        ],
    )


@app.command()
def show(knowledge_base_id: KnowledgeBaseId, as_json: AsJson = False) -> None:
    """Show a knowledge base and its sources, with the documents of each by state."""
    with open_registry() as registry:
        info = registry.knowledge_bases.get(knowledge_base_id)
        counts = registry.knowledge_bases.sources(knowledge_base_id)
    sources = _by_source(counts)
    if as_json:
        print_json({**_as_json(info), "documents": _documents(counts), "sources": sources})
        return
    for label, value in (
        ("id", info.knowledge_base_id),
        ("name", info.name),
        ("organisation", info.organisation or "-"),
        ("embedder", info.embedder),
        ("build", info.embedder_build or "-"),
        ("created", show_time(info.created_at)),
    ):
        print_line(f"{label:16}{value}")
    if sources:
        typer.echo()
        names = list(STATE_NAMES.values())
        print_table(
            ("SOURCE", *(name.upper() for name in names)),
            [(source["integrationId"], *(source[name] for name in names)) for source in sources],
        )


@app.command()
def delete(knowledge_base_id: KnowledgeBaseId, as_json: AsJson = False) -> None:
    """Remove a knowledge base with everything in it."""
    with open_knowledge_base() as knowledge_base:
        knowledge_base.delete_knowledge_base(knowledge_base_id)
    if as_json:
        print_json({"knowledgeBaseId": knowledge_base_id, "status": "deleted"})
    else:
        print_line(f"deleted {knowledge_base_id}")


def _documents(counts: "list[SourceCount]") -> int:
    return sum(count.documents for count in counts if count.state != DocumentState.DELETED)


def _by_source(counts: "list[SourceCount]") -> list[dict[str, object]]:
    from llamaindex_reaktly.knowledge_base import INTEGRATION_PREFIX

    sources: dict[str, dict[str, object]] = {}
    for count in counts:
        if count.state == DocumentState.DELETED:
            continue
        empty: dict[str, object] = {"integrationId": count.source.removeprefix(INTEGRATION_PREFIX)}
        empty |= dict.fromkeys(STATE_NAMES.values(), 0)
        source = sources.setdefault(count.source, empty)
        source[STATE_NAMES[DocumentState(count.state)]] = count.documents
    return list(sources.values())


def _as_json(info: "KnowledgeBaseInfo") -> dict[str, object]:
    return {
        "knowledgeBaseId": info.knowledge_base_id,
        "name": info.name,
        "organisation": info.organisation,
        "embedder": info.embedder,
        "embedderBuild": info.embedder_build,
        "createdAt": info.created_at,
    }

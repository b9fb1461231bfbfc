"""`reaktly keys`: who may call, and what for. None of these needs the index or a model."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from llamaindex_reaktly.cli.opening import open_registry
from llamaindex_reaktly.cli.output import print_json, print_line, print_table, show_time
from llamaindex_reaktly.cli.parameters import AsJson, opaque_id, opaque_ids

if TYPE_CHECKING:
    from llamaindex_reaktly.registry.keys import ApiKey

app = typer.Typer(help="API keys: create, list, show, revoke.", no_args_is_help=True)

EVERY_KNOWLEDGE_BASE = "*"
KeyId = Annotated[str, typer.Argument(metavar="ID", help="Id of the key, as listed.")]


@app.command()
def create(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    knowledge_base: Annotated[
        list[str],
        typer.Option(
            help="A knowledge base that the key reaches; may be repeated; '*' for all.",
            callback=opaque_ids,
        ),
    ],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="What the key opens: iq:import, iq:read, iq:chat, iq:admin; may be repeated. "
            "Without it: the first three."
        ),
    ] = None,
    default_knowledge_base: Annotated[
        str | None,
        typer.Option(help="Used where a request names none.", callback=opaque_id),
    ] = None,
    expires: Annotated[
        datetime | None,
        typer.Option(
            help="When the key ends (UTC); never without it.",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
        ),
    ] = None,
    rate_limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[OPERATION=]LIMIT",
            help="Such as 60/minute, or search=60/minute for one operation, or none; may be "
            "repeated.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it. It is shown this once and kept as a hash."""
    from llamaindex_reaktly.registry.keys import DEFAULT_SCOPES

    rate_limits = _read_rate_limits(rate_limit or [])
    expires_at = None if expires is None else expires.replace(tzinfo=UTC)
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise typer.BadParameter("lies in the past", param_hint="--expires")
    with open_registry() as registry:
        key, token = registry.keys.create(
            name,
            knowledge_bases=knowledge_base,
            scopes=scope or DEFAULT_SCOPES,
            default_knowledge_base=default_knowledge_base,
            expires_at=expires_at,
            rate_limits=rate_limits,
        )
    if as_json:
        print_json({"key": token, **_as_json(key)})
    else:
        typer.echo(token)


@app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List all keys, revoked ones too; never the keys themselves."""
    with open_registry() as registry:
        keys = registry.keys.all()
    if as_json:
        print_json({"keys": [_as_json(key) for key in keys]})
        return
    print_table(
        ("ID", "NAME", "STATE", "SCOPES", "KNOWLEDGE BASES", "CREATED"),
        [
            (
                key.key_id,
                key.name,
                _state(key),
                " ".join(sorted(key.scopes)),
                " ".join(sorted(key.knowledge_bases)),
                show_time(key.created_at),
            )
            for key in keys
        ],
    )


@app.command()
def show(key_id: KeyId, as_json: AsJson = False) -> None:
    """Show what one key may do, and what the knowledge bases that it reaches hold."""
    with open_registry() as registry:
        key = registry.keys.get(key_id)
        every = EVERY_KNOWLEDGE_BASE in key.knowledge_bases
        usage = sorted(registry.usage.of(None if every else key.knowledge_bases).items())
    if as_json:
        held = [
            {"knowledgeBaseId": base, "documents": used.documents, "characters": used.characters}
            for base, used in usage
        ]
        print_json({**_as_json(key), "usage": held})
        return
    limits = [f"{operation}={limit}" for operation, limit in sorted(key.rate_limits.items())]
    for label, value in (
        ("id", key.key_id),
        ("name", key.name),
        ("state", _state(key)),
        ("scopes", " ".join(sorted(key.scopes))),
        ("knowledge bases", " ".join(sorted(key.knowledge_bases))),
        ("default", key.default_knowledge_base or "-"),
        ("rate limits", " ".join(limits) or "-"),
        ("created", show_time(key.created_at)),
        ("expires", show_time(key.expires_at)),
        ("revoked", show_time(key.revoked_at)),
    ):
        print_line(f"{label:16}{value}")
    for base, used in usage:
        print_line(f"{'usage':16}{base}: {used.documents} documents, {used.characters} characters")


@app.command()
def revoke(key_id: KeyId, as_json: AsJson = False) -> None:
    """End a key at once and for good."""
    with open_registry() as registry:
        key = registry.keys.revoke(key_id)
    if as_json:
        print_json(_as_json(key))
    else:
        print_line(f"revoked {key.key_id} ({key.name})")


def _read_rate_limits(options: list[str]) -> dict[str, str]:
    from reaktly_api.rate_limits import read_rule

    try:
        return dict(map(read_rule, options))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--rate-limit") from None


def _state(key: "ApiKey") -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= datetime.now(UTC):
        return "expired"
    return "active"


def _as_json(key: "ApiKey") -> dict[str, object]:
    return {
        "keyId": key.key_id,
        "name": key.name,
        "state": _state(key),
        "scopes": sorted(key.scopes),
        "knowledgeBases": sorted(key.knowledge_bases),
        "defaultKnowledgeBase": key.default_knowledge_base,
        "rateLimits": dict(key.rate_limits),
        "createdAt": key.created_at,
        "expiresAt": key.expires_at,
        "revokedAt": key.revoked_at,
    }

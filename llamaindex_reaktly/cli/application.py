"""The commands under their names, and what becomes of an error that reaches the top."""

import errno

import typer
from typer.core import TyperGroup

from llamaindex_reaktly.cli import (
    diagnosis,
    documents,
    exchanging,
    ingesting,
    keys,
    knowledge_bases,
    mcp,
    model,
    searching,
    serving,
    standing,
    working,
)
from llamaindex_reaktly.errors import ReaktlyError


class CommandGroup(TyperGroup):
    """Turns errors raised on purpose into one sentence on stderr and exit code 1."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]  # it is one here
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ReaktlyError as error:
            sentence = error.message
        except OSError as error:
            if error.errno == errno.EPIPE:  # somebody reads no further: typer's business
                raise
            place = f": {error.filename}" if error.filename else ""
            sentence = f"{error.strerror or type(error).__name__}{place}"
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except Exception as error:  # noqa: BLE001 - the outermost handler
            sentence = _log_bug(error)
        typer.echo(f"reaktly: {sentence}", err=True)
        raise typer.Exit(1)


def _log_bug(error: Exception) -> str:
    """Log where it happened, without the error's own words, which may quote content."""
    import structlog

    from llamaindex_reaktly.logs import configure_logging

    if not structlog.is_configured():
        configure_logging()
    structlog.get_logger(__name__).error("command_failed", exc_info=error)
    return f"failed unexpectedly ({type(error).__name__}); the log above says where"


app = typer.Typer(
    name="reaktly",
    cls=CommandGroup,
    help="A self-hosted knowledge base for AI assistants.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command("serve")(serving.serve)
app.command("worker")(working.worker)
app.command("mcp")(mcp.mcp)
app.add_typer(keys.app, name="keys")
app.add_typer(knowledge_bases.app, name="kb")
app.command("ingest")(ingesting.ingest)
app.command("delete")(documents.delete)
app.command("search")(searching.search)
app.command("ask")(searching.ask)
app.command("status")(standing.status)
app.command("retry")(documents.retry)
app.command("rebuild")(documents.rebuild)
app.command("export")(exchanging.export)
app.command("import")(exchanging.import_)
app.add_typer(model.app, name="model")
app.command("doctor")(diagnosis.doctor)

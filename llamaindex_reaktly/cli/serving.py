"""`reaktly serve`."""

from typing import Annotated

import typer

from llamaindex_reaktly.cli.opening import read_settings, traced


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [REAKTLY_HOST].")] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port; 0 picks a free one [REAKTLY_PORT]."),
    ] = None,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Start no ingestion worker.")
    ] = False,
) -> None:
    """Serve the API, with its ingestion worker in a process of its own."""
    settings = read_settings(host=host, port=port)
    from llamaindex_reaktly.cli.server import run_server

    with traced():
        run_server(settings, workers=0 if no_worker else settings.workers)

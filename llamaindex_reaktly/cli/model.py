"""`reaktly model`: the local model."""

import typer

from llamaindex_reaktly.cli.opening import read_settings
from llamaindex_reaktly.cli.output import print_json, print_line
from llamaindex_reaktly.cli.parameters import AsJson

LOCAL_MODEL = "minilm"

app = typer.Typer(help="The local embedding model.", no_args_is_help=True)


@app.callback()
def model() -> None:
    """The local embedding model."""


@app.command()
def install(as_json: AsJson = False) -> None:
    """Fetch and build the local model where it isn't there; says where it is."""
    settings = read_settings()
    from llamaindex_reaktly.embeddings.install import install_model
    from llamaindex_reaktly.knowledge_base import models_directory

    path = install_model(models_directory(settings) / LOCAL_MODEL)
    if as_json:
        print_json({"model": LOCAL_MODEL, "path": str(path)})
    else:
        print_line(f"{LOCAL_MODEL} is in {path}")

"""Opening what a command works on: the settings, the registry, the knowledge base."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import typer

from llamaindex_reaktly.errors import ConfigurationError

if TYPE_CHECKING:
    from llamaindex_reaktly.knowledge_base import KnowledgeBase
    from llamaindex_reaktly.registry.registry import Registry
    from llamaindex_reaktly.settings import Settings


def read_settings(*, warn: bool = True, **overrides: object) -> "Settings":
    """Read the settings, set up logging, and `warn` of variables that set nothing."""
    from llamaindex_reaktly.logs import configure_logging
    from llamaindex_reaktly.settings import load_settings, unknown_variables, variables_in_use

    settings = load_settings(**overrides)
    configure_logging(settings.log_format, settings.log_level)
    for sentence in unknown_variables(variables_in_use()) if warn else ():
        typer.echo(f"warning: {sentence}", err=True)
    return settings


@contextmanager
def traced(*, warn: bool = True) -> Iterator[None]:
    """Send spans to the collector that the standard variables name, if they name one.

    Where that cannot be, a sentence says why, and the work goes on without.
    """
    from llamaindex_reaktly.settings import complete_opentelemetry_variables
    from llamaindex_reaktly.tracing import is_wanted, start_tracing

    complete_opentelemetry_variables()
    with ExitStack() as stack:
        try:
            if is_wanted(os.environ):
                stack.enter_context(start_tracing())
        except ConfigurationError as error:
            if warn:
                typer.echo(f"warning: {error.message}", err=True)
        yield


@contextmanager
def open_registry(settings: "Settings | None" = None) -> "Iterator[Registry]":
    """The registry alone: for commands that need neither the index nor a model."""
    settings = settings or read_settings()
    from llamaindex_reaktly.registry.registry import Registry

    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with _explained_opening():
        registry = Registry(settings.registry_url)
    try:
        yield registry
    finally:
        registry.close()


@contextmanager
def open_knowledge_base(
    settings: "Settings | None" = None, *, take_over: bool = False
) -> "Iterator[KnowledgeBase]":
    """The whole core on the data directory."""
    settings = settings or read_settings()
    from llamaindex_reaktly.knowledge_base import KnowledgeBase

    with _explained_opening():
        knowledge_base = KnowledgeBase(settings, take_over=take_over)
    with knowledge_base:
        yield knowledge_base


@contextmanager
def _explained_opening() -> Iterator[None]:
    from sqlalchemy.exc import ArgumentError

    try:
        yield
    except ArgumentError:
        raise ConfigurationError(
            "REAKTLY_DATABASE_URL: must be a database URL such as "
            "postgresql+psycopg://user@host/name, or unset"
        ) from None
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"REAKTLY_DATABASE_URL: its driver {error.name!r} is not installed"
        ) from None

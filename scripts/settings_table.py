"""Writes docs/reference/settings.md from the settings themselves, or checks it.

Usage: python -m scripts.settings_table [--check]
"""

import sys
import types
import typing
from pathlib import Path

from annotated_types import BaseMetadata, Ge, Gt, Le, Lt
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from llamaindex_reaktly.settings import PREFIX, Settings

PAGE = Path("docs/reference/settings.md")
HEADER = """\
# Settings

Environment variables, or lines of a `.env` file in the working directory; the
environment wins, and the command line's options win over both. They are read once,
at start. A wrong value stops the start with a sentence that names the variable; an
unknown `REAKTLY_` name is a warning with the nearest known one. This page is written
by `python -m scripts.settings_table` from the code.

| variable | default | values | meaning |
|---|---|---|---|
"""
WORDS = {bool: "`true`, `false`", int: "whole number", float: "number", str: "text", Path: "path"}
SIGNS = {Ge: "≥", Gt: ">", Le: "≤", Lt: "<"}


def page() -> str:
    """The whole page as it should be."""
    rows = (_row(name, field) for name, field in Settings.model_fields.items())
    return HEADER + "".join(rows)


def _row(name: str, field: FieldInfo) -> str:
    cells = (f"`{_variable(name, field)}`", _default(field), _values(field), field.description)
    return "| " + " | ".join((cell or "").replace("|", "\\|") for cell in cells) + " |\n"


def _variable(name: str, field: FieldInfo) -> str:
    if isinstance(field.validation_alias, str):
        return field.validation_alias.upper()
    return (PREFIX + name).upper()


def _default(field: FieldInfo) -> str:
    default = field.default
    if field.default_factory is not None:
        return "by machine"
    if default is None or default == () or default == {}:
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default}`"


def _values(field: FieldInfo) -> str:
    bounds = [_bound(mark) for mark in field.metadata if isinstance(mark, BaseMetadata)]
    return ", ".join([_type(field.annotation), *filter(None, bounds)])


def _bound(mark: BaseMetadata) -> str:
    for kind, sign in SIGNS.items():
        if isinstance(mark, kind):
            return f"{sign} {getattr(mark, kind.__name__.lower())}"
    return ""


def _type(annotation: object) -> str:
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(one) for one in arguments if one is not type(None))
    if origin is tuple:
        return "list, separated by commas"
    if annotation is SecretStr:
        return "secret text"
    if isinstance(annotation, type) and annotation in WORDS:
        return WORDS[annotation]
    return "text"


def main() -> None:
    """Write the page, or exit 1 when `--check` finds another one."""
    if sys.argv[1:] == ["--check"]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
            sys.exit(f"{PAGE} is out of step: run python -m scripts.settings_table")
        print("The settings table is current.")
        return
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()

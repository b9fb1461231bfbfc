"""Writes docs/reference/errors.md from the tree of errors and the dialects, or checks it.

Usage: python -m scripts.error_table [--check]
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from llamaindex_reaktly import errors
from llamaindex_reaktly.errors import ReaktlyError
from reaktly_api import envelopes
from reaktly_api.dialects import QUANT, SMARTTALK

PAGE = Path("docs/reference/errors.md")
HEADER = """\
# Errors

One tree of errors, one status for each, and an envelope a dialect. The prefix of a path tells
the dialect, for paths that do not exist too.

| dialect | envelope |
|---|---|
| Reaktly | `{"statusCode", "message", "error"}`; with `field` in a 400, with `errors` \
where every item of a batch was refused, with `candidates` in a 409, with `parts` in the 503 of \
`/ready` |
| Quant Search | `{"error": {"code", "message"}}`; with `errors` where every page was refused |
| AI SmartTalk | `{"success": false, "error": {"code", "message"}}`; with `documents` \
where every document was refused |
| Inkeep | `{"error": {"message", "type", "param", "code"}}`; `param` names the field in a 400 |

Every answer carries `x-request-id`. A 401 carries `WWW-Authenticate`, a 405 `Allow`, a 429
`Retry-After` and `RateLimit-*`. Messages are for people and may change; a 400 begins with the
name of the field, the header, or the word `body`. This page is written by
`python -m scripts.error_table` from the code.

| status | what happened | Reaktly `error` | Quant Search `code` | AI SmartTalk `code` \
| Inkeep `type`, `code` |
|---|---|---|---|---|---|
"""
# Those that a word alone does not make.
MADE: dict[type[ReaktlyError], Callable[[], ReaktlyError]] = {
    errors.InvalidRequest: lambda: errors.InvalidRequest("", field="body"),
    errors.RateLimited: lambda: errors.RateLimited("", retry_after=1),
}
# It stops the start, and is nobody's answer.
NOT_ANSWERED = {errors.ConfigurationError}


def page() -> str:
    """The whole page as it should be."""
    return HEADER + "".join(f"| {' | '.join(row)} |\n" for row in sorted(_rows(ReaktlyError)))


def _rows(kind: type[ReaktlyError], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """A row for each kind of error that reads unlike the one that it is a kind of."""
    for one in kind.__subclasses__():
        if one.__module__ != errors.__name__ or one in NOT_ANSWERED:
            continue
        words = _words(MADE.get(one, lambda one=one: one(""))())
        if words != above:
            status, *rest = words
            yield status, (one.__doc__ or "").partition("\n")[0], *rest
        yield from _rows(one, words)


def _words(error: ReaktlyError) -> tuple[str, ...]:
    code = error.error_code
    concealed = QUANT.worded(error)
    status = str(code.status)
    if concealed.error_code is not code:
        status += f" ({concealed.error_code.status} in Quant Search and AI SmartTalk)"
    openai = envelopes.inkeep(error)["error"]
    return (
        status,
        code.phrase,
        f"`{envelopes.quant(concealed)['error']['code']}`",
        f"`{envelopes.smarttalk(SMARTTALK.worded(error))['error']['code']}`",
        f"`{openai['type']}`, `{openai['code']}`",
    )


def main() -> None:
    """Write the page, or exit 1 when `--check` finds another one."""
    if sys.argv[1:] == ["--check"]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
            sys.exit(f"{PAGE} is out of step: run python -m scripts.error_table")
        print("The error table is current.")
        return
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()

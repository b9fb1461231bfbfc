"""Runs what the pages show: `console` and `python` blocks of the README and of docs/.

In a `console` block, lines after `$ ` are commands (`> ` continues one) and the others
are what they print: each must appear in the output, in order; `...` stands for
anything. The commands of a page run in one shell, at the root of the repository, with
a data directory of their own. `make` lines are only checked against the Makefile: the
continuous integration runs these verbs. The `python` blocks of a page are one program.

A block after the comment `<!-- not run: reason -->` is left out.

Usage: python -m scripts.check_docs [PAGE...]
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

TIME_LIMIT = 180
SHOWN_PORT = 8000
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: .+ -->\n\Z")
# Other languages show something; these are there to be run.
RUN = ("console", "python")
SHELLS = ("bash", "sh", "shell", "zsh")
MARK = "-- end of command"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; `line` is where it starts."""

    page: Path
    line: int
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a `console` block with what it should print."""

    line: int
    text: str
    prints: tuple[str, ...]


class DocsWrong(Exception):
    """A page shows something that does not work; the message says where and what."""


def blocks_of(page: Path) -> Iterator[Block]:
    """The blocks of a page that are to be run."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        language = match[1]
        if language in SHELLS:
            raise DocsWrong(f"{page}:{line}: write shell commands as a console block")
        if language in RUN and not NOT_RUN.search(text[: match.start()]):
            yield Block(page, line, language, match[2])


def commands_of(block: Block) -> list[Command]:
    """The commands of a `console` block, each with the lines that follow it."""
    found: list[tuple[int, list[str], list[str]]] = []
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        if line.startswith("$ "):
            found.append((number, [line[2:]], []))
        elif not found:
            raise DocsWrong(f"{block.page}:{number}: a console block starts with a command: $ ...")
        elif line.startswith("> ") and not found[-1][2]:
            found[-1][1].append(line[2:])
        elif line.strip():
            found[-1][2].append(line)
    return [Command(number, "\n".join(text), tuple(prints)) for number, text, prints in found]


def run_console(page: Path, commands: Sequence[Command], environment: dict[str, str]) -> None:
    """Run a page's commands in one shell, and compare what they print."""
    verbs = set(re.findall(r"^([a-z][a-z-]*):", Path("Makefile").read_text("utf-8"), re.MULTILINE))
    script = ["set -euo pipefail"]
    for command in commands:
        if command.text.startswith("make "):
            unknown = [word for word in command.text.split()[1:2] if word not in verbs]
            if unknown:
                raise DocsWrong(f"{page}:{command.line}: make has no verb {unknown[0]}")
        else:
            script.append(with_port(command.text, environment))
        script.append(f"echo; echo '{MARK} {command.line}'")
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        shell = subprocess.Popen(
            ["bash", "-c", "\n".join(script)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            shell.wait(TIME_LIMIT)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _stop_group(shell.pid)
        shell.wait()
        output.seek(0)
        printed = output.read()
    for command in commands:
        part, mark, rest = printed.partition(f"\n{MARK} {command.line}\n")
        if not mark:
            raise DocsWrong(f"{page}:{command.line}: failed: {command.text}\n{printed[-3000:]}")
        _compare(page, command, part)
        printed = rest


def with_port(text: str, environment: dict[str, str]) -> str:
    """The command as written, unless the shown port is taken on this machine."""
    return text.replace(f":{SHOWN_PORT}", f":{environment['REAKTLY_PORT']}")


def _compare(page: Path, command: Command, printed: str) -> None:
    lines = iter(printed.splitlines())
    for wanted in command.prints:
        pattern = ".*".join(re.escape(part) for part in wanted.split("..."))
        if not any(re.fullmatch(pattern, line.rstrip()) for line in lines):
            raise DocsWrong(
                f"{page}:{command.line}: {wanted!r} is not printed (in order) by "
                f"{command.text}\nIt prints:\n{printed[-3000:]}"
            )


def _stop_group(group: int) -> None:
    """Ask what a page left in the background to stop, then insist."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, sign)
            if sign is signal.SIGTERM:
                _wait_for_group(group)


def _wait_for_group(group: int) -> None:
    subprocess.run(
        ["bash", "-c", f"for _ in {{1..100}}; do kill -0 -- -{group} || exit 0; sleep .1; done"],
        stderr=subprocess.DEVNULL,
        check=False,
    )


def run_python(blocks: Sequence[Block], folder: Path, environment: dict[str, str]) -> None:
    """Run a page's Python blocks as one program, in a folder of its own."""
    page = blocks[0].page
    program = folder / "program.py"
    program.write_text("\n".join(block.text for block in blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, program],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )
    if done.returncode:
        raise DocsWrong(f"{page}: its Python fails:\n{done.stdout}{done.stderr}")


def free_port() -> int:
    """The port that the pages show when it is free, else another one."""
    for port in (SHOWN_PORT, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise DocsWrong("this machine has no free port")


def check_page(page: Path) -> int:
    """Run all that a page shows; how many blocks that was. Raises `DocsWrong`."""
    blocks = list(blocks_of(page))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("REAKTLY_", "MAKE"))},
            "REAKTLY_DATA_DIR": str(folder / "data"),
            "REAKTLY_PORT": str(free_port()),
        }
        commands = [c for b in blocks if b.language == "console" for c in commands_of(b)]
        if any("curl" in command.text for command in commands) and not shutil.which("curl"):
            raise DocsWrong(f"{page} shows curl, which is not installed here")
        if commands:
            run_console(page, commands, environment)
        programs = [block for block in blocks if block.language == "python"]
        if programs:
            run_python(programs, folder, environment)
    return len(blocks)


def main() -> None:
    """Check the named pages, or all; exit 1 at the first that is wrong."""
    names = [Path(name) for name in sys.argv[1:]]
    pages = names or [
        Path("README.md"),
        Path("CONTRIBUTING.md"),
        *sorted(Path("docs").rglob("*.md")),
    ]
    try:
        for page in pages:
            blocks = check_page(page)
            if blocks:
                print(f"{page}: {blocks} blocks run", flush=True)
    except DocsWrong as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

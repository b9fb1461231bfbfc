"""The samples of the vendors' pages: read from the page, repaired, run, and looked at.

A sample is run as it was published but for its repairs, and each repair must find what
it is there for: a page that changes is noticed.
"""

import http.client
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.recorder import Exchange, Recorder

Repairs = Mapping[str, str]

RUN_WITHIN = 30


class Samples:
    """The samples of one page."""

    def __init__(self, page: Path, recorder: Recorder, directory: Path) -> None:
        self._lines = page.read_text(encoding="utf-8").splitlines()
        self._recorder = recorder
        self._directory = directory

    def text(self, first: int, last: int, repairs: Repairs | None = None) -> str:
        """The lines from `first` to `last`, repaired."""
        text = "\n".join(self._lines[first - 1 : last]) + "\n"
        for old, new in (repairs or {}).items():
            assert old in text, f"a repair looks in vain for {old!r}"
            text = text.replace(old, new)
        return text

    def json(self, first: int, last: int, repairs: Repairs | None = None) -> Any:
        """The JSON object in these lines; what stands around it is left out."""
        text = self.text(first, last, repairs)
        return json.loads(text[text.index("{") : text.rindex("}") + 1])

    def curl(self, text: str) -> Exchange:
        """Run a command of the shell."""
        return self._run("sh", "-eu", "-c", text)

    def node(self, text: str, environment: Mapping[str, str] | None = None) -> Exchange:
        """Run a JavaScript module."""
        return self._run("node", self._file("sample.mjs", text), environment=environment)

    def python(self, text: str) -> Exchange:
        """Run a Python program."""
        return self._run(sys.executable, self._file("sample.py", text))

    def php(self, text: str) -> Exchange:
        """Run a PHP program."""
        return self._run("php", self._file("sample.php", text))

    def request(self, method: str, path: str, body: object, headers: Mapping[str, str]) -> Exchange:
        """Send what a page shows as a bare request."""
        connection = http.client.HTTPConnection("127.0.0.1", self._recorder.port, timeout=30)
        try:
            connection.request(method, path, json.dumps(body), dict(headers))
            connection.getresponse().read()
        finally:
            connection.close()
        return self._recorded()

    def _run(self, program: str, *arguments: str, environment: Repairs | None = None) -> Exchange:
        found = shutil.which(program)
        if found is None:
            pytest.skip(f"{program} is not installed: its sample was not run")
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        done = subprocess.run(
            [found, *arguments],
            cwd=self._directory,
            env=inherited | dict(environment or {}),
            capture_output=True,
            text=True,
            timeout=RUN_WITHIN,
        )
        assert done.returncode == 0, done.stderr
        return self._recorded()

    def _recorded(self) -> Exchange:
        (exchange,) = self._recorder.exchanges
        self._recorder.exchanges.clear()
        return exchange

    def _file(self, name: str, text: str) -> str:
        path = self._directory / name
        path.write_text(text, encoding="utf-8")
        return str(path)


def indented(text: str) -> str:
    """A program whose functions lost their indentation, with it: from `def` to `return`."""
    inside = False
    lines = []
    for line in text.splitlines():
        lines.append("    " + line if inside else line)
        inside = line.startswith("def ") or (inside and not line.startswith("return "))
    return "\n".join(lines) + "\n"


def differences(
    answer: object, documented: object, *, ours: Collection[str] = (), path: str = ""
) -> Iterator[str]:
    """How an answer's fields and their types are not those of the documented example.

    `ours` are the paths (`sources[].url`) that may be there as well. Of a documented list the
    first entry stands for all.
    """
    if type(answer) is not type(documented) and not _are_numbers(answer, documented):
        yield f"{path or 'the answer'} is {answer!r}, and {documented!r} is documented"
    elif isinstance(answer, dict) and isinstance(documented, dict):
        paths = {name: f"{path}.{name}".lstrip(".") for name in {**answer, **documented}}
        for name, place in paths.items():
            if name not in answer:
                yield f"{place} is missing"
            elif name in documented:
                yield from differences(answer[name], documented[name], ours=ours, path=place)
            elif place not in ours:
                yield f"{place} is not documented"
    elif isinstance(answer, list) and isinstance(documented, list) and documented:
        for entry in answer:
            yield from differences(entry, documented[0], ours=ours, path=f"{path}[]")


def _are_numbers(*values: object) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)

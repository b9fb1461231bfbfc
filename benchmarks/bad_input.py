"""Hostile and borderline requests: what is refused, what is accepted, and at what cost.

    python -m benchmarks.bad_input [--verbose]

Runs the cases of the evaluation data's `badinput/index.json` against `/ingest`,
`/search` and `/documents` of a server on the loopback interface, and those with bodies
against the other dialects too (`bad_dialects`). Their bodies use names
that are not ours: those are exchanged in the bytes, so that what is wrong with a body
stays wrong. HTML files are decoded by the public charset function and pushed as
`text/html`. Cases for a fetcher and for MCP are counted and left out.
"""

import argparse
import contextlib
import functools
import gzip
import http.client
import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks.bad_bodies import ingest_body, search_body
from benchmarks.bad_dialects import INGESTING, SEARCHING, Endpoint, wrong_with
from benchmarks.evaluation_sets import evaluation_file
from benchmarks.results import Result, show
from benchmarks.server import BenchmarkServer, Client, running_server
from llamaindex_reaktly.content.charset import decode_html

MOST_SECONDS = 30.0
# A megabyte of text is a thousand chunks and more, each some 40 ms of a processor.
SETTLED_WITHIN = 300.0
# A raw request that promises more than it sends may be waited for, not for ever.
RAW_SECONDS = 10.0
MOST_RESULTS = 100
# The decompressed body may grow to 32 MiB before it is refused; some copies of that are
# what a request may cost, 256 MB or 2 GB of it are not.
MOST_GROWTH_MIB = 160.0
LEFT_OUT = ("ingest_url", "mcp")
SEARCH_BASE = "bad-search"
OTHER_BASE = "bad-other"
OTHER_DIALECTS_BASE = "bad-others"
INTEGRATION = "bad"

Case = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer; `status` is 0 where the server hung up or let the time pass."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    def json(self) -> Any:
        """The body's JSON; None where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass(slots=True)
class Findings:
    """What was wrong, by kind: each a case with a sentence."""

    faults: dict[str, list[str]] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    longest: tuple[float, str] = (0.0, "")

    def add(self, kind: str, case: Case, sentence: str) -> None:
        """Note a fault."""
        self.faults.setdefault(kind, []).append(f"{Path(case['file']).name}: {sentence}")

    def note(self, case: Case, reply: Reply) -> None:
        """Count a reply."""
        self.statuses[reply.status] += 1
        self.slowest = max(self.slowest, (reply.seconds, Path(case["file"]).name))


class Runner:
    """Runs cases against one server."""

    def __init__(self, server: BenchmarkServer, client: Client, folder: Path) -> None:
        self._port = server.port
        self._key = server.key
        self._client = client
        self._folder = folder
        self._surroundings = server.data_dir.parent
        self.findings = Findings()

    def prepare(self) -> None:
        """Make the base that is searched, and another that no search may show."""
        items = [
            {
                "integrationId": INTEGRATION,
                "knowledgeBaseId": base,
                "externalId": base,
                "sourceType": "PAGE",
                "data": {
                    "title": "Backups",
                    "content": "Run a backup of the database every night.",
                },
            }
            for base in (SEARCH_BASE, OTHER_BASE)
        ]
        self._client.ingest(items)

    def run(self, case: Case) -> None:
        """Run one case and judge what came back."""
        base = "bad-" + Path(case["file"]).stem
        raw = (self._folder / case["file"]).read_bytes()
        around = self._files_around()
        match case["endpoint_kind"]:
            case "get_by_id":
                path = f"/documents/{quote(case['path_id'], safe='')}"
                self._judge(case, self._send("GET", path, b"", {}))
            case "search":
                reply = self._post(case, "/search", search_body(raw, SEARCH_BASE))
                self._judge(case, reply)
                self._judge_search(case, reply)
                self._try_others(case, SEARCHING, SEARCH_BASE, raw)
            case "ingest_html":
                text = decode_html(raw, case["content_type"])
                body = json.dumps(_page(base, case, text)).encode()
                case = case | {"content_type": "application/json"}
                self._ingest(case, base, body, text)
                plain = {"id": case["file"], "url": "/a", "title": "A page", "content": text}
                others = json.dumps(plain | {"content_type": "text/html"}).encode()
                self._try_others(case, INGESTING, OTHER_DIALECTS_BASE, others)
            case "ingest_json":
                body = _encoded(case, raw, lambda plain: ingest_body(plain, base))
                self._ingest(case, base, body, None)
                self._try_others(case, INGESTING, OTHER_DIALECTS_BASE, raw)
        if self._files_around() != around:
            self.findings.add("files outside the data directory", case, "made one")

    def _try_others(self, case: Case, endpoints: Iterable[Endpoint], base: str, raw: bytes) -> None:
        """The same to the other dialects: no failure of ours, and a refusal in their words."""
        for endpoint in endpoints:
            body = _encoded(case, raw, functools.partial(endpoint.body, base=base))
            path = endpoint.path.replace("{base}", base)
            reply = self._post(case, path, body, endpoint.method)
            self.findings.note(case, reply)
            kind = f"{endpoint.method} {path}"
            if reply.status >= 500:
                self.findings.add(f"5xx of {kind}", case, str(reply.status))
            elif reply.seconds > MOST_SECONDS:
                self.findings.add(f"slow {kind}", case, f"{reply.seconds:.1f} s")
            elif reply.status >= 400 and "x-request-id" in reply.headers:
                fault = wrong_with(endpoint.dialect, reply.status, reply.json())
                if fault is not None:
                    said = reply.body[:200].decode(errors="replace")
                    self.findings.add(f"{kind}: {fault}", case, f"{reply.status} {said}")

    def _ingest(self, case: Case, base: str, body: bytes, text: str | None) -> None:
        reply = self._post(case, "/ingest", body)
        self._judge(case, reply)
        if reply.status != 200:
            return
        self._wait_until_settled(case, base)
        listed = self._client.get(f"/documents?knowledgeBaseId={base}")["documents"]
        if len(listed) != 1:
            self.findings.add("stored other than once", case, f"{len(listed)} documents")
            return
        self._judge_text(case, listed[0]["documentId"])
        self._judge_round_trip(case, listed[0], body, text)

    def _wait_until_settled(self, case: Case, base: str) -> None:
        started = time.perf_counter()
        while any(self._client.jobs(base, status) for status in ("queued", "processing")):
            if time.perf_counter() - started > SETTLED_WITHIN:
                self.findings.add("not settled", case, f"within {SETTLED_WITHIN:.0f} s")
                return
            time.sleep(0.02)
        taken = time.perf_counter() - started
        self.findings.longest = max(self.findings.longest, (taken, Path(case["file"]).name))

    def _judge(self, case: Case, reply: Reply) -> None:
        self.findings.note(case, reply)
        classes = {case["expected"], *case.get("also_acceptable", ())}
        if reply.status >= 500:
            self.findings.add("5xx", case, str(reply.status))
        elif reply.status == 0:
            # Hanging up on a request that never ends as announced is a refusal too.
            if "needs_raw_socket_client" not in case.get("checks", ()):
                self.findings.add("no answer", case, f"within {reply.seconds:.0f} s")
        elif f"{reply.status // 100}xx" not in classes:
            message = reply.body[:150].decode(errors="replace")
            self.findings.add("other status than expected", case, f"{reply.status} {message}")
        if reply.seconds > MOST_SECONDS:
            self.findings.add("slow", case, f"{reply.seconds:.1f} s")
        # What the HTTP parser itself refuses never reaches the application.
        if reply.status and "x-request-id" in reply.headers:
            self._judge_envelope(case, reply)

    def _judge_envelope(self, case: Case, reply: Reply) -> None:
        answer = reply.json()
        kind = reply.headers.get("content-type", "").partition(";")[0]
        if kind != "application/json" or not isinstance(answer, dict):
            self.findings.add("not JSON", case, f"{reply.status} {kind}")
        elif reply.status >= 400 and (
            reply.status == 422
            or answer.get("statusCode") != reply.status
            or not {"message", "error"} <= answer.keys()
        ):
            self.findings.add("refused in another form", case, f"{reply.status} {answer}")

    def _judge_search(self, case: Case, reply: Reply) -> None:
        if reply.status != 200:
            return
        results = reply.json()["results"]
        if len(results) > MOST_RESULTS:
            self.findings.add("unbounded results", case, f"{len(results)} results")
        if any(result["externalId"] != SEARCH_BASE for result in results):
            self.findings.add("rows of another base", case, str(results)[:200])

    def _judge_text(self, case: Case, document_id: str) -> None:
        passages = self._client.get(f"/documents/{document_id}/passages")["passages"]
        indexed = " ".join(
            " ".join(" ".join((*passage["headings"], passage["text"])).split())
            for passage in passages
        )
        for must in case.get("indexed_text_must_contain", ()):
            if must not in indexed:
                self.findings.add("must be indexed", case, f"{must!r} is not")
        for must_not in case.get("indexed_text_must_not_contain", ()):
            if must_not in indexed:
                self.findings.add("must not be indexed", case, f"{must_not!r} is")

    def _judge_round_trip(
        self, case: Case, listed: Mapping[str, Any], body: bytes, text: str | None
    ) -> None:
        """What was stored comes back as it was sent, and goes when its own id says so."""
        path = f"/documents/{listed['documentId']}"
        fetched = self._client.get(path)
        if text is None and "content_encoding" not in case:
            sent = json.loads(body.decode("utf-8-sig"))
            text = sent["data"]["content"]
            if fetched["externalId"] != sent["externalId"]:
                self.findings.add("another id", case, fetched["externalId"][:100])
        if text is not None and fetched["content"] != text:
            self.findings.add("other content than sent", case, fetched["content"][:100])
        fields = ("integrationId", "knowledgeBaseId", "externalId")
        payload = json.dumps({name: listed[name] for name in fields}).encode()
        answer = self._send("DELETE", "/ingest", payload, _JSON)
        if answer.json() != {"status": "deleted", "deleted": 1}:
            self.findings.add("not deleted by its id", case, answer.body[:100].decode())
        if self._send("GET", path, b"", {}).status != 404:
            self.findings.add("not deleted by its id", case, "still fetched")

    def _post(self, case: Case, path: str, body: bytes, method: str = "POST") -> Reply:
        headers = {"content-type": case["content_type"]}
        if "content_encoding" in case:
            headers["content-encoding"] = case["content_encoding"]
        return self._send(method, path, body, headers | case.get("headers", {}))

    def _send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """One request on a socket of its own, byte for byte as asked for."""
        names = {name.lower() for name in headers}
        lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", "connection: close"]
        if "authorization" not in names:
            lines.append(f"x-api-key: {self._key}")
        if not names & {"content-length", "transfer-encoding"}:
            lines.append(f"content-length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        raw = bool(names & {"content-length", "transfer-encoding"})
        return _exchange(self._port, method, head + body, RAW_SECONDS if raw else 2 * MOST_SECONDS)

    def _files_around(self) -> set[str]:
        return {path.name for path in self._surroundings.iterdir()}


_JSON = {"content-type": "application/json"}


def _exchange(port: int, method: str, request: bytes, timeout: float) -> Reply:
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        # A server may answer, and hang up, before it has read everything.
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
        response = http.client.HTTPResponse(connection, method=method)
        try:
            response.begin()
            body = response.read()
        except (OSError, http.client.HTTPException):
            return Reply(0, {}, b"", time.perf_counter() - started)
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, headers, body, time.perf_counter() - started)


def _encoded(case: Case, raw: bytes, mapped: Callable[[bytes], bytes]) -> bytes:
    """The case's body with our names; compressed again where it was.

    What unpacks to more than a little is left as it is: it is refused by its size.
    """
    if case.get("content_encoding") != "gzip":
        return mapped(raw)
    if len(raw) > 10_000:
        return raw
    return gzip.compress(mapped(gzip.decompress(raw)))


def _page(base: str, case: Case, text: str) -> dict[str, object]:
    return {
        "integrationId": INTEGRATION,
        "knowledgeBaseId": base,
        "externalId": case["file"],
        "sourceType": "PAGE",
        "data": {"title": "A page", "content": text, "contentType": "text/html"},
    }


def peak_memory(pid: int) -> float:
    """The most that a process ever had in memory, in MiB (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc/{pid}/status has no VmHWM")


def run() -> list[Result]:
    """Run all cases on a server of its own."""
    return results(*observe())


def observe() -> tuple[list[Case], Findings, float]:
    """The cases that were run, what was wrong, and by how many MiB the bombs made it grow."""
    index = evaluation_file("badinput", "index.json")
    cases: list[Case] = json.loads(index.read_text(encoding="utf-8"))
    chosen = [case for case in cases if case["endpoint_kind"] not in LEFT_OUT]
    unlimited = {"REAKTLY_RATE_LIMIT": "none"}
    with running_server(settings=unlimited) as server, server.client() as client:
        runner = Runner(server, client, index.parent)
        runner.prepare()
        bombs = [case for case in chosen if "memory_bounded" in case.get("checks", ())]
        before = peak_memory(server.pid)
        for case in bombs:
            runner.run(case)
        growth = peak_memory(server.pid) - before
        for case in chosen:
            if case not in bombs:
                runner.run(case)
    left_out = Counter(case["endpoint_kind"] for case in cases if case not in chosen)
    print(f"left out: {dict(left_out)}")
    return chosen, runner.findings, growth


def results(cases: Iterable[Case], findings: Findings, growth: float) -> list[Result]:
    """The figures."""
    faults = [f"{kind}: {sentence}" for kind, some in findings.faults.items() for sentence in some]
    statuses = ", ".join(f"{status} x {n}" for status, n in sorted(findings.statuses.items()))
    seconds, slowest = findings.slowest
    settled, longest = findings.longest
    return [
        Result(
            "bad_input.cases",
            "cases tried",
            len(list(cases)),
            "",
            detail=f"{findings.statuses.total()} requests, statuses {statuses}; cases for "
            "fetchers and MCP are left out",
        ),
        Result(
            "bad_input.faults",
            "wrong in any way",
            len(faults),
            "",
            "0",
            not faults,
            "; ".join(faults[:5]),
        ),
        Result(
            "bad_input.slowest",
            "slowest answer",
            seconds,
            "s",
            f"≤ {MOST_SECONDS:.0f} s",
            seconds <= MOST_SECONDS,
            slowest,
        ),
        Result("bad_input.settled", "longest until indexed", settled, "s", detail=longest),
        Result(
            "bad_input.memory",
            "growth of the server by the bombs",
            growth,
            "MiB",
            f"≤ {MOST_GROWTH_MIB:.0f} MiB",
            growth <= MOST_GROWTH_MIB,
        ),
    ]


def main() -> int:
    """Print the figures, and every fault when asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--verbose", action="store_true", help="name every fault")
    verbose = parser.parse_args().verbose
    cases, findings, growth = observe()
    if verbose:
        for kind, some in findings.faults.items():
            print(kind, *some, sep="\n    ")
    return show(results(cases, findings, growth))


if __name__ == "__main__":
    raise SystemExit(main())

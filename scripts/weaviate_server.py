"""A Weaviate of one's own: found, built or pulled, started on free ports, ended by its id.

A binary is taken from `REAKTLY_TEST_WEAVIATE`, the `PATH` or Go's folder of binaries; else
Go builds it, which takes some six minutes once; else a Docker engine runs the published
image. gRPC listens on every interface whatever `--host` says, so a key is always required.
"""

import contextlib
import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from scripts.parent_death import end_with_parent

VERSION = "1.39.0"
IMAGE = f"semitechnologies/weaviate:{VERSION}"
MODULE = f"github.com/weaviate/weaviate/cmd/weaviate-server@v{VERSION}"
BINARY_VARIABLE = "REAKTLY_TEST_WEAVIATE"

BUILT_WITHIN = 1_800.0
READY_WITHIN = 90.0
STOPPED_WITHIN = 30.0
# Binding and letting go says that a port was free, not that it still is.
START_ATTEMPTS = 3


class WeaviateMissing(Exception):
    """There is neither a binary nor anything that could make or run one."""


def find_binary() -> Path | None:
    """The server's program, if it is there already."""
    named = os.environ.get(BINARY_VARIABLE) or shutil.which("weaviate-server")
    if named:
        return Path(named)
    go = shutil.which("go")
    if go is None:
        return None
    folder = subprocess.run(
        [go, "env", "GOPATH"], capture_output=True, text=True, timeout=30, check=True
    ).stdout.strip()
    built = Path(folder, "bin", "weaviate-server")
    return built if built.exists() else None


def build_binary() -> Path:
    """Have Go build the server. Raises `WeaviateMissing` where there is no Go."""
    go = shutil.which("go")
    if go is None:
        raise WeaviateMissing("no Weaviate here: neither its program, nor Go, nor Docker")
    subprocess.run(
        [go, "install", "-trimpath", "-ldflags=-s -w", MODULE],
        env={**os.environ, "CGO_ENABLED": "0"},
        timeout=BUILT_WITHIN,
        check=True,
    )
    built = find_binary()
    assert built is not None
    return built


def docker() -> str | None:
    """The Docker program, where an engine answers it."""
    program = shutil.which("docker")
    if program is None:
        return None
    answer = subprocess.run(
        [program, "info"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=30
    )
    return program if answer.returncode == 0 else None


class WeaviateServer:
    """One server on `data`; `environment` adds to its own. Start it, or enter it.

    The ports stay the same from start to start, as those of a server that is restarted do.
    Where only Docker can run it, it can be stopped and killed, and is frozen by `pause`.
    """

    def __init__(self, data: Path, environment: Mapping[str, str] | None = None) -> None:
        self.data = data
        self.key = secrets.token_urlsafe(24)
        self._additions = dict(environment or {})
        self.ports = _free_ports()
        self._log = data.with_name(data.name + ".log")
        self._process: subprocess.Popen[bytes] | None = None
        self._container: str | None = None
        self._docker: str | None = None
        self._binary = find_binary()
        if self._binary is None:
            self._docker = docker()
            if self._docker is None:
                self._binary = build_binary()

    @property
    def url(self) -> str:
        """Where REST answers."""
        return f"http://127.0.0.1:{self.ports['http']}"

    @property
    def grpc_url(self) -> str:
        """Where gRPC answers."""
        return f"http://127.0.0.1:{self.ports['grpc']}"

    @property
    def settings(self) -> dict[str, str]:
        """The environment that points Reaktly at this server."""
        return {
            "REAKTLY_STORE": "weaviate",
            "REAKTLY_WEAVIATE_URL": self.url,
            "REAKTLY_WEAVIATE_GRPC_URL": self.grpc_url,
            "REAKTLY_WEAVIATE_API_KEY": self.key,
        }

    @property
    def pid(self) -> int:
        """The process that serves."""
        if self._process is None:
            raise AssertionError("the server does not run")
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it is ready."""
        fresh = not self.data.exists()
        self.data.mkdir(parents=True, exist_ok=True)
        for attempt in range(START_ATTEMPTS):
            self.launch()
            if self.wait_until_ready():
                return
            self.stop()
            if fresh and attempt < START_ATTEMPTS - 1:
                self.ports = _free_ports()
        raise AssertionError(f"Weaviate did not get ready: {self.log()[-2000:]}")

    def launch(self) -> None:
        """Start it and return at once."""
        self.data.mkdir(parents=True, exist_ok=True)
        if self._binary is None:
            self._run_container()
            return
        arguments = ["--host", "127.0.0.1", "--port", str(self.ports["http"]), "--scheme", "http"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._binary), *arguments],
                env={**_inherited(), **self._environment(str(self.data)), **self._additions},
                cwd=self.data,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    def wait_until_ready(self) -> bool:
        """Whether it said that it is ready; False when it ended, or never does."""
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            if self._process is not None and self._process.poll() is not None:
                return False
            if self.is_ready():
                return True
            time.sleep(0.05)
        return False

    def is_ready(self) -> bool:
        """What it says of itself just now."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["http"], timeout=2)
        with (
            contextlib.closing(connection),
            contextlib.suppress(OSError, http.client.HTTPException),
        ):
            connection.request("GET", "/v1/.well-known/ready")
            return connection.getresponse().status == http.HTTPStatus.OK
        return False

    def kill(self) -> None:
        """End it as a power cut of the process would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The server stopped in mid-work, and going on afterwards."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def belong_to(self, nodes: "Sequence[WeaviateServer]") -> None:
        """Have it be one of these nodes from its next start on, named as its data is."""
        if self._binary is None:
            raise WeaviateMissing("a cluster on one machine needs Weaviate's program, not Docker")
        self.key = nodes[0].key
        self._additions |= {
            "CLUSTER_HOSTNAME": self.data.name,
            "CLUSTER_JOIN": ",".join(f"127.0.0.1:{node.ports['gossip']}" for node in nodes),
            "RAFT_JOIN": ",".join(f"{node.data.name}:{node.ports['raft']}" for node in nodes),
            "RAFT_BOOTSTRAP_EXPECT": str(len(nodes)),
        }

    def log(self) -> str:
        """What it wrote."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _environment(self, data: str) -> dict[str, str]:
        ports = self.ports
        return {
            "DISABLE_TELEMETRY": "true",
            "PERSISTENCE_DATA_PATH": data,
            "CLUSTER_HOSTNAME": "node1",
            "CLUSTER_IN_LOCALHOST": "true",
            "CLUSTER_ADVERTISE_ADDR": "127.0.0.1",
            "CLUSTER_BIND_ADDR": "127.0.0.1",
            "CLUSTER_GOSSIP_BIND_PORT": str(ports["gossip"]),
            "CLUSTER_DATA_BIND_PORT": str(ports["gossip"] + 1),
            "RAFT_BOOTSTRAP_EXPECT": "1",
            "RAFT_JOIN": f"node1:{ports['raft']}",
            "RAFT_PORT": str(ports["raft"]),
            "RAFT_INTERNAL_RPC_PORT": str(ports["raft"] + 1),
            "GRPC_PORT": str(ports["grpc"]),
            "GO_PROFILING_DISABLE": "true",
            "AUTHENTICATION_APIKEY_ENABLED": "true",
            "AUTHENTICATION_APIKEY_ALLOWED_KEYS": self.key,
            "AUTHENTICATION_APIKEY_USERS": "reaktly",
            "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
            "AUTHORIZATION_ADMINLIST_ENABLED": "true",
            "AUTHORIZATION_ADMINLIST_USERS": "reaktly",
            "AUTOSCHEMA_ENABLED": "false",
            # More would keep every tenant's compactions from each other on small machines.
            "LOG_LEVEL": "warning",
        }

    def _run_container(self) -> None:
        assert self._docker is not None
        environment = {**self._environment("/var/lib/weaviate"), **self._additions}
        # Inside, the ports are the container's own; only the two that are served come out.
        environment["GRPC_PORT"] = "50051"
        self._container = f"reaktly-weaviate-{secrets.token_hex(6)}"
        command = [self._docker, "run", "--detach", "--rm", "--name", self._container]
        for name, value in environment.items():
            command += ["--env", f"{name}={value}"]
        command += ["--user", f"{os.getuid()}:{os.getgid()}"]
        command += ["--volume", f"{self.data.absolute()}:/var/lib/weaviate"]
        for name, inside in (("http", 8080), ("grpc", 50051)):
            command += ["--publish", f"127.0.0.1:{self.ports[name]}:{inside}"]
        command += [IMAGE, "--host", "0.0.0.0", "--port", "8080", "--scheme", "http"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=600)

    def _signal(self, number: signal.Signals) -> None:
        if self._container is not None:
            assert self._docker is not None
            verb = {signal.SIGSTOP: ["pause"], signal.SIGCONT: ["unpause"]}.get(
                number, ["kill", "--signal", number.name]
            )
            command = [self._docker, *verb, self._container]
            subprocess.run(command, check=False, capture_output=True, timeout=60)
        elif self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        self._signal(signal.SIGCONT)
        self._signal(number)
        if self._container is not None:
            assert self._docker is not None
            waiting = [self._docker, "wait", self._container]
            subprocess.run(waiting, check=False, capture_output=True, timeout=STOPPED_WITHIN)
            self._container = None
        if self._process is not None:
            try:
                self._process.wait(STOPPED_WITHIN)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


class WeaviateCluster:
    """Three servers on loopback, each with a copy of everything. Enter it.

    What uses it knows the first node alone. Raises `WeaviateMissing` where only Docker could
    run them.
    """

    def __init__(self, directory: Path) -> None:
        self.nodes = [WeaviateServer(directory / name) for name in ("node1", "node2", "node3")]
        for node in self.nodes:
            node.belong_to(self.nodes)

    @property
    def settings(self) -> dict[str, str]:
        """The environment that points Reaktly at the first node, and has it keep three copies."""
        return self.nodes[0].settings | {
            "REAKTLY_WEAVIATE_REPLICATION_FACTOR": str(len(self.nodes)),
            "REAKTLY_WEAVIATE_CONSISTENCY": "quorum",
        }

    def start(self) -> None:
        """Start all nodes and wait until each is ready: none is, alone."""
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            if not node.wait_until_ready():
                self.stop()
                raise AssertionError(f"{node.data.name} did not get ready: {node.log()[-2000:]}")

    def kill(self) -> None:
        """End all nodes as a power cut would."""
        for node in self.nodes:
            node.kill()

    def stop(self) -> None:
        """End all nodes in good order."""
        for node in self.nodes:
            node.stop()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """All nodes stopped in mid-work, and going on afterwards."""
        with contextlib.ExitStack() as stack:
            for node in self.nodes:
                stack.enter_context(node.frozen())
            yield

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _inherited() -> dict[str, str]:
    """Nothing of ours or of another Weaviate's settings; what a process needs to live."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}


def _free_ports() -> dict[str, int]:
    return {"http": _free(1), "grpc": _free(1), "gossip": _free(2), "raft": _free(2)}


def _free(count: int) -> int:
    """The first of so many consecutive ports that nobody uses."""
    while True:
        with contextlib.ExitStack() as held:
            first = 0
            try:
                for offset in range(count):
                    probe = held.enter_context(socket.socket())
                    probe.bind(("127.0.0.1", first + offset if offset else 0))
                    first = first or probe.getsockname()[1]
            except (OSError, OverflowError):
                continue
            return first


def main() -> None:
    """See that a server can be started, building it if need be; print what will run."""
    if (binary := find_binary()) is not None:
        print(binary)
    elif docker() is not None:
        print(IMAGE)
    else:
        try:
            print(build_binary())
        except WeaviateMissing as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()

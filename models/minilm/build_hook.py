"""Builds the model's files into the wheel: fetch by hash, verify, quantise.

The recipe is that of the main package, loaded by path, so that there is one copy
of it and the build needs none of the main package's dependencies.
"""

import importlib.util
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ModelBuildHook(BuildHookInterface[BuilderConfig]):
    """Adds model.onnx and tokenizer.json to the wheel; the source distribution has neither."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Builds the files. An editable install has nowhere to put them, and is refused."""
        if self.target_name != "wheel":
            return
        if version == "editable":
            raise RuntimeError("reaktly-minilm holds data only: build a wheel and install that")
        weights = self._load("minilm_weights").fetch_weights()
        graph = self._load("minilm_graph").build_graph(weights.safetensors)
        self._folder = tempfile.TemporaryDirectory(prefix="reaktly-minilm-build-")
        for name, content in (("model.onnx", graph), ("tokenizer.json", weights.tokenizer)):
            path = Path(self._folder.name, name)
            path.write_bytes(content)
            build_data["force_include"][str(path)] = f"reaktly_minilm/{name}"

    def finalize(
        self,
        version: str,  # noqa: ARG002 (the names are hatchling's)
        build_data: dict[str, Any],  # noqa: ARG002
        artifact_path: str,  # noqa: ARG002
    ) -> None:
        """Removes the files again; the wheel has them."""
        if self.target_name == "wheel":
            self._folder.cleanup()

    def _load(self, name: str) -> ModuleType:
        root = Path(self.root)
        beside = root.parent.parent / "llamaindex_reaktly" / "embeddings" / f"{name}.py"
        path = beside if beside.is_file() else root / "recipe" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise RuntimeError(f"the build recipe is missing: {path}")
        module = importlib.util.module_from_spec(spec)
        # dataclasses look their module up by name while it is being made.
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

"""Only the LlamaIndex faces load LlamaIndex: importing it costs seconds of processor time."""

import ast
import importlib.util
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import llamaindex_reaktly
import reaktly_api
import reaktly_mcp

# Modules whose classes are LlamaIndex components, or that run them. Nothing else may import
# these while it is itself imported, but the worker, which has a process of its own.
FACES = (
    "llamaindex_reaktly.answers.reaktly_query_engine",
    "llamaindex_reaktly.content.html_cleaner",
    "llamaindex_reaktly.embeddings.minilm_embedding",
    "llamaindex_reaktly.extractors.filler",
    "llamaindex_reaktly.ingestion.parsing",
    "llamaindex_reaktly.node_parser.section_node_parser",
    "llamaindex_reaktly.readers.documents",
    "llamaindex_reaktly.readers.quant_pages_reader",
    "llamaindex_reaktly.readers.reaktly_reader",
    "llamaindex_reaktly.retrieval.reaktly_retriever",
    "llamaindex_reaktly.stores.llama_index_nodes",
    "llamaindex_reaktly.stores.sqlite_vector_store",
    "llamaindex_reaktly.stores.weaviate_vector_store",
)
WORKER = "llamaindex_reaktly.ingestion."

PROBE = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    if "llama_index" in sys.modules:
        print(json.dumps(name))
        break
else:
    print(json.dumps(None))
"""


def module_names() -> list[str]:
    names = []
    for package in (llamaindex_reaktly, reaktly_api, reaktly_mcp):
        names.append(package.__name__)
        found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        names += [module.name for module in found]
    # The migrations' environment runs inside Alembic only.
    return [name for name in names if not name.endswith("__main__") and ".migrations." not in name]


def test_no_module_but_the_faces_loads_llama_index() -> None:
    light = [name for name in module_names() if not name.startswith((*FACES, WORKER))]
    assert len(light) > 20
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *light], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) is None


@pytest.mark.parametrize("face", FACES)
def test_each_face_imports_llama_index(face: str) -> None:
    spec = importlib.util.find_spec(face)
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    imported = [node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert any(module.startswith("llama_index.") for module in imported)

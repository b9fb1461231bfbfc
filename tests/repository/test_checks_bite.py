"""The repository's own checks find what they are there to find."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.check_lock import JAVASCRIPT

ROOT = Path(__file__).parents[2]


def run_check(module: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"scripts.{module}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


# -- import contracts ------------------------------------------------------------------

VIOLATIONS = {
    "core": ("llamaindex_reaktly/registry/keys.py", "import reaktly_api"),
    "doors": ("mcp_server/reaktly_mcp/access.py", "import reaktly_api"),
    "door": ("api/reaktly_api/access.py", "import llamaindex_reaktly.cli"),
    "words": ("llamaindex_reaktly/domain.py", "import sqlalchemy"),
    "llama-index": (
        "llamaindex_reaktly/retrieval/retriever.py",
        "def late() -> None:\n    import llama_index.core",
    ),
}


def lint_imports(root: Path, contract: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--contract", contract, "--no-cache"],
        cwd=root,
        env={"PYTHONPATH": f"{root}:{root / 'api'}:{root / 'mcp_server'}"},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("contract", sorted(VIOLATIONS))
def test_an_import_contract_breaks_when_it_is_violated(contract: str, tmp_path: Path) -> None:
    for name in ("llamaindex_reaktly", "api", "mcp_server", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    kept = lint_imports(tmp_path, contract)
    assert kept.returncode == 0, kept.stdout + kept.stderr

    path, statement = VIOLATIONS[contract]
    with (tmp_path / path).open("a", encoding="utf-8") as source:
        source.write(f"\n\n{statement}\n")
    broken = lint_imports(tmp_path, contract)
    assert broken.returncode == 1
    assert "BROKEN" in broken.stdout


# -- lock ------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Only what the lock's check reads."""
    for name in ("pyproject.toml", "requirements.lock", *map(str, JAVASCRIPT)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_lock_is_in_step() -> None:
    done = run_check("check_lock")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        ("pyproject.toml", '"orjson>=3.10"', '"orjson>=999"', "orjson is locked at"),
        ("pyproject.toml", '  "orjson>=3.10",\n', "", "orjson is locked for"),
        ("pyproject.toml", '"orjson>=3.10"', '"orjson", "left-pad"', "left-pad is asked for by"),
        ("pyproject.toml", '"orjson>=3.10"', '"orjson", "reaktly-minilm"', "no metadata may"),
        ("requirements.lock", "orjson==", "--index-url https://example.com\norjson==", "address"),
        ("requirements.lock", "orjson==", "--pre\norjson==", "an option of pip"),
        *(
            (
                str(path),
                '"license"',
                '"resolved": "https://example.com/a.tgz", "license"',
                "address",
            )
            for path in JAVASCRIPT
        ),
        (
            "requirements.lock",
            "orjson==",
            "bare==1.0\n    # via orjson\norjson==",
            "without a hash",
        ),
    ],
)
def test_a_lock_out_of_step_is_found(
    tree: Path, file: str, old: str, new: str, sentence: str
) -> None:
    edit(tree / file, old, new)
    done = run_check("check_lock", tree)
    assert done.returncode == 1
    assert sentence in done.stderr


def test_the_runtime_lock_holds_what_runs_and_not_what_tests() -> None:
    names = {
        line.split("==")[0]
        for line in run_check("runtime_lock").stdout.splitlines()
        if "==" in line and not line.startswith(" ")
    }
    assert {"llama-index-core", "uvicorn", "typer", "anyio"} <= names
    assert not names & {"pytest", "mypy", "hatchling", "hypothesis"}


# -- tree ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "see " + "/home" + "/someone/notes",
        "log to " + "/tmp" + "/here.log",
        "from " + "files.python" + "hosted.org",
    ],
)
def test_a_line_that_belongs_to_one_machine_is_found(line: str, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text(f"fine\n{line}\n", encoding="utf-8")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "notes.md"], cwd=tmp_path, check=True)
    done = run_check("check_tree", tmp_path)
    assert done.returncode == 1
    assert "notes.md:2" in done.stderr


def test_a_large_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(600_000))
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "weights.bin"], cwd=tmp_path, check=True)
    done = run_check("check_tree", tmp_path)
    assert done.returncode == 1
    assert "600,000 bytes" in done.stderr


# -- docs ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        ("```console\n$ false\n```", "failed: false"),
        ("```console\n$ echo one\ntwo\n```", "'two' is not printed"),
        ("```console\n$ make tea\n```", "make has no verb tea"),
        ("```bash\nls\n```", "as a console block"),
        ("```python\nassert False\n```", "its Python fails"),
    ],
)
def test_a_page_that_shows_what_does_not_work_is_found(
    block: str, sentence: str, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n{block}\n", encoding="utf-8")
    done = run_check("check_docs", page)
    assert done.returncode == 1
    assert sentence in done.stderr


def test_a_page_that_works_passes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ WORD=well\n$ echo all is \\\n>   $WORD\nall is ...\n```\n\n"
        "<!-- not run: it fails -->\n```console\n$ false\n```\n\n"
        "```python\nnumber = 1\n```\n\n```python\nassert number == 1\n```\n",
        encoding="utf-8",
    )
    done = run_check("check_docs", page)
    assert done.returncode == 0, done.stderr
    assert "3 blocks run" in done.stdout

"""A result names the commit that it is of: nothing is written from a changed tree unless a flag asks for it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks

PROJECT = Path(benchmarks.__file__).parents[1]
SAMPLE = '''
"""A benchmark that takes no time."""

from dataclasses import dataclass

from benchmarks.harness.command import run_command
from benchmarks.harness.report import Result


@dataclass(frozen=True)
class Options:
    """Measure nothing."""


if __name__ == "__main__":
    run_command("sample", Options, lambda _: Result("sample", "A sample", {"Rates": [{"x": 1}]}))
'''


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with a benchmark, all committed."""
    package = tmp_path / "tree" / "benchmarks"
    (package / "results").mkdir(parents=True)
    (package / "harness").mkdir()
    for name in ("__init__", "harness/__init__", "harness/command", "harness/report"):
        shutil.copy(PROJECT / "benchmarks" / f"{name}.py", package / f"{name}.py")
    (package / "sample.py").write_text(SAMPLE)
    (package.parent / ".gitignore").write_text("__pycache__\n")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "All"]):
        author = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
        subprocess.run(["git", *author, *words], cwd=package.parent, check=True)
    return package.parent


def run(tree: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(tree), str(PROJECT)])
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.sample", *flags],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("change", ["benchmarks/sample.py", "notes.txt"])
def test_a_result_of_a_changed_tree_is_refused_unless_asked_for_and_then_says_so_first(
    tree: Path, tmp_path: Path, change: str
) -> None:
    results = tree / "benchmarks" / "results"
    assert run(tree).returncode == 0
    clean = results / "sample.md"
    assert clean.read_text().startswith("# A sample\n")
    assert "dirty" not in json.loads((results / "sample.json").read_text())
    assert run(tree).returncode == 0  # results that are not yet committed are not a change

    with (tree / change).open("a") as file:
        file.write("# a change\n")
    before = clean.read_bytes()
    refused = run(tree)
    assert refused.returncode == 1
    assert change in refused.stderr
    assert "--allow-dirty" in refused.stderr
    assert "A sample" not in refused.stdout  # nothing was measured
    assert clean.read_bytes() == before
    assert run(tree, "--out", str(tmp_path / "elsewhere")).returncode == 1

    assert run(tree, "--allow-dirty").returncode == 0
    assert clean.read_text().splitlines()[0] == f"> Measured with changes that are in no commit: {change}."
    first = (results / "sample.json").read_text().splitlines()[1]
    assert first.startswith('  "dirty": [')
    assert json.loads((results / "sample.json").read_text())["dirty"] == [change]


def test_outside_a_repository_results_are_of_no_known_commit(tree: Path) -> None:
    shutil.rmtree(tree / ".git")
    assert run(tree).returncode == 0
    assert json.loads((tree / "benchmarks" / "results" / "sample.json").read_text())["commit"] == "unknown"

"""`steptool new`: the written project works as it is."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agents.cli import main

ROOT = Path(__file__).parents[2]
TRAIN = """--calls 60 --episodes 8 --env.num-envs 8 --eval-episodes 2 --algorithm.mini-batches 1
--sampling.max-action-tokens 16"""
SHORT = {"evaluate": "--episodes 4", "train": TRAIN}
"""Flags that make a command of the project's README.md short."""


def run(folder: Path, *words: str) -> None:
    """Run `python -m ...` in the project, with the source tree on the path."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    main(["new", str(tmp_path / "mine")])
    return tmp_path / "mine"


def test_the_tests_of_a_new_project_pass(project: Path) -> None:
    run(project, "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(project))


def test_the_next_command_quotes_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["new", "my project!"])
    assert "next: cd 'my project!' && python -m pytest;" in capsys.readouterr().out


def test_a_folder_that_holds_something_is_left_alone(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.read_bytes() for path in project.iterdir()}
    with pytest.raises(SystemExit, match="2"):
        main(["new", str(project)])
    assert "not an empty folder" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in project.iterdir()} == before


@pytest.mark.slow
def test_every_command_of_its_page_runs(project: Path) -> None:
    commands = re.findall(r"^steptool (.*)$", (project / "README.md").read_text(), re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["evaluate", "train", "evaluate", "report"]
    for command in commands:
        words = re.sub(r" --episodes \d+", "", command).split()
        run(project, "agents.cli", *words, *SHORT.get(words[0], "").split())
    assert (project / "runs" / "comparison.html").is_file()

"""`steptool --version`, and another distribution's package `agents`."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from agents.cli import main

ROOT = Path(__file__).parents[2]
LAUNCH = "from steptool_env.launch import main; main()"


def launch(*words: str, path: list[Path], code: str = LAUNCH) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, "-P", "-c", code, *words]
    return subprocess.run(command, env=environment, cwd=path[0], capture_output=True, text=True)


def install_other(folder: Path) -> Path:
    """A distribution with a package `agents`, as pip unpacks it."""
    (folder / "agents").mkdir(parents=True)
    (folder / "agents" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    record = folder / "other_agents-1.0.dist-info" / "RECORD"
    record.parent.mkdir()
    record.write_text("agents/__init__.py,,\nother_agents-1.0.dist-info/RECORD,,\n")
    return folder


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    assert capsys.readouterr().out == f"steptool {version('steptool-env')}\n"


def test_the_command_starts_with_its_own_agents() -> None:
    assert launch("--version", path=[ROOT]).stdout.startswith("steptool ")


def test_another_agents_in_front_is_named(tmp_path: Path) -> None:
    done = launch("--version", path=[install_other(tmp_path), ROOT])
    assert done.returncode == 2
    assert done.stderr.startswith("error: the import name `agents` of steptool-env is also that of other_agents (")
    assert "in an environment of its own (python -m venv), or uninstall the other and run `pip install" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_another_agents_in_the_same_folder_is_named(tmp_path: Path) -> None:
    install_other(tmp_path)
    for package in ("agents", "steptool_env"):
        (tmp_path / package).mkdir(exist_ok=True)
        for name in ("__init__.py", "launch.py") if package == "steptool_env" else ("__init__.py",):
            (tmp_path / package / name).write_text((ROOT / package / name).read_text())
    for code in (LAUNCH, "import agents"):
        done = launch(path=[tmp_path], code=code)
        assert done.returncode != 0
        assert "is also that of other_agents" in done.stderr

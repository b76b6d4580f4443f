"""`steptool --version`, commands without the extras, and another distribution's package `agents`."""

import os
import re
import shlex
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile

import pytest

from agents.cli import COMMANDS, main
from steptool_env.trajectories.trajectories import write_trajectories
from tests.agents.evaluation.test_score import EPISODE

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


def test_a_warning_is_one_line_without_a_place_in_the_code(tmp_path: Path) -> None:
    """As of a run that was killed while it wrote."""
    write_trajectories(tmp_path / "trajectories.jsonl", [EPISODE])
    with (tmp_path / "trajectories.jsonl").open("a") as file:
        file.write('{"task": ')
    done = launch("export", "sharegpt", ".", "--out", "exported", path=[tmp_path, ROOT])
    assert (done.returncode, done.stderr) == (
        0,
        "Warning: trajectories.jsonl: line 2 is not complete, and is left out\n",
    )


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
    for name in ("agents/__init__", "steptool_env/__init__", "steptool_env/launch", "steptool_env/benchmarks/__init__"):
        copied = tmp_path / f"{name}.py"
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.write_text((ROOT / f"{name}.py").read_text())
    for code in (LAUNCH, "import agents"):
        done = launch(path=[tmp_path], code=code)
        assert done.returncode != 0
        assert "is also that of other_agents" in done.stderr


EXTRAS = {"accelerate", "jinja2", "matplotlib", "mcp", "peft", "sb3_contrib", "scipy", "stable_baselines3",
          "tokenizers", "torch", "transformers", "yaml"}  # fmt: skip
BARE = f"""
import sys
from importlib.abc import MetaPathFinder

class Bare(MetaPathFinder):
    def find_spec(self, name, *_):
        if name.partition(".")[0] in {EXTRAS}:
            raise ModuleNotFoundError(f"No module named '{{name}}'", name=name)

sys.meta_path.insert(0, Bare())
{LAUNCH}
"""


def without_extras(*words: str) -> subprocess.CompletedProcess[str]:
    return launch(*words, path=[ROOT], code=BARE)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_needs_no_extra_and_no_clone(command: str) -> None:
    done = without_extras(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: steptool {command}")
    assert not re.search(r"\b(agents|benchmarks|steptool_env|toolserver)/\w", done.stdout)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["report", str(ROOT / "docs")], "report needs jinja2: pip install 'steptool-env[report]'"),
        (["view", str(ROOT / "docs")], "view needs jinja2: pip install 'steptool-env[view]'"),
        (["sft"], "sft needs torch: pip install 'steptool-env[agents]'"),
        (["mcp", "--task", "0"], "mcp needs mcp: pip install 'steptool-env[mcp]'"),
        (["demo"], "demo needs scipy: pip install 'steptool-env[agents]'"),
        (["evaluate", "--env", "StepTool/ToolWorld-v0", "--agent", "policy:nano-sft"],
         "No module named 'torch'; pip install 'steptool-env[agents]'"),
    ],
)  # fmt: skip
def test_the_hint_names_the_extra_that_is_enough(words: list[str], says: str, tmp_path: Path) -> None:
    out = [] if words[0] == "view" else ["--out", str(tmp_path / "out")]
    done = without_extras(*words, *out)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def make_wheel(folder: Path, name: str, files: dict[str, str]) -> Path:
    """A wheel that pip installs without a network."""
    path, info = folder / f"{name}-1.0-py3-none-any.whl", f"{name}-1.0.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if name == "steptool_env":
        files[f"{info}/entry_points.txt"] = "[console_scripts]\nsteptool = steptool_env.launch:main\n"
    files[f"{info}/RECORD"] = "".join(f"{each},,\n" for each in (*files, f"{info}/RECORD"))
    with ZipFile(path, "w") as wheel:
        for each, text in files.items():
            wheel.writestr(each, text)
    return path


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """This distribution, and one with another package `agents`."""
    folder = tmp_path_factory.mktemp("wheels")
    packages = (path for name in ("agents", "steptool_env", "toolserver") for path in (ROOT / name).rglob("*.py"))
    ours = make_wheel(folder, "steptool_env", {str(path.relative_to(ROOT)): path.read_text() for path in packages})
    return ours, make_wheel(folder, "openai_agents", {"agents/__init__.py": "class Agent: ...\n"})


@pytest.mark.parametrize("first", [0, 1])
def test_both_orders_of_installation_are_distinguished_at_start(
    first: int, wheels: tuple[Path, Path], tmp_path: Path
) -> None:
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    (packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for wheel in (wheels[first], wheels[1 - first]):
        install = ["--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
        subprocess.run([sys.executable, "-m", "pip", *install], check=True, capture_output=True, env=environment)
    done = subprocess.run(
        [python.with_name("steptool"), "--version"], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: the import name `agents` of steptool-env is also that of openai_agents (")


@pytest.mark.parametrize("command", ["evaluate", "train"])
def test_a_missing_ray_names_its_extra(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "agents.cluster.tasks", raising=False)
    words = {
        "evaluate": ["--env", "StepTool/ToolWorld-v0", "--env-args", "split=depth-1", "--agent", "random", "--ray"],
        "train": ["--policy.checkpoint", "nano-sft", "--rollout.engine", "ray", "--eval-every", "0"],
    }
    with pytest.raises(SystemExit, match="2"):
        main([command, "--out", str(tmp_path / "run"), *words[command]])
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {command} needs ray: pip install 'steptool-env[ray]'"
    assert command == "train" or not (tmp_path / "run").exists()


def test_the_first_example_runs_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example of `steptool --help` is the first that a newcomer tries."""
    monkeypatch.chdir(tmp_path)
    main(["--help"])
    (example,) = re.findall(r"^Example: steptool (.*)$", capsys.readouterr().out, re.MULTILINE)
    main(shlex.split(example))
    assert "pass_rate 0.000" in capsys.readouterr().out
    assert (tmp_path / "runs" / "random" / "report.html").is_file()

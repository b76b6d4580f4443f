"""Every benchmark that measures is called in one way."""

from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.harness.command import run_command
from benchmarks.harness.report import Result
from benchmarks.speed.store import Options
from toolserver.errors import CacheError

NOTHING = Result("nothing", "Nothing", {})
NAMES = (
    "speed.server",
    "speed.environment",
    "speed.scaling",
    "speed.rollout",
    "speed.learner",
    "speed.store",
    "speed.transports",
    "toolworld.world",
    "toolworld.tasks",
    "toolworld.verifier",
    "learning.experiment",
    "learning.demo",
    "learning.sb3",
    "stabletoolbench.table",
    "stabletoolbench.judge_agreement",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_is_called_by_its_name_and_has_an_example(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit, match="0"):
        run_command(name, import_module(f"benchmarks.{name}").Options, lambda _: NOTHING)
    said = capsys.readouterr().out
    assert said.startswith(f"usage: python -m benchmarks.{name} ")
    assert f"Example: python -m benchmarks.{name}" in said.replace("`", "")


def test_errors_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(options: Options) -> Result:
        raise CacheError(f"{options.sizes}: away")

    monkeypatch.setattr("sys.argv", ["store", "--allow-dirty", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"^error: \(1000, 100000\): away$"):
        run_command("store", Options, away)


def test_sizes_that_cannot_be_made_are_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["store", "--sizes", "1000", "0"])
    with pytest.raises(SystemExit) as ended:
        run_command("store", Options, lambda _: NOTHING)
    assert "sizes=" in str(ended.value) + capsys.readouterr().err

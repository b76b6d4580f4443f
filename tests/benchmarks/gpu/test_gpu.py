"""The command for a GPU: a failed stage costs that stage only, and every stage runs on a CPU in its smallest form."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import __main__ as gpu
from benchmarks.harness.report import markdown


def run(tmp_path: Path, *stages: str, **options: Any) -> tuple[int, dict[str, Any]]:
    given = gpu.Options(out=tmp_path, stages=stages, device="cpu", tiny=True, allow_dirty=True, **options)
    status = gpu.main(given)
    content = json.loads((tmp_path / "gpu_tiny.json").read_text())
    assert (tmp_path / "gpu_tiny.md").read_text() == markdown(content)
    return status, content


def outcomes(content: dict[str, Any]) -> dict[str, str]:
    return {row["stage"]: row["outcome"] for row in content["tables"]["Stages"]}


def gone(pid: int) -> bool:
    """True once a process has ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.slow
def test_a_stage_that_fails_crashes_or_hangs_costs_that_stage_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"raises": 60.0, "crashes": 60.0, "hangs": 15.0, "good": 60.0}
    stages = [gpu.Stage(n, f"tests.benchmarks.gpu.stages:{n}", "", 1.0, most) for n, most in names.items()]
    monkeypatch.setattr(gpu, "STAGES", stages)
    written: list[list[str]] = []
    write = gpu.write_result
    monkeypatch.setattr(gpu, "write_result", lambda *a: written.append(list(outcomes(a[0].as_json({})))) or write(*a))
    begin = time.monotonic()
    status, content = run(tmp_path, minutes=5)
    assert time.monotonic() - begin < 150
    assert status == 3
    assert outcomes(content) == {
        "raises": "failed, status 1",
        "crashes": "failed, status -6",
        "hangs": "ended, time over",
        "good": "done",
    }
    errors = {row["stage"]: row["error"] for row in content["tables"]["Stages"]}
    assert errors["raises"] == "RuntimeError: no such kernel"
    assert content["tables"]["Raised"] == [{"x": 1}, {"x": 2}]
    assert content["notes"][1:] == ["a part: MemoryError: out of memory", "crashes next"]
    assert content["tables"]["Good"] == [{"tiny": "True", "device": "cpu"}]
    (hung,) = content["tables"]["Hung"]
    assert hung["seconds left"] < 15 - 4
    assert gone(hung["pid"])
    assert written == [list(names)[: number + 1] for number in range(len(names))]
    assert "Aborted" in (tmp_path / "gpu_tiny.log").read_text()


def test_the_rest_of_the_time_is_shared_out_over_the_rest_of_the_stages() -> None:
    one, two, three = (gpu.Stage(str(share), "", "", share, most) for share, most in ((1, 20), (2, 1e9), (1, 1e9)))
    assert gpu.bound([one, two, three], 400) == 20
    assert gpu.bound([one, two, three], 40) == 10
    assert gpu.bound([two, three], 300) == 200
    assert gpu.bound([three], 100) == 100


def test_a_stage_without_time_is_not_begun(tmp_path: Path) -> None:
    status, content = run(tmp_path, "decode", "job", minutes=0.01)
    assert status == 2
    assert outcomes(content) == {"decode": "not begun", "job": "not begun"}


def test_an_unknown_stage_is_named() -> None:
    with pytest.raises(SystemExit, match="encode: no such stage; there are correct, decode, learn"):
        gpu.chosen(["encode"])
    assert [stage.name for stage in gpu.chosen(["job", "decode"])] == ["decode", "job"]


def test_a_copy_without_a_repository_names_the_commit_that_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, content = run(tmp_path, "decode", minutes=0.01, commit="abc1234")
    assert content["commit"] != "abc1234"
    monkeypatch.setattr("benchmarks.harness.report._git", lambda *_: None)
    _, content = run(tmp_path, "decode", minutes=0.01, commit="abc1234")
    assert content["commit"] == "abc1234"


@pytest.mark.slow
def test_every_stage_runs_on_a_cpu(tmp_path: Path) -> None:
    """Every stage is done within its share of four minutes, so nothing runs for the first time on the card."""
    status, content = run(tmp_path, minutes=4)
    assert status == 0, (tmp_path / "gpu_tiny.log").read_text()[-3000:]
    assert outcomes(content) == {stage.name: "done" for stage in gpu.STAGES}
    tables = content["tables"]
    assert {row["outcome"] for row in tables["Tests"]} <= {"passed", "skipped"}
    assert [row["sampler"] for row in tables["Decoding"]] == [
        "ours, graphs",
        "ours, eager",
        "generate, continuous batching",
        "generate, static cache, compiled",
    ]
    assert all(row["tokens/s"] > 0 for row in tables["Decoding"])
    assert {"ours, GRPO", "ours, PPO, critic shared"} <= {row["update"] for row in tables["Updates"]}
    assert [row["tools"] for row in tables["Iterations"]] == ["in process", "over HTTP"]
    assert all(row["dropped"] == 0 for row in tables["Iterations"])
    assert {row["run"] for row in tables["Curves"]} == {"nano, steptool", "nano, final"}
    assert {row["part"].partition(":")[0] for row in tables["Profile"]} == {"decode", "update"}
    absent = ("ModuleNotFoundError", "ImportError", "needs the package")
    assert not [note for note in content["notes"][1:] if not any(words in note for words in absent)]

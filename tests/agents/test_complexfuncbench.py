"""The commands of `steptool` on ComplexFuncBench: evaluate, score, sft, train."""

import json
from pathlib import Path

import pytest

from agents.cli import main
from agents.training.metrics_log import read_metrics
from steptool_env.trajectories.trajectories import read_trajectories

ENV = "StepTool/ComplexFuncBench-v0"
TASKS = ["split=train", "group=Attraction", "prompt=compact", "max_observation_length=64"]


@pytest.fixture(autouse=True)
def _installed(complexfuncbench_data: Path) -> None:
    """Skip where the data is not installed."""


def test_an_evaluation_shows_each_group_and_is_scored_by_the_exact_judge(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, scored = tmp_path / "run", tmp_path / "scored"
    main(["evaluate", "--env", ENV, "--env-args", "split=validation", "--agent", "oracle", "--out", str(run)])
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["pass_rate"] == metrics["recall"] == metrics["pass_rate_families"] == 1
    for group in ("Car-Rental", "Cross", "Hotels", "Attraction", "Flights"):
        assert f"ComplexFuncBench/validation/{group}" in (run / "report.html").read_text()
    main(["score", "--episodes", str(run), "--out", str(scored)])
    assert "gold" in capsys.readouterr().out
    for episode in read_trajectories(scored / "trajectories.jsonl").trajectories:
        assert set(episode.rewards) == {1.0}


def test_a_policy_is_trained_on_demonstrations_and_then_online(tmp_path: Path) -> None:
    start, out = tmp_path / "start", tmp_path / "run"
    flags = ["--env", ENV, "--env-args", *TASKS, "--episodes", "4", "--vocab-size", "512", "--sft.epochs", "1"]
    main(["sft", *flags, "--policy.model", "nano", "--out", str(start)])
    flags = ["--env", ENV, "--env-args", *TASKS, "call_budget=2", "--eval-args", "split=validation"]
    flags += ["--episodes", "4", "--env.num-envs", "4", "--eval-episodes", "2", "--eval-every", "1"]
    flags += ["--policy.checkpoint", str(start), "--sampling.max-action-tokens", "6", "--calls", "8"]
    main(["train", *flags, "--out", str(out)])
    assert [record["calls"] for record in read_metrics(out)] == [0, 8]


def test_a_task_is_shown_with_its_data_flow_and_its_rewards(capsys: pytest.CaptureFixture[str]) -> None:
    main(["tasks", "show", "Hotels-50", "--reward", "steptool"])
    shown = capsys.readouterr().out
    assert "Hotels-50, pattern Hotels/5, depth 3: My friends and I" in shown
    assert "needed  get_hotel_details_for_booking" in shown
    for edge in ("query --> call0", "call0 --> call1", "call1 --> call2", "call1 --> call3", "call3 --> answer"):
        assert f"    {edge}\n" in shown
    assert "return 5, outcome" in shown
    main(["tasks", "show", "Hotels-50", "--picture", "graphviz"])
    assert '  call0 -> call1 [label=""];\n' in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["tasks", "show", "Hotels-999"])
    assert "not a task of ComplexFuncBench" in capsys.readouterr().err

"""The commands of `steptool` on tau2's telecom tasks: evaluate, score, tasks show, sft, train."""

import json
from pathlib import Path

import pytest

from agents.cli import main
from agents.training.metrics_log import read_metrics
from steptool_env.episodes.records import read_task, task_record
from steptool_env.tau2.solutions import Tau2Solutions
from steptool_env.tau2.suite import load_suite
from steptool_env.trajectories.trajectories import read_trajectories

ENV = "StepTool/Tau2Telecom-v0"

pytestmark = pytest.mark.usefixtures("tau2")


def test_an_evaluation_is_scored_again_from_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, scored = tmp_path / "run", tmp_path / "scored"
    arguments = ["--env-args", "split=test", "group=all", "policy=none", "--agent", "noisy-oracle"]
    main(["evaluate", "--env", ENV, *arguments, "--out", str(run)])
    main(["score", "--episodes", str(run), "--out", str(scored)])
    assert "judge world" in capsys.readouterr().out
    before, after = (
        {each.task.id: each for each in read_trajectories(folder / "trajectories.jsonl").trajectories}
        for folder in (run, scored)
    )
    assert len(before) == 40
    solved = [each.metadata["outcome"]["is_solved"] for each in before.values()]
    assert solved == [after[name].metadata["outcome"]["is_solved"] for name in before]
    assert 0 < sum(solved) < 40
    page = (run / "report.html").read_text()
    for group in ("service", "mobile_data", "mms", "escalate"):
        assert f"Tau2Telecom/test/{group}" in page
    for each in after.values():
        assert max(each.rewards) <= 1
        assert {spec.function_name for spec in each.task.tools} >= set(each.task.relevant)


def test_a_task_is_shown_with_its_assertions_and_its_rewards(capsys: pytest.CaptureFixture[str]) -> None:
    main(["tasks", "show", "telecom-0", "--reward", "steptool"])
    shown = capsys.readouterr().out
    assert "telecom-0, [mobile_data_issue]airplane_mode_on|user_abroad_roaming_enabled_off[PERSONA:None]\n" in shown
    assert "  needed  toggle_airplane_mode {}\n" in shown
    assert "  at the end  assert_mobile_data_status {'expected_status': True} is True\n" in shown
    assert "return 3, outcome" in shown
    with pytest.raises(SystemExit):
        main(["tasks", "show", "telecom-114"])
    assert "task 'telecom-114' of 'Tau2Telecom': not a task of Tau2Telecom" in capsys.readouterr().err


def test_a_task_of_a_file_is_the_task_of_the_suite() -> None:
    task = load_suite("all", "all").task(0)
    read = read_task(json.loads(json.dumps(task_record(task))))
    assert read == task
    assert read.solution is None
    assert Tau2Solutions().solution_of(read) is task.solution


@pytest.mark.slow
def test_a_policy_is_trained_on_demonstrations_and_then_online(tmp_path: Path) -> None:
    start, out = tmp_path / "start", tmp_path / "run"
    tasks = ["split=train", "prompt=compact", "policy=none"]
    flags = ["--env", ENV, "--env-args", *tasks, "--episodes", "4", "--vocab-size", "512", "--sft.epochs", "1"]
    main(["sft", *flags, "--policy.model", "nano", "--policy.context", "4096", "--out", str(start)])
    flags = ["--env", ENV, "--env-args", *tasks, "call_budget=2", "--eval-args", "split=test", "--episodes", "4"]
    flags += ["--env.num-envs", "4", "--eval-episodes", "2", "--eval-every", "1", "--policy.checkpoint", str(start)]
    flags += ["--policy.context", "4096", "--sampling.max-action-tokens", "6", "--calls", "8"]
    main(["train", *flags, "--out", str(out)])
    assert [record["calls"] for record in read_metrics(out)] == [0, 8]

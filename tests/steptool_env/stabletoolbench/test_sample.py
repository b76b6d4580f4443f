"""StableToolBench without data: the sample that ships with the package."""

from pathlib import Path

import gymnasium as gym
import pytest

import steptool_env  # noqa: F401 - registers the environments
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.evaluation.results import metrics_of
from agents.registry import make_agent
from agents.reporting.outputs import write_outputs
from steptool_env.errors import ConfigurationError
from steptool_env.stabletoolbench.sample import SAMPLE
from steptool_env.stabletoolbench.suite import load_suite
from steptool_env.trajectories.recordings import read_recordings

SETS = ("G1_instruction", "G1_category", "G1_tool", "G2_instruction", "G2_category", "G3_instruction")


def test_the_environment_runs_without_data() -> None:
    env = gym.make("StepTool/StableToolBench-v0")
    env.reset(seed=0)
    *_, info = env.step('Action: Finish\nAction Input: {"return_type": "give_up_and_restart"}')
    assert info["outcome"]["is_solved"] == 0.0


@pytest.mark.parametrize("suite", SETS)
def test_recorded_calls_answer_in_every_set_and_the_scripted_run_comes_back(suite: str) -> None:
    path = SAMPLE / "judged_runs" / "sample-thorough" / f"{suite}.json"
    options = {"judge": "recorded", "path": str(path)}
    evaluation = Evaluation("StepTool/StableToolBench-v0", {"suite": suite, "reward_options": options})
    played = evaluate(evaluation, make_agent(f"replay:{path}"))
    recorded = {episode.task.id: episode for episode in read_recordings(path)}
    assert len(played) == len(recorded) == 8
    for trajectory in played:
        assert trajectory.task.suite == f"stabletoolbench-sample/{suite}"
        assert trajectory.metadata["outcome"]["is_recorded"] == 1.0
        assert {step.provenance for step in trajectory.steps if step.provenance} == {"generated"}
        assert len(trajectory.steps) == len(recorded[trajectory.task.id].steps)


def test_what_is_written_of_a_run_says_that_it_is_a_sample(tmp_path: Path) -> None:
    played = evaluate(Evaluation("StepTool/StableToolBench-v0", {}, episodes=2), make_agent("random"))
    assert metrics_of(played)["sample"] == 1.0
    write_outputs(tmp_path, "Two episodes.", played, {})
    for name in ("run.json", "metrics.json", "report.html"):
        assert "sample" in (tmp_path / name).read_text()
    world = evaluate(Evaluation("StepTool/ToolWorld-v0", {}, episodes=1), make_agent("random"))
    assert "sample" not in metrics_of(world)


@pytest.mark.parametrize("arguments", [{"data": "nowhere"}, {"cache": "nowhere", "queries": str(SAMPLE)}])
def test_missing_data_is_an_error_that_says_in_two_lines_where_it_comes_from(arguments: dict[str, str]) -> None:
    """A path that was given is never replaced by the sample."""
    with pytest.raises(ConfigurationError) as raised:
        gym.make("StepTool/StableToolBench-v0", **arguments)
    _, source, command = str(raised.value).splitlines()
    assert "github.com/THUNLP-MT/StableToolBench" in source
    assert "toolserver import stabletoolbench" in command


def test_the_sample_is_one_suite_however_it_is_named() -> None:
    implicit = load_suite("G1_tool")
    explicit = load_suite("G1_tool", data=str(SAMPLE))
    assert implicit.name == explicit.name == "stabletoolbench-sample/G1_tool"
    assert [implicit.task(index) for index in range(8)] == [explicit.task(index) for index in range(8)]

"""ToolWorld's agents and demonstrations, and the command that shows tasks."""

import pytest

from agents.baselines.demonstrations import Noise, NoisyOracleAgent, demonstrate
from agents.cli import main
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.registry import make_agent
from steptool_env.errors import ConfigurationError
from steptool_env.types import FINISH, Trajectory
from toolserver.catalog.api_schema import StatusCode

TRAIN = Evaluation("StepTool/ToolWorld-v0", {"split": "train"}, episodes=60)


def solved(trajectories: list[Trajectory]) -> float:
    return sum(each.metadata["outcome"]["is_solved"] for each in trajectories) / len(trajectories)


def test_without_noise_demonstrations_are_the_oracles() -> None:
    clean, oracle = demonstrate(TRAIN), evaluate(TRAIN, make_agent("oracle"))
    assert [each.steps for each in clean] == [each.steps for each in oracle]


def test_more_noise_solves_less_and_the_same_seed_errs_equally() -> None:
    rates = [solved(demonstrate(TRAIN, Noise.evenly(rate))) for rate in (0.0, 0.3, 0.9)]
    assert rates[0] == 1.0 > rates[1] > rates[2]
    one, other = demonstrate(TRAIN, Noise.evenly(0.3), seed=5), demonstrate(TRAIN, Noise.evenly(0.3), seed=5)
    assert [each.steps for each in one] == [each.steps for each in other]


def test_every_kind_of_mistake_is_what_its_name_says() -> None:
    oracle = demonstrate(TRAIN)
    wrong_tool = demonstrate(TRAIN, Noise(wrong_tool=0.5))
    repeated = demonstrate(TRAIN, Noise(repetition=0.4))
    early = demonstrate(TRAIN, Noise(early_finish=1.0))
    spoilt = demonstrate(TRAIN, Noise(wrong_argument=0.5))
    assert all(len(each.steps) == 1 and each.steps[0].action.name == FINISH for each in early)
    strayed = [{step.action.name for step in noisy.steps} - {step.action.name for step in clean.steps}
               for clean, noisy in zip(oracle, wrong_tool, strict=True)]  # fmt: skip
    assert sum(map(bool, strayed)) > 15
    assert any(
        step.action.text == after.action.text
        for each in repeated
        for step, after in zip(each.steps, each.steps[1:], strict=False)
    )
    failures = [
        step for each in spoilt for step in each.steps if step.status not in (StatusCode.OK, StatusCode.FINAL_ANSWER)
    ]
    assert len(failures) > 5


@pytest.mark.parametrize("rates", [{"wrong_tool": 1.5}, {"repetition": -0.1}, {"wrong_tool": 0.6, "early_finish": 0.6}])
def test_impossible_rates_are_refused(rates: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="|".join([*rates, "noise"])):
        NoisyOracleAgent(noise=rates)


def test_reading_documentation_is_worth_more_than_chance_and_less_than_knowing() -> None:
    easy = Evaluation("StepTool/ToolWorld-v0", {"split": "depth-1"}, episodes=120)
    shares = [solved(evaluate(easy, make_agent(name))) for name in ("no-tools", "greedy-docs", "oracle")]
    assert shares[0] < 0.01 < shares[1] < shares[2] == 1.0


def test_the_oracle_refuses_tasks_of_other_suites() -> None:
    with pytest.raises(ConfigurationError, match="ToolWorld"):
        make_agent("oracle").reset([0], [""], [{"task_id": "17", "suite": "G1_instruction", "format": "react"}])


@pytest.mark.parametrize("picture", ["mermaid", "graphviz"])
@pytest.mark.parametrize("task", ["w0-lite-G3_instruction-18", "w0-lite-unsolvable-3"])
def test_a_task_is_shown_with_its_graph_and_its_rewards(
    task: str, picture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["tasks", "show", task, "--picture", picture])
    shown = capsys.readouterr().out
    assert {"mermaid": "flowchart LR", "graphviz": "digraph task {"}[picture] in shown
    assert "reward" in shown
    assert "'is_solved': 1.0" in shown


def test_tasks_are_listed_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    main(["tasks", "sample", "--split", "G1_tool", "--count", "2"])
    assert "w0-lite-G1_tool-1" in capsys.readouterr().out
    main(["tasks", "stats", "--count", "5"])
    assert "unsolvable" in capsys.readouterr().out


def test_an_unknown_task_or_split_ends_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, named in ((["show", "x"], "w0-lite-train-17"), (["sample", "--split", "G9"], "G1_tool")):
        with pytest.raises(SystemExit) as ended:
            main(["tasks", *arguments])
        assert ended.value.code == 2
        assert named in capsys.readouterr().err

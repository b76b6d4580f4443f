"""The benchmarks of other packages as their users run them: agents, rewards, commands, episodes in files."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agents.chat.completions import OpenAIAgent
from agents.chat.conversations import openai_record
from agents.cli import main
from agents.evaluation.evaluate import Evaluation, evaluate, suite_of
from agents.evaluation.results import metrics_of
from agents.registry import make_agent
from agents.training.metrics_log import read_metrics
from steptool_env.benchmarks import Benchmark, benchmark_of_env
from steptool_env.envs.bfcl import BFCLEnv
from steptool_env.envs.complexfuncbench import ComplexFuncBenchEnv
from steptool_env.envs.tau2telecom import Tau2TelecomEnv
from steptool_env.errors import ConfigurationError
from steptool_env.trajectories.trajectories import TrajectoryWriter, read_trajectories
from steptool_env.types import FINISH, Trajectory
from tests.server_stub import calling, chat_stub
from toolserver.bfcl import load_tasks
from toolserver.catalog.api_schema import Provenance


@dataclass(frozen=True)
class Case:
    """A benchmark, and a small part of its tasks.

    Attributes:
        fixture: Fixture that skips a test without the benchmark's package.
        part: Arguments of the environment that has these tasks.
        groups: Names of the groups of these tasks.
        training: Arguments of the environment for training.
        floor: Upper bound of the progress of agents without a model.
    """

    fixture: str
    part: dict[str, Any]
    groups: tuple[str, ...]
    training: tuple[str, ...]
    floor: float


CASES = {
    "BFCL": Case("bfcl", {"split": "test", "category": "miss_func"}, ("miss_func",), ("category=base",), 0.06),
    "Tau2Telecom": Case(
        "tau2",
        {"split": "test", "group": "all", "policy": "none"},
        ("service", "mobile_data", "mms", "escalate"),
        ("policy=none",),
        0.06,
    ),
    "ComplexFuncBench": Case(
        "complexfuncbench_data",
        {"split": "validation"},
        ("Car-Rental", "Cross", "Hotels", "Attraction", "Flights"),
        ("group=Attraction", "max_observation_length=64"),
        0.03,
    ),
}
ENVS = {"BFCL": BFCLEnv, "Tau2Telecom": Tau2TelecomEnv, "ComplexFuncBench": ComplexFuncBenchEnv}
REPAIRS = {"Tau2Telecom": {"group": "repairs"}}
"""Arguments that leave out the tasks which a single call passes."""
TASK = "multi_turn_miss_func_0"


@pytest.fixture(params=CASES)
def name(request: pytest.FixtureRequest) -> str:
    request.getfixturevalue(CASES[request.param].fixture)
    return str(request.param)


def benchmark(name: str) -> Benchmark:
    found = benchmark_of_env(f"StepTool/{name}-v0")
    assert found is not None
    return found


def play(name: str, agent: str, **settings: object) -> list[Trajectory]:
    evaluation = Evaluation(f"StepTool/{name}-v0", {**CASES[name].part, **settings})
    return evaluate(evaluation, make_agent(agent))


def outcomes(played: list[Trajectory], name: str) -> list[float]:
    return [each.metadata["outcome"][name] for each in played]


@pytest.mark.parametrize("agent", ["random", "no-tools", "greedy-docs"])
def test_agents_without_a_model_solve_nothing(name: str, agent: str) -> None:
    settings = {"BFCL": {"category": ""}, "Tau2Telecom": {"split": "all", "group": "repairs"}}.get(
        name, {"split": "all"}
    )
    played = play(name, agent, **settings)
    assert not any(outcomes(played, "is_solved"))
    assert sum(outcomes(played, "progress")) / len(played) < CASES[name].floor


@pytest.mark.parametrize("reward", ["progress", "potential", "steptool", "final"])
def test_every_reward_pays_the_oracle_and_not_the_one_that_answers_at_once(name: str, reward: str) -> None:
    best, worst = (
        [sum(each.rewards) for each in play(name, agent, reward=reward, **REPAIRS.get(name, {}))]
        for agent in ("oracle", "no-tools")
    )
    assert min(best) >= 1 - 1e-9
    assert max(worst) < min(best)
    assert reward == "steptool" or max(worst) <= 0


def test_with_faults_the_oracle_tries_again(name: str) -> None:
    played = play(name, "oracle", faults="mild", call_budget=60)
    assert any(step.provenance is Provenance.INJECTED for each in played for step in each.steps)
    solved = outcomes(played, "is_solved")
    assert 0.5 < sum(solved) / len(solved) <= 1


def test_an_episode_that_the_budget_ends_is_not_solved(name: str) -> None:
    played = play(name, "oracle", call_budget=3)
    cut = [each.metadata["outcome"] for each in played if each.metadata["outcome"]["progress"] < 1]
    assert len(cut) > len(played) / 3
    assert any(each["progress"] > 0 for each in cut)
    assert not any(each["is_solved"] for each in cut)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("BFCL", {"split": "dev"}, "split='dev': must be one of all, train"),
        ("BFCL", {"category": "simple"}, "category='simple': must be one of base, miss_func"),
        ("Tau2Telecom", {"split": "validation"}, "split='validation': must be one of all, train, test"),
        ("Tau2Telecom", {"group": "sms"}, "group='sms': must be one of repairs, service"),
        ("Tau2Telecom", {"policy": "long"}, "policy='long': must be one of manual"),
        ("ComplexFuncBench", {"split": "dev"}, "split='dev': must be one of all, train"),
        ("ComplexFuncBench", {"group": "Trains"}, "group='Trains': must be one of Car-Rental"),
        ("ComplexFuncBench", {"offered": "some"}, "offered='some': must be one of field, all"),
        *((name, {"faults": "rare"}, "faults") for name in CASES),
    ],
)
def test_wrong_arguments_are_named(
    name: str, arguments: dict[str, Any], message: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(CASES[name].fixture)
    with pytest.raises(ConfigurationError, match=message):
        ENVS[name](**arguments)


def test_a_task_that_a_suite_does_not_have_is_named(name: str) -> None:
    """Neither an id of no task, nor that of a task of another split."""
    suite = suite_of(ENVS[name](**CASES[name].part))
    whole = suite_of(ENVS[name](split="train"))
    first = suite.task(0).id
    for task in ("Cross-999", whole.task(0).id):
        with pytest.raises(ConfigurationError, match=f"task '{task}': not in {suite.name}.*, which has {first}, "):
            suite.find(task)
    assert suite.find(first) is suite.task(0)
    for index in (-1, len(suite)):
        with pytest.raises(IndexError, match=f"task {index}: {suite.name}.* has {len(suite)}"):
            suite.task(index)


def test_a_task_of_a_file_is_graded_by_its_id(name: str, tmp_path: Path) -> None:
    solutions, played = benchmark(name).tasks, play(name, "oracle")[::8]
    assert metrics_of(played)["needed_calls"] == 1
    with TrajectoryWriter(tmp_path / "trajectories.jsonl") as writer:
        for each in played:
            writer.write(each)
    for each, read in zip(played, read_trajectories(tmp_path / "trajectories.jsonl").trajectories, strict=True):
        assert read.task == each.task
        assert read.task.solution is None
        assert [spec.function_name for spec in read.task.tools] == [spec.function_name for spec in each.task.tools]
        assert solutions.solution_of(read.task) == each.task.solution
        assert solutions.solution_of(pickle.loads(pickle.dumps(each)).task) == each.task.solution


def test_an_evaluation_is_scored_again_from_its_files(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, scored, case = tmp_path / "run", tmp_path / "scored", CASES[name]
    part = [f"{key}={value}" for key, value in case.part.items()]
    command = ["evaluate", "--env", f"StepTool/{name}-v0", "--env-args", *part]
    main([*command, "--agent", "noisy-oracle", "--out", str(run)])
    main(["score", "--episodes", str(run), "--out", str(scored)])
    assert f"judge {benchmark(name).judge}" in capsys.readouterr().out
    before, after = (
        {each.task.id: each for each in read_trajectories(folder / "trajectories.jsonl").trajectories}
        for folder in (run, scored)
    )
    assert len(before) >= 40
    solved = outcomes(list(before.values()), "is_solved")
    assert solved == [after[task].metadata["outcome"]["is_solved"] for task in before]
    assert 0 < sum(solved) < len(solved)
    page = (run / "report.html").read_text()
    for group in case.groups:
        assert f"{name}/{case.part['split']}/{group}" in page
    for each in after.values():
        assert max(each.rewards) <= 1
        assert {spec.function_name for spec in each.task.callable_tools} >= set(each.task.relevant)


@pytest.mark.parametrize(
    "name",
    ["ComplexFuncBench", *(pytest.param(name, marks=pytest.mark.slow) for name in ("BFCL", "Tau2Telecom"))],
)
def test_a_policy_is_trained_on_demonstrations_and_then_online(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(CASES[name].fixture)
    start, out = tmp_path / "start", tmp_path / "run"
    env = ["--env", f"StepTool/{name}-v0", "--env-args", "split=train", "prompt=compact", *CASES[name].training]
    context = [] if name == "ComplexFuncBench" else ["--policy.context", "4096"]
    flags = ["--episodes", "4", "--vocab-size", "512", "--sft.epochs", "1", "--policy.model", "nano", *context]
    main(["sft", *env, *flags, "--out", str(start)])
    split = "test" if name == "Tau2Telecom" else "validation"
    flags = ["call_budget=2", "--eval-args", f"split={split}", "--episodes", "4", "--env.num-envs", "4"]
    flags += ["--eval-episodes", "2", "--eval-every", "1", "--policy.checkpoint", str(start), *context]
    flags += ["--sampling.max-action-tokens", "6", "--calls", "8"]
    main(["train", *env, *flags, "--out", str(out)])
    assert [record["calls"] for record in read_metrics(out)] == [0, 8]


@pytest.mark.parametrize(
    ("name", "task", "lines", "total", "unknown"),
    [
        (
            "BFCL",
            TASK,
            ["  offered from here on: sort\n  needed  sort {'file_name': 'final_report.pdf'}"],
            15,
            "multi_turn_base_900",
        ),
        (
            "Tau2Telecom",
            "telecom-0",
            [
                "telecom-0, [mobile_data_issue]airplane_mode_on|user_abroad_roaming_enabled_off[PERSONA:None]\n",
                "  needed  toggle_airplane_mode {}\n",
                "  at the end  assert_mobile_data_status {'expected_status': True} is True\n",
            ],
            3,
            "telecom-114",
        ),
        (
            "ComplexFuncBench",
            "Hotels-50",
            [
                "Hotels-50, pattern Hotels/5, depth 3: My friends and I",
                "needed  get_hotel_details_for_booking",
                "    query --> call0\n",
                "    call0 --> call1\n",
                "    call1 --> call2\n",
                "    call1 --> call3\n",
                "    call3 --> answer\n",
            ],
            5,
            "Hotels-999",
        ),
    ],
)
def test_a_task_is_shown_with_its_solution_and_its_rewards(
    name: str,
    task: str,
    lines: list[str],
    total: int,
    unknown: str,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    request.getfixturevalue(CASES[name].fixture)
    main(["tasks", "show", task, "--reward", "steptool"])
    shown = capsys.readouterr().out
    for line in (*lines, f"return {total}, outcome"):
        assert line in shown
    assert name != "BFCL" or shown.count("user: ") == len(load_tasks()[TASK].messages)
    with pytest.raises(SystemExit):
        main(["tasks", "show", unknown])
    assert f"task '{unknown}' of '{name}': not a task of {name}" in capsys.readouterr().err


def test_a_task_is_drawn_for_graphviz(complexfuncbench_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["tasks", "show", "Hotels-50", "--picture", "graphviz"])
    assert '  call0 -> call1 [label=""];\n' in capsys.readouterr().out


@pytest.mark.usefixtures("bfcl")
def test_a_chat_model_gets_each_turn_as_a_message_of_the_user_and_the_functions_that_are_new() -> None:
    solution, written = load_tasks()[TASK], []
    for turn in solution.gold:
        written += [calling(call.function, **call.arguments) for call in turn]
        written.append(calling(FINISH, return_type="give_answer", final_answer="Done."))
    replies = iter(written)
    with chat_stub(lambda _: next(replies)) as stub:
        agent = OpenAIAgent("m", base_url=stub.url)
        settings = {"split": "all", "category": "miss_func", "format": "openai"}
        (played,) = evaluate(Evaluation("StepTool/BFCL-v0", settings), agent, tasks=[0])
        agent.close()
    assert played.task.id == TASK
    assert played.metadata["outcome"]["is_solved"] == 1
    said = [str(each["content"]) for each in stub.requests[-1]["messages"] if each["role"] == "user"]
    assert len(said) == len(solution.messages)
    assert all(text.strip().startswith(message) for text, message in zip(said[1:], solution.messages[1:], strict=True))
    assert solution.messages[0] in said[0]
    offered = [[tool["function"]["name"] for tool in request["tools"]] for request in stub.requests]
    first = next(place for place, names in enumerate(offered) if "sort" in names)
    assert first == sum(len(turn) + 1 for turn in solution.gold[:3])
    assert all(names[-1] == FINISH for names in offered)
    exported = openai_record(played)
    heard = [each["content"] for each in exported["messages"] if each["role"] == "user"]
    assert all(text.strip().startswith(message) for text, message in zip(heard[1:], solution.messages[1:], strict=True))
    assert len(heard) == len(said)
    assert "sort" in [tool["function"]["name"] for tool in exported["tools"]]

"""BFCL as its users run it: a chat model in several turns, the commands, episodes in files."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.chat.completions import OpenAIAgent
from agents.chat.conversations import openai_record
from agents.cli import main
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.registry import make_agent
from agents.training.metrics_log import read_metrics
from steptool_env.bfcl.solutions import BfclSolutions
from steptool_env.bfcl.suite import load_suite
from steptool_env.episodes.records import read_task, task_record
from steptool_env.errors import ConfigurationError
from steptool_env.trajectories.trajectories import read_trajectories
from steptool_env.types import FINISH
from tests.server_stub import calling, chat_stub
from toolserver.bfcl import load_tasks
from toolserver.bfcl.data import bfcl_module

ENV = "StepTool/BFCL-v0"
TASK = "multi_turn_miss_func_0"

pytestmark = pytest.mark.usefixtures("bfcl")


def test_a_chat_model_gets_each_turn_as_a_message_of_the_user_and_the_functions_that_are_new() -> None:
    gold, written = load_tasks()[TASK], []
    for turn in gold.gold:
        written += [calling(call.function, **call.arguments) for call in turn]
        written.append(calling(FINISH, return_type="give_answer", final_answer="Done."))
    replies = iter(written)
    with chat_stub(lambda _: next(replies)) as stub:
        agent = OpenAIAgent("m", base_url=stub.url)
        settings = {"split": "all", "category": "miss_func", "format": "openai"}
        (played,) = evaluate(Evaluation(ENV, settings), agent, tasks=[0])
        agent.close()
    assert played.task.id == TASK
    assert played.metadata["outcome"]["is_solved"] == 1
    said = [str(each["content"]) for each in stub.requests[-1]["messages"] if each["role"] == "user"]
    assert len(said) == len(gold.messages)
    assert all(text.strip().startswith(message) for text, message in zip(said[1:], gold.messages[1:], strict=True))
    assert gold.messages[0] in said[0]
    offered = [[tool["function"]["name"] for tool in request["tools"]] for request in stub.requests]
    first = next(place for place, names in enumerate(offered) if "sort" in names)
    assert first == sum(len(turn) + 1 for turn in gold.gold[:3])
    assert all(names[-1] == FINISH for names in offered)
    exported = openai_record(played)
    heard = [each["content"] for each in exported["messages"] if each["role"] == "user"]
    assert all(text.strip().startswith(message) for text, message in zip(heard[1:], gold.messages[1:], strict=True))
    assert len(heard) == len(said)
    assert "sort" in [tool["function"]["name"] for tool in exported["tools"]]


def test_a_task_is_shown_turn_by_turn_with_its_rewards(capsys: pytest.CaptureFixture[str]) -> None:
    main(["tasks", "show", TASK, "--reward", "steptool"])
    shown = capsys.readouterr().out
    assert shown.count("user: ") == len(load_tasks()[TASK].messages)
    assert "  offered from here on: sort\n  needed  sort {'file_name': 'final_report.pdf'}" in shown
    assert "return 15, outcome" in shown
    with pytest.raises(SystemExit):
        main(["tasks", "show", "multi_turn_base_900"])
    assert "task 'multi_turn_base_900' of 'BFCL': not a task of BFCL" in capsys.readouterr().err


def test_an_evaluation_is_scored_again_from_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, scored = tmp_path / "run", tmp_path / "scored"
    arguments = ["--env-args", "split=test", "category=miss_func", "--agent", "noisy-oracle"]
    main(["evaluate", "--env", ENV, *arguments, "--out", str(run)])
    main(["score", "--episodes", str(run), "--out", str(scored)])
    assert "judge world" in capsys.readouterr().out
    before, after = (
        {each.task.id: each for each in read_trajectories(folder / "trajectories.jsonl").trajectories}
        for folder in (run, scored)
    )
    assert len(before) == 40
    solved: list[Any] = [each.metadata["outcome"]["is_solved"] for each in before.values()]
    assert solved == [after[name].metadata["outcome"]["is_solved"] for name in before]
    assert 0 < sum(solved) < 40
    for each in before.values():
        assert each.task.turns
        assert BfclSolutions().solution_of(each.task).id == each.task.id
        assert {spec.function_name for spec in each.task.callable_tools} >= set(each.task.relevant)


@pytest.mark.slow
def test_a_policy_is_trained_on_demonstrations_and_then_online(tmp_path: Path) -> None:
    start, out = tmp_path / "start", tmp_path / "run"
    tasks = ["split=train", "category=base", "prompt=compact"]
    flags = ["--env", ENV, "--env-args", *tasks, "--episodes", "4", "--vocab-size", "512", "--sft.epochs", "1"]
    main(["sft", *flags, "--policy.model", "nano", "--policy.context", "4096", "--out", str(start)])
    flags = ["--env", ENV, "--env-args", *tasks, "call_budget=2", "--eval-args", "split=validation"]
    flags += ["--episodes", "4", "--env.num-envs", "4", "--eval-episodes", "2", "--eval-every", "1"]
    flags += [
        "--policy.checkpoint",
        str(start),
        "--policy.context",
        "4096",
        "--sampling.max-action-tokens",
        "6",
        "--calls",
        "8",
    ]
    main(["train", *flags, "--out", str(out)])
    assert [record["calls"] for record in read_metrics(out)] == [0, 8]


@pytest.mark.parametrize("reward", ["progress", "potential", "steptool", "final"])
def test_every_reward_pays_the_oracle_and_not_the_one_that_answers_at_once(reward: str) -> None:
    settings = {"split": "test", "category": "base", "reward": reward}
    best, worst = (
        [sum(each.rewards) for each in evaluate(Evaluation(ENV, settings), make_agent(agent))]
        for agent in ("oracle", "no-tools")
    )
    assert min(best) >= 1 - 1e-9
    assert max(worst) < min(best)
    assert reward == "steptool" or max(worst) <= 0


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setitem(sys.modules, "bfcl_eval", None)
    monkeypatch.delitem(sys.modules, "bfcl_eval.constants", raising=False)
    with pytest.raises(ConfigurationError, match=r"pip install --no-deps bfcl-eval==2026\.3\.23 mpmath"):
        bfcl_module("constants")


def test_json_of_a_task_has_its_turns() -> None:

    task = load_suite("all").find(TASK)
    read = read_task(json.loads(json.dumps(task_record(task))))
    assert read == task
    assert [spec.function_name for spec in read.tools] == [spec.function_name for spec in task.tools]

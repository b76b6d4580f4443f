"""`steptool evaluate --strategy`: any agent in `CoT@n` and DFSDT, over several tasks at a time."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from agents.cli import main
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.evaluation.results import metrics_of
from agents.models.bundle import load_policy
from agents.models.checkpoint import resolve_checkpoint
from agents.registry import make_agent
from agents.rollout.config import Sampling
from agents.rollout.policy_agent import policy_agent
from steptool_env.errors import ConfigurationError
from steptool_env.trajectories.recordings import read_recordings
from steptool_env.trajectories.toolbench_export import to_answer
from steptool_env.trajectories.trajectories import read_trajectories
from steptool_env.types import Trajectory
from tests.agents.toy_env import TOYS
from tests.server_stub import calling, json_stub
from tests.steptool_env.toys import ANSWER, COUNT, GIVE_UP, SAY, CountingClient, ToySuite, toy_config
from toolserver.catalog.api_schema import StatusCode
from toolserver.testing import ServerProcess

WORLD = "StepTool/ToolWorld-v0"


class Scripted:
    """Counts, then gives up where it is asked first and answers where it is asked again; has no `fork`."""

    name = "scripted"

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.steps: dict[int, int] = {}

    def reset(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Mapping[str, Any]]) -> None:
        self.steps |= dict.fromkeys(indices, 0)

    def act(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Mapping[str, Any]]) -> list[str]:
        self.seen += observations
        actions = []
        for index, info in zip(indices, infos, strict=True):
            self.steps[index] += 1
            again = info.get("attempt", 0) > 0
            actions.append(COUNT if self.steps[index] < 3 and not again else ANSWER if again else GIVE_UP)
        return actions


class Drifting(Scripted):
    """Acts otherwise every time it is asked."""

    name = "drifting"
    asked = 0

    def act(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Any]) -> list[str]:
        self.asked += 1
        return [COUNT if self.asked % 2 else SAY for _ in indices]


def test_an_agent_that_cannot_be_copied_is_asked_again_and_reads_what_failed() -> None:
    agent = Scripted()
    (played,) = evaluate(Evaluation(TOYS, episodes=1, strategy="dfsdt"), agent)
    assert [call["parent"] for call in played.metadata["search_tree"]] == [-1, 0, 1, 0]
    assert [step.action.text for step in played.steps] == [COUNT, ANSWER]  # giving up backed up two levels
    assert (played.metadata["search_calls"], played.metadata["search_method"]) == (4, "DFS_woFilter_w2")
    assert "all previous trails failed" in agent.seen[-1]
    assert '"name": "count_up_for_counter"' in agent.seen[-1]
    assert "again, your former observation" in agent.seen[-1]


def test_an_agent_that_acts_differently_when_asked_again_is_refused_with_what_it_lacks() -> None:
    with pytest.raises(ConfigurationError, match=r"drifting acts differently .* `fork` and `free`"):
        evaluate(Evaluation(TOYS, episodes=1, strategy="dfsdt", env_kwargs={"call_budget": 2}), Drifting())


@pytest.mark.parametrize("agent", ["random", "noisy-oracle", "greedy-docs", "oracle", "random-candidates"])
def test_one_attempt_is_the_episode_that_is_played_without_a_search(agent: str) -> None:
    plain = evaluate(Evaluation(WORLD, {"split": "depth-3"}, episodes=6), make_agent(agent))
    single = evaluate(Evaluation(WORLD, {"split": "depth-3"}, episodes=6, strategy="cot@1"), make_agent(agent))
    assert [(t.steps, t.rewards) for t in single] == [(t.steps, t.rewards) for t in plain]
    assert [t.metadata["outcome"] for t in single] == [t.metadata["outcome"] for t in plain]


@pytest.mark.parametrize("agent", ["random", "noisy-oracle", "random-candidates"])
@pytest.mark.parametrize("strategy", ["cot@4", "dfsdt"])
def test_the_number_of_searches_at_a_time_changes_no_result(agent: str, strategy: str) -> None:
    played = [
        evaluate(
            Evaluation(WORLD, {"split": "depth-3"}, episodes=9, slots=slots, strategy=strategy, max_calls=20),
            make_agent(agent, seed=3),
        )
        for slots in (1, 4)
    ]
    assert played[0] == played[1]


def test_each_attempt_draws_other_numbers_and_all_calls_are_charged() -> None:
    setting = {"split": "depth-1"}
    one, many = (
        evaluate(Evaluation(WORLD, setting, episodes=40, strategy=strategy), make_agent("random", finish=0.0))
        for strategy in ("cot@1", "cot@3")
    )
    for single, several in zip(one, many, strict=True):
        calls = several.metadata["search_tree"]
        assert several.metadata["search_calls"] == len(calls) >= len(several.steps)
        assert [call["action"]["text"] for call in calls[: len(single.steps)]] == [
            step.action.text for step in single.steps
        ]
    metrics = metrics_of(many)
    assert metrics["calls"] == pytest.approx(sum(t.metadata["search_calls"] for t in many) / 40)
    assert metrics["calls"] >= metrics_of(one)["calls"]


def test_pass_is_counted_against_all_calls_of_a_search(tmp_path: Path) -> None:
    """The answer is on a path of two calls, and the search made four: below four nothing is passed."""
    main(["evaluate", "--env", TOYS, "--agent", f"{__name__}:Scripted", "--episodes", "1", "--strategy", "dfsdt",
          "--max-calls", "10", "--out", str(tmp_path / "run")])  # fmt: skip
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert [metrics[f"pass_at_budget_{budget}"] for budget in range(1, 7)] == [0, 0, 0, 1, 1, 1]
    run = json.loads((tmp_path / "run" / "run.json").read_text())["evaluation"]
    assert (run["strategy"], run["width"], run["max_calls"]) == ("dfsdt", 2, 10)
    (back,) = read_trajectories(tmp_path / "run" / "trajectories.jsonl").trajectories
    assert len(back.metadata["search_tree"]) == 4


def test_a_recorded_search_is_repeated_call_by_call(tmp_path: Path) -> None:
    arguments = ["--env", WORLD, "--env-args", "split=depth-3", "call_budget=3", "--episodes", "8",
                 "--strategy", "dfsdt", "--max-calls", "25"]  # fmt: skip
    main(["evaluate", *arguments, "--agent", "noisy-oracle", "--out", str(tmp_path / "first")])
    main(["evaluate", *arguments, "--agent", f"replay:{tmp_path / 'first'}", "--out", str(tmp_path / "again")])
    first, again = (read_trajectories(tmp_path / run / "trajectories.jsonl").trajectories for run in ("first", "again"))
    assert any(len(trajectory.metadata["search_tree"]) > len(trajectory.steps) for trajectory in first)
    assert again == first


def test_the_published_searches_replay_to_the_same_answers(published_data: Path) -> None:
    """With their depth of 12 nodes: the same calls in the same order, as many as the files count requests."""
    folder = published_data / "toolbench_answer_examples" / "answer"
    for method, strategy in (("virtual_chatgpt_dfs", "dfsdt"), ("virtual_chatgpt_cot", "cot@1")):
        recorded = {trajectory.task.id: trajectory for trajectory in read_recordings(folder / method)}
        settings = {"suite": "G1_instruction", "data": str(published_data)}
        evaluation = Evaluation("StepTool/StableToolBench-v0", settings, 3, strategy=strategy, max_depth=12)
        played = evaluate(evaluation, make_agent(f"replay:{folder / method}"))
        assert {trajectory.task.id for trajectory in played} == set(recorded) == {"588", "608", "1073"}
        for trajectory in played:
            file = recorded[trajectory.task.id]
            answers = [t.steps[-1].status is StatusCode.FINAL_ANSWER for t in (trajectory, file)]
            assert answers[0] == answers[1]
            if answers[1]:
                assert trajectory.steps[-1].action.arguments == file.steps[-1].action.arguments
            if "search_tree" in file.metadata:
                assert shape(trajectory) == shape(file)
                (source,) = folder.rglob(f"{trajectory.task.id}_DFS*.json")
                count = json.loads(source.read_text())["answer_generation"]["query_count"]
                assert trajectory.metadata["search_calls"] == count


def shape(trajectory: Trajectory) -> list[tuple[int, str, str]]:
    return [
        (call["parent"], call["action"]["name"], call["action"]["arguments"])
        for call in trajectory.metadata["search_tree"]
    ]


def test_a_chat_model_branches_without_asking_again_and_forgets_what_it_was_asked_for_one_action() -> None:
    """Its second action in a state sees the first; the conversation after it does not hold that message."""
    replies = iter([("count_up_for_counter", {"by": 1}), ("Finish", {"return_type": "give_up_and_restart"}),
                    ("say_it_for_echo", {"text": "b"}),
                    ("Finish", {"return_type": "give_answer", "final_answer": "b"})])  # fmt: skip

    def reply(_: Any) -> Any:
        name, arguments = next(replies)
        return {"choices": [{"message": calling(name, **arguments)}], "usage": {"total_tokens": 50}}

    with json_stub(reply, "/v1") as stub:
        agent = make_agent("openai:m", base_url=stub.url)
        settings = {"format": "openai", "call_budget": 6}
        # a call, giving up, which backs up to the start, and another call
        (played,) = evaluate(Evaluation(TOYS, settings, episodes=1, strategy="dfsdt", max_calls=6), agent)
        agent.close()  # type: ignore[attr-defined]
    hints = [
        [m for m in request["messages"] if "previous trails failed" in str(m["content"])] for request in stub.requests
    ]
    assert [len(each) for each in hints] == [0, 0, 1, 0]
    assert hints[2][0]["role"] == "user"
    assert [step.action.name for step in played.steps] == ["say_it_for_echo", "Finish"]
    assert len(stub.requests) == played.metadata["search_calls"] == 4
    assert played.metadata["tokens"] == 200
    generation = to_answer(played)["answer_generation"]
    assert (generation["query_count"], generation["total_tokens"]) == (4, 200)
    assert "count_up_for_counter" not in str(stub.requests[3]["messages"][2:])


def test_a_policy_searches_and_its_first_path_is_its_episode() -> None:
    bundle = load_policy(resolve_checkpoint("nano-sft"))
    setting = {"split": "depth-1", "tools": 26, "prompt": "compact"}
    plain, searched = (
        evaluate(
            Evaluation(WORLD, setting, episodes=4, slots=4, strategy=strategy, max_calls=8 if strategy else None),
            policy_agent(bundle, Sampling(48), temperature=1.0, seed=5),
        )
        for strategy in ("", "dfsdt")
    )
    for episode, search in zip(plain, searched, strict=True):
        calls = [call["action"]["text"] for call in search.metadata["search_tree"]]
        count = min(len(episode.steps), len(calls))
        assert calls[:count] == [step.action.text for step in episode.steps[:count]]
        assert len(calls) == search.metadata["search_calls"] <= 8


def test_searches_over_http_are_those_in_process() -> None:
    settings = {"split": "depth-2"}
    local = Evaluation(WORLD, settings, episodes=6, strategy="dfsdt", max_calls=12)
    with ServerProcess(["--world", "0"]) as server:
        remote = Evaluation(WORLD, settings | {"server_url": server.url}, episodes=6, strategy="dfsdt", max_calls=12)
        played = [evaluate(each, make_agent("noisy-oracle", seed=1)) for each in (local, remote)]
    assert [(t.steps, t.metadata["search_tree"]) for t in played[0]] == [
        (t.steps, t.metadata["search_tree"]) for t in played[1]
    ]


def test_the_calls_of_all_searches_are_sent_together() -> None:
    from agents.evaluation.search import SearchLoop, SearchSettings
    from agents.rollout.episode_loop import Start
    from steptool_env.env import ToolEnv

    client = CountingClient()
    loop = SearchLoop(ToolEnv(ToySuite(), toy_config(), client), Scripted(), SearchSettings("dfsdt"))
    ended = dict(loop.play([Start(index, index) for index in range(5)], 5))
    assert sorted(ended) == [0, 1, 2, 3, 4]
    assert client.exchanges == [5, 5]  # the third and fourth action of each are `Finish`


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--strategy", "bfs"], "strategy='bfs': must be dfsdt, or cot@N"),
        (["--strategy", "cot@0"], "strategy='cot@0'"),
        (["--strategy", "dfsdt", "--width", "0"], "width=0: must be at least 1"),
        (["--max-calls", "3"], "give strategy=dfsdt or strategy=cot@N"),
    ],
)
def test_wrong_flags_are_named(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["evaluate", "--env", TOYS, "--agent", "random", "--out", str(tmp_path / "o"), *flags])
    assert message in capsys.readouterr().err


def test_a_wrapped_environment_cannot_be_searched() -> None:
    from agents.evaluation.search import SearchLoop, SearchSettings
    from steptool_env.env import ToolEnv

    wrapped = gym.wrappers.TransformReward(ToolEnv(ToySuite(), toy_config()), float)
    with pytest.raises(ConfigurationError, match="TransformReward cannot be searched"):
        SearchLoop(wrapped, Scripted(), SearchSettings("dfsdt"))


def test_tokens_of_an_episode_are_those_that_the_endpoint_counts() -> None:
    message = calling("Finish", return_type="give_answer", final_answer="b")
    with json_stub(lambda _: {"choices": [{"message": message}], "usage": {"total_tokens": 7}}, "/v1") as stub:
        agent = make_agent("openai:m", base_url=stub.url)
        played = evaluate(Evaluation(TOYS, {"format": "openai"}, episodes=3, slots=2), agent)
        agent.close()  # type: ignore[attr-defined]
    assert [trajectory.metadata["tokens"] for trajectory in played] == [7, 7, 7]

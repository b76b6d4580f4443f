"""Tests of `ToolEnv`: steps, budgets, statuses, hindsight, seeds and options."""

import pickle
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from gymnasium.error import ResetNeeded
from hypothesis import given, settings
from hypothesis import strategies as st

from steptool_env.env import ToolEnv
from steptool_env.episodes.config import EpisodeConfig
from steptool_env.errors import ConfigurationError
from tests.steptool_env.toys import (
    ACTIONS,
    ANSWER,
    COUNT,
    FAIL,
    GIVE_UP,
    SAY,
    CountingReward,
    ToySuite,
    Unreachable,
    call,
    play,
    toy_config,
    toy_env,
)
from toolserver.catalog.api_schema import StatusCode, ToolCall, ToolResponse
from toolserver.catalog.catalog import Catalog
from toolserver.service.service import ToolService


def test_reset_returns_task_tools_and_budget() -> None:
    prompt, info = toy_env().reset(options={"task": "toy-3"})
    assert "Count to 3." in prompt
    assert [f["name"] for f in info["functions"]] == [
        "count_up_for_counter",
        "say_it_for_echo",
        "fail_for_broken",
        "Finish",
    ]
    assert all(f["name"] in prompt for f in info["functions"])
    assert (info["task_id"], info["suite"], info["format"], info["calls_left"]) == ("toy-3", "toys", "react", 6)
    assert [m["role"] for m in info["messages"]] == ["system", "user"]


def test_a_call_shows_the_answer_and_the_calls_that_remain() -> None:
    env = toy_env()
    env.reset(options={"task": 0, "episode_seed": 7})
    observation, reward, terminated, truncated, info = env.step(COUNT)
    assert observation == '{"error": "", "response": {"count": 8}}\nCalls left: 5'
    assert (reward, terminated, truncated) == (1.0, False, False)
    assert info == {
        "status": 0,
        "provenance": "world",
        "reward_terms": {"good": 1.0},
        "calls_left": 5,
        "latency": 0.5,
    }
    assert '"count": 9' in env.step(COUNT)[0]


@pytest.mark.parametrize(
    ("action", "status", "says"),
    [
        ("no call", StatusCode.BAD_INPUT, "No function call can be read"),
        ("Action: count_up_for_counter\nAction Input: {", StatusCode.BAD_INPUT, "Tool input parse error..."),
        (call("count_down"), StatusCode.NO_SUCH_FUNCTION, "No such function name: count_down"),
        (FAIL, StatusCode.NOT_WORKING, "API not working error..."),
        (call("Finish"), StatusCode.BAD_INPUT, 'must have "return_type"'),
        (call("Finish", return_type="give_answer"), StatusCode.BAD_INPUT, 'must have "final_answer"'),
        (call("Finish", return_type="maybe"), StatusCode.BAD_INPUT, "not a valid choice"),
    ],
)
def test_a_failed_action_is_a_step_with_toolbenchs_status(action: str, status: StatusCode, says: str) -> None:
    env = toy_env()
    env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(action)
    assert says in observation
    assert (info["status"], reward, terminated, truncated, info["calls_left"]) == (status, 0.0, False, False, 5)


def test_an_episode_that_is_cut_is_judged_on_what_was_done() -> None:
    env = toy_env()
    env.reset(seed=0)
    env.step(COUNT)
    env.step(COUNT)
    info = env.truncate()
    assert info["step_rewards"] == info["trajectory"].rewards == (1.0, 2.0)
    assert info["outcome"] == {"is_solved": 0.0}
    assert (info["trajectory"].terminated, info["trajectory"].truncated) == (False, True)
    env.render_mode = "ansi"
    assert "stopped by the agent" in (env.render() or "")
    for same in (env, env.fork(), pickle.loads(pickle.dumps(env))):
        for move in (partial(same.step, COUNT), same.truncate):
            with pytest.raises(ResetNeeded):
                move()


@pytest.mark.parametrize(("action", "status"), [(ANSWER, 3), (GIVE_UP, 4)])
def test_finish_terminates(action: str, status: int) -> None:
    env = toy_env()
    env.reset(seed=0)
    env.step(COUNT)
    *_, terminated, truncated, info = env.step(action)
    assert (terminated, truncated, info["status"]) == (True, False, status)
    assert info["outcome"] == {"is_solved": float(status == 3)}
    assert info["step_rewards"] == (1.0, 1.0)
    trajectory = info["trajectory"]
    assert trajectory.rewards == info["step_rewards"]
    assert [dict(step.reward_terms) for step in trajectory.steps] == [{"n": 0.0}, {"n": 1.0}]
    assert [step.reward for step in trajectory.steps] == [1.0, 0.0]
    assert trajectory.metadata["outcome"] == info["outcome"]


def test_a_broken_off_answer_counts_as_toolbench_counts_it() -> None:
    env = toy_env()
    env.reset(seed=0)
    text = 'Action: Finish\nAction Input: {\n  "return_type": "give_answer",\n  "final_answer": "It is 3, beca'
    *_, terminated, _, info = env.step(text)
    assert terminated
    assert info["status"] == StatusCode.FINAL_ANSWER


def test_the_budget_is_shown_counts_every_step_and_terminates() -> None:
    env = toy_env(call_budget=3)
    _, info = env.reset(seed=0)
    assert info["calls_left"] == 3
    transitions = [env.step(action) for action in ("nonsense", COUNT, SAY)]
    assert [observation.rpartition("\n")[2] for observation, *_ in transitions] == [
        "Calls left: 2",
        "Calls left: 1",
        "Calls left: 0",
    ]
    assert [info["calls_left"] for *_, info in transitions] == [2, 1, 0]
    assert [transition[2:4] for transition in transitions] == [(False, False)] * 2 + [(True, False)]
    assert transitions[-1][4]["outcome"] == {"is_solved": 0.0}
    assert not transitions[-1][4]["trajectory"].finished
    env.reset(seed=0)
    env.step(COUNT)
    env.step(COUNT)
    assert env.step(ANSWER)[2:4] == (True, False)


def test_a_long_answer_is_cut_with_a_visible_marker() -> None:
    env = toy_env(max_observation_length=40)
    env.reset(seed=0)
    observation, *_ = env.step(call("say_it_for_echo", text="x" * 100))
    body = '{"error": "", "response": "' + "x" * 100 + '"}'
    assert observation == f"{body[:40]}... [{len(body) - 40} characters cut]\nCalls left: 5"
    assert env.step(ANSWER)[4]["trajectory"].steps[0].body == body


def test_steps_before_reset_and_after_the_end_are_refused() -> None:
    env = toy_env()
    with pytest.raises(ResetNeeded):
        env.step(COUNT)
    env.reset(seed=0)
    env.step(ANSWER)
    with pytest.raises(ResetNeeded):
        env.step(COUNT)


def test_the_seed_fixes_the_sequence_of_tasks() -> None:
    def tasks(seed: int) -> list[tuple[str, int]]:
        env = toy_env()
        env.reset(seed=seed)
        starts = []
        for _ in range(12):
            starts.append((env.episode.task.id, env.episode.seed))
            env.reset()
        return starts

    assert tasks(1) == tasks(1)
    assert tasks(1) != tasks(2)
    assert len({task for task, _ in tasks(1)}) > 3


def test_a_task_chosen_by_hand_does_not_change_those_after_it() -> None:
    env, other = toy_env(), toy_env()
    env.reset(seed=5)
    other.reset(seed=5, options={"task": "toy-9", "episode_seed": 1})
    assert other.episode.task.id == "toy-9"
    assert env.reset()[1] == other.reset()[1]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"task": "toy-99"}, "toy-0 to toy-9"),
        ({"task": 10}, "from 0 to 9"),
        ({"task": -1}, "from 0 to 9"),
        ({"task": 1.5}, "from 0 to 9"),
        ({"task": True}, "task"),
        ({"episode_seed": True}, "episode_seed"),
        ({"episode_seed": -1}, "episode_seed"),
        ({"episode_seed": "x"}, "episode_seed"),
        ({"taks": 1}, "taks"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        toy_env().reset(options=options)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"call_budget": 0}, "call_budget=0"),
        ({"max_observation_length": 1.5}, "max_observation_length=1.5"),
        ({"prompt": "poem"}, "toolbench, compact"),
    ],
)
def test_wrong_rules_are_named(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        EpisodeConfig(CountingReward(), **changes)  # type: ignore[arg-type]


def test_an_unreachable_server_truncates_the_episode_without_a_score() -> None:
    env = ToolEnv(ToySuite(), toy_config(), Unreachable())
    env.reset(seed=0)
    env.step("nonsense")
    _, reward, terminated, truncated, info = env.step(COUNT)
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert info["transport_error"] == "http://tools: ConnectError"
    assert "outcome" not in info
    assert len(info["step_rewards"]) == len(info["trajectory"].steps) == 1
    assert info["trajectory"].metadata["transport_error"] == info["transport_error"]
    assert "outcome" not in info["trajectory"].metadata


class Foreign(Unreachable):
    """A client whose server has the tools of other tasks."""

    def call_many(self, calls: Sequence[ToolCall]) -> list[ToolResponse]:
        return ToolService(Catalog(), []).call_many(calls)


def test_tools_of_other_tasks_end_the_run() -> None:
    """To drop the episodes that call an unknown API would leave those that call less."""
    env = ToolEnv(ToySuite(), toy_config(), Foreign())
    env.reset(seed=0)
    with pytest.raises(ConfigurationError, match=r"do not know count_up_for_counter, which task .* of 'toys' offers"):
        env.step(COUNT)


@pytest.mark.parametrize("action", [None, 3, ["text"], b"bytes"])
def test_an_action_that_is_not_text_is_refused(action: Any) -> None:
    env = toy_env()
    env.reset(seed=0)
    with pytest.raises(ConfigurationError, match="must be text"):
        env.step(action)


def test_ansi_shows_query_actions_and_rewards() -> None:
    env = ToolEnv(ToySuite(), toy_config(), render_mode="ansi")
    env.reset(options={"task": "toy-2"})
    env.step(COUNT)
    env.step(ANSWER)
    picture = env.render()
    assert picture is not None
    assert all(part in picture for part in ("Count to 2.", "count_up_for_counter", "ok, world, reward 1", "finished"))


@settings(max_examples=80)
@given(texts=st.lists(st.text() | st.sampled_from(ACTIONS), max_size=6))
def test_any_text_is_a_step(texts: list[str]) -> None:
    env = toy_env()
    env.reset(seed=0)
    for step in play(env, texts):
        assert env.observation_space.contains(step.observation)
        assert step.info["status"] in set(StatusCode)

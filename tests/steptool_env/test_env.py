"""What `ToolEnv` promises: the five-tuple, budgets, statuses, hindsight, seeds, snapshots and forks."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pytest
from gymnasium.error import ResetNeeded
from hypothesis import given, settings
from hypothesis import strategies as st

from steptool_env.env import ToolEnv
from steptool_env.envs.toolworld import ToolWorldEnv
from steptool_env.episodes.config import EpisodeConfig
from steptool_env.episodes.episode import Transition
from steptool_env.errors import ConfigurationError, DataError
from steptool_env.vector import ToolVectorEnv
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
    toy_config,
)
from toolserver.catalog.api_schema import StatusCode, ToolCall, ToolResponse
from toolserver.catalog.catalog import Catalog
from toolserver.service.service import ToolService

SCRIPTS = st.lists(st.sampled_from(ACTIONS), max_size=8)


def toy_env(**changes: object) -> ToolEnv:
    return ToolEnv(ToySuite(), toy_config(**changes))


def play(env: ToolEnv, actions: Sequence[str]) -> list[Transition]:
    """Everything that `env` returns for `actions`, until its episode ends."""
    seen: list[Transition] = []
    for action in actions:
        if env.episode.over:
            break
        seen.append(env.step(action))
    return seen


def test_reset_tells_task_tools_and_budget() -> None:
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
def test_what_goes_wrong_is_a_step_with_toolbenchs_status(action: str, status: StatusCode, says: str) -> None:
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


def test_a_long_answer_is_cut_where_all_can_see() -> None:
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


def test_tools_out_of_reach_lose_the_episode_and_blame_nobody() -> None:
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


class Foreign:
    """A client whose server has the tools of other tasks."""

    def call_many(self, calls: Sequence[ToolCall]) -> list[ToolResponse]:
        return ToolService(Catalog(), []).call_many(calls)

    def stream(self, calls: Sequence[ToolCall]) -> Iterator[ToolResponse]:
        yield from self.call_many(calls)

    def close(self) -> None:
        pass


def test_tools_of_other_tasks_lose_the_episode_and_blame_nobody() -> None:
    env = ToolEnv(ToySuite(), toy_config(), Foreign())
    env.reset(seed=0)
    *_, truncated, info = env.step(COUNT)
    assert truncated
    assert "count_up_for_counter" in info["transport_error"]
    assert "tools of toys" in info["transport_error"]


@pytest.mark.parametrize("action", [None, 3, ["text"], b"bytes"])
def test_an_action_that_is_no_text_is_a_mistake_of_the_caller(action: Any) -> None:
    env = toy_env()
    env.reset(seed=0)
    with pytest.raises(ConfigurationError, match="must be text"):
        env.step(action)


@settings(max_examples=60)
@given(before=SCRIPTS, between=SCRIPTS, after=SCRIPTS, seed=st.integers(0, 99))
def test_restore_after_snapshot_is_the_identity(
    before: list[str], between: list[str], after: list[str], seed: int
) -> None:
    env = toy_env()
    env.reset(seed=seed)
    play(env, before)
    snapshot = env.snapshot()
    expected = play(env, after), env.reset()
    env.restore(snapshot)
    play(env, between)
    env.restore(snapshot)
    assert env.snapshot() == snapshot
    assert (play(env, after), env.reset()) == expected
    other = toy_env()
    other.restore(snapshot)
    assert (play(other, after), other.reset()) == expected


class Counted(ToolEnv):
    """A subclass with arguments of its own."""

    def __init__(self, extra: str) -> None:
        super().__init__(ToySuite(), toy_config(), render_mode="ansi")
        self.extra = extra


def test_a_fork_is_of_the_same_class() -> None:
    env = Counted("kept")
    with pytest.raises(ResetNeeded):
        env.fork()
    env.reset(seed=3)
    fork = env.fork()
    assert type(fork) is Counted
    assert (fork.extra, fork.render_mode, fork.spec) == ("kept", "ansi", env.spec)
    assert fork.np_random is not env.np_random
    assert fork.episode is not env.episode
    twice = fork.fork()
    assert type(twice) is Counted
    assert twice.step(COUNT) == fork.step(COUNT) == env.step(COUNT)
    assert fork.action_space is not env.action_space


def test_a_fork_goes_its_own_way() -> None:
    env = toy_env()
    env.reset(seed=3)
    env.step(COUNT)
    fork = env.fork()
    assert fork.step(COUNT) == env.step(COUNT)
    fork.step(SAY)
    fork.close()
    assert env.step(SAY)[4]["calls_left"] == 3
    assert env.reset() == fork.reset()


@pytest.mark.parametrize("change", ["cut", "text", "other", "rules", "reward", "suite", "task", "steps"])
def test_a_damaged_or_foreign_snapshot_is_refused(change: str) -> None:
    env = toy_env()
    env.reset(seed=0)
    env.step(COUNT)
    record = json.loads(env.snapshot())
    if change == "rules":
        record["rules"]["call_budget"] = 99
    elif change == "suite":
        record["suite"]["name"] = "games"
    elif change == "reward":
        del record["reward"]
    elif change == "task":
        record["episode"]["task"] = "toy-77"
    elif change == "steps":
        del record["episode"]["steps"][0]["status"]
    snapshot = {"cut": env.snapshot()[:-9], "text": b"hello", "other": b"[]"}.get(change, json.dumps(record).encode())
    with pytest.raises(DataError, match="snapshot"):
        env.restore(snapshot)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"reward": "final"}, r"reward\.kind='progress' there and 'final' here"),
        ({"reward_options": {"cost": 0.5}}, r"reward\.cost=0\.02 there and 0\.5 here"),
        ({"faults": "harsh"}, r"suite\.faults='mild' there and 'harsh' here"),
        ({"world_seed": 1}, r"suite\.world_seed=0 there and 1 here"),
        ({"level": "standard"}, r"suite\.level='lite' there and 'standard' here"),
        ({"split": "validation"}, r"suite\.name='train' there and 'validation' here"),
        ({"unsolvable": 0.5}, r"suite\.unsolvable=0\.05 there and 0\.5 here"),
        ({"depths": {"1": 1}}, r"suite\.depths=\[\] there and \[\[1, 1\.0\]\] here"),
        ({"tools": 64}, r"suite\.tools=None there and 64 here"),
        ({"call_budget": 5}, r"rules\.call_budget=12 there and 5 here"),
    ],
)
def test_a_snapshot_of_other_rewards_faults_or_tasks_is_refused(arguments: dict[str, Any], says: str) -> None:
    env = ToolWorldEnv(faults="mild")
    env.reset(seed=0)
    env.step("no call")
    snapshot = env.snapshot()
    other = ToolWorldEnv(**{"faults": "mild", **arguments})
    with pytest.raises(DataError, match=f"{says}.*same arguments"):
        other.restore(snapshot)
    vector = ToolVectorEnv(2, other.suite, other.config)
    vector.reset(seed=0)
    with pytest.raises(DataError, match=says):
        vector.restore(1, snapshot)


def test_a_snapshot_is_taken_where_the_same_is_said_in_other_words() -> None:
    env = ToolWorldEnv(reward="steptool")
    env.reset(seed=0)
    other = ToolWorldEnv(
        render_mode="ansi", reward="steptool", reward_options={"judge": "world"}, faults="none", level="lite"
    )
    other.restore(env.snapshot())
    assert other.snapshot() == env.snapshot()


WRONG = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just([]) | st.just({}) | st.just([{}])


@settings(max_examples=150)
@given(data=st.data(), wrong=WRONG)
def test_a_snapshot_with_any_field_wrong_is_refused_or_restored(data: st.DataObject, wrong: object) -> None:
    env = toy_env()
    env.reset(seed=0)
    env.step(COUNT)
    before = env.snapshot()
    record = place = json.loads(before)
    while isinstance(place, dict | list) and place:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if data.draw(st.booleans()) or not isinstance(place[key], dict | list) or not place[key]:
            place[key] = wrong
            break
        place = place[key]
    try:
        env.restore(json.dumps(record).encode())
    except DataError:
        assert env.snapshot() == before  # a refusal changes nothing


def test_pickling_keeps_the_episode() -> None:
    env = toy_env()
    env.reset(seed=4)
    env.step(COUNT)
    twin = pickle.loads(pickle.dumps(env))
    assert [twin.step(a) for a in (COUNT, SAY)] == [env.step(a) for a in (COUNT, SAY)]
    assert twin.reset() == env.reset()
    assert pickle.loads(pickle.dumps(toy_env())).reset(seed=1) == toy_env().reset(seed=1)


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

"""`ToolVectorEnv` gives what Gymnasium's `SyncVectorEnv` over `ToolEnv`s gives, with one exchange per step."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from steptool_env.client import LocalToolClient
from steptool_env.env import ToolEnv
from steptool_env.errors import ConfigurationError, ToolTransportError
from steptool_env.vector import ToolVectorEnv
from tests.steptool_env.toys import ACTIONS, ANSWER, COUNT, SAY, CountingClient, ToySuite, toy_config
from toolserver.catalog.api_schema import ToolCall, ToolResponse

N = 3
MODES = list(AutoresetMode)
each_mode = pytest.mark.parametrize("mode", MODES, ids=[mode.value for mode in MODES])


def vector_env(mode: AutoresetMode = AutoresetMode.NEXT_STEP, client: Any = None, **changes: Any) -> ToolVectorEnv:
    return ToolVectorEnv(N, ToySuite(), toy_config(**changes), client, mode)


def sync_env(mode: AutoresetMode) -> SyncVectorEnv:
    return SyncVectorEnv([partial(ToolEnv, ToySuite(), toy_config())] * N, autoreset_mode=mode)


def same(left: Any, right: Any) -> bool:
    """Equality of what vector environments return, arrays included."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, tuple | list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and all(map(same, left.tolist(), right.tolist()))
    return bool(left == right)


def reset_the_finished(env: Any, terminated: Any, truncated: Any) -> Any:
    mask = terminated | truncated
    return env.reset(options={"reset_mask": mask}) if mask.any() else None


@each_mode
@settings(max_examples=25)
@given(script=st.lists(st.tuples(*[st.sampled_from(ACTIONS)] * N), max_size=12), seed=st.integers(0, 99))
def test_it_equals_gymnasiums_vector_of_single_environments(
    mode: AutoresetMode, script: list[tuple[str, ...]], seed: int
) -> None:
    ours, theirs = vector_env(mode), sync_env(mode)
    assert same(ours.reset(seed=seed), theirs.reset(seed=seed))
    for actions in script:
        mine, their = ours.step(actions), theirs.step(actions)
        assert same(mine, their)
        if mode is AutoresetMode.DISABLED:
            assert same(reset_the_finished(ours, *mine[2:4]), reset_the_finished(theirs, *their[2:4]))


def test_a_step_is_one_exchange_and_text_without_a_call_is_none() -> None:
    client = CountingClient()
    env = vector_env(client=client)
    env.reset(seed=0)
    env.step((COUNT, SAY, COUNT))
    env.step(("nonsense", SAY, ANSWER))
    env.step((ANSWER, "nonsense", COUNT))
    assert client.exchanges == [3, 1]


def test_the_action_of_a_reset_step_is_ignored() -> None:
    env = vector_env()
    env.reset(seed=0)
    env.step((ANSWER, COUNT, COUNT))
    observations, rewards, terminated, truncated, infos = env.step((COUNT, COUNT, COUNT))
    assert observations[0].startswith("System:")
    assert (rewards[0], terminated[0], truncated[0]) == (0.0, False, False)
    assert infos["_task_id"].tolist() == [True, False, False]
    assert infos["_status"].tolist() == [False, True, True]


def test_a_partial_reset_does_not_change_the_others() -> None:
    env = vector_env(AutoresetMode.DISABLED)
    env.reset(seed=0)
    before, *_ = env.step((COUNT, COUNT, COUNT))
    after, infos = env.reset(options={"reset_mask": np.array([False, True, False])})
    assert (after[0], after[2]) == (before[0], before[2])
    assert after[1] != before[1]
    assert infos["_task_id"].tolist() == [False, True, False]


def test_tasks_can_be_chosen_per_environment() -> None:
    env = vector_env()
    _, infos = env.reset(seed=0, options={"task": ["toy-7", None, 2], "episode_seed": 5})
    assert infos["task_id"][0] == "toy-7"
    assert infos["task_id"][2] == "toy-2"
    observations, *_ = env.step((COUNT, COUNT, COUNT))
    assert all('"count": 6' in observation for observation in observations)


@pytest.mark.parametrize("steps", [(), (COUNT,), (COUNT, SAY)])
def test_a_reset_of_other_environments_returns_the_observation_of_a_restored_one(steps: tuple[str, ...]) -> None:
    env = vector_env(AutoresetMode.DISABLED)
    observations, _ = env.reset(seed=3)
    for action in steps:
        observations, *_ = env.step([action] * N)
    snapshot, seen = env.snapshot(0), observations[0]
    env.step([ANSWER] * N)
    env.restore(0, snapshot)
    observations, _ = env.reset(options={"reset_mask": np.array([False, True, True])})
    assert observations[0] == seen


def test_snapshots_move_between_slots() -> None:
    env = vector_env()
    env.reset(seed=0)
    env.step((COUNT, SAY, COUNT))
    snapshot = env.snapshot(0)
    expected = env.step((COUNT, SAY, COUNT))[0][0]
    env.restore(2, snapshot)
    assert env.step((SAY, SAY, COUNT))[0][2] == expected


class Flaky(LocalToolClient):
    """Fails at the second exchange."""

    def __init__(self) -> None:
        super().__init__(ToySuite())
        self.exchanges = 0

    def call_many(self, calls: Sequence[ToolCall]) -> list[ToolResponse]:
        self.exchanges += 1
        if self.exchanges == 2:
            raise ToolTransportError("away")
        return super().call_many(calls)


def test_a_lost_exchange_truncates_those_that_called_and_no_others() -> None:
    env = vector_env(client=Flaky())
    env.reset(seed=0)
    env.step((COUNT, COUNT, COUNT))
    _, _, terminated, truncated, infos = env.step((COUNT, "nonsense", ANSWER))
    assert truncated.tolist() == [True, False, False]
    assert terminated.tolist() == [False, False, True]
    assert infos["_transport_error"].tolist() == [True, False, False]
    assert infos["_outcome"].tolist() == [False, False, True]
    assert env.step((COUNT, COUNT, COUNT))[0][0].startswith("System:")


class Breaking(LocalToolClient):
    """Loses all answers but the first."""

    def __init__(self) -> None:
        super().__init__(ToySuite())

    def stream(self, calls: Sequence[ToolCall]) -> Iterator[ToolResponse]:
        yield self.call_many(calls)[0]
        raise ToolTransportError("away")


def test_what_was_answered_before_an_exchange_broke_counts() -> None:
    env = vector_env(client=Breaking())
    env.reset(seed=0)
    *_, truncated, infos = env.step((COUNT, COUNT, COUNT))
    assert truncated.tolist() == [False, True, True]
    assert infos["_transport_error"].tolist() == [False, True, True]


def test_spaces_hold_what_is_returned() -> None:
    env = vector_env()
    observations, _ = env.reset(seed=0)
    assert env.observation_space.contains(observations)
    assert env.action_space.contains(env.action_space.sample())


@pytest.mark.parametrize(
    ("misuse", "error", "says"),
    [
        (lambda env: env.step((COUNT,) * N), ResetNeeded, "no episode"),
        (lambda env: env.truncate(0), ResetNeeded, "no episode"),
        (lambda env: env.snapshot(0), ResetNeeded, "no episode"),
        (lambda env: env.restore(0, b""), ResetNeeded, "no episode"),
        (lambda env: env.reset(options={"reset_mask": np.array([True, False, False])}), ResetNeeded, "every"),
        (lambda env: env.reset(seed=[1, 2]), ConfigurationError, "2 seeds"),
        (lambda env: env.reset(options={"task": ["toy-1"]}), ConfigurationError, "1 entries"),
        (lambda env: env.reset(options={"reset_mask": [True] * N}), ConfigurationError, "bool array"),
        (lambda env: env.reset(options={"reset_mask": np.zeros(N, dtype=bool)}), ConfigurationError, "at least one"),
    ],
)
def test_misuse_is_named(misuse: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        misuse(vector_env())


def test_the_number_of_actions_and_the_mode_are_checked() -> None:
    env = vector_env()
    env.reset(seed=0)
    with pytest.raises(ConfigurationError, match="1 actions"):
        env.step((COUNT,))
    with pytest.raises(ConfigurationError, match="NextStep"):
        ToolVectorEnv(N, ToySuite(), toy_config(), autoreset_mode="whenever")
    with pytest.raises(ConfigurationError, match="num_envs=0"):
        ToolVectorEnv(0, ToySuite(), toy_config())


def test_without_autoreset_a_finished_environment_must_be_reset() -> None:
    env = vector_env(AutoresetMode.DISABLED)
    env.reset(seed=0)
    env.step((ANSWER, COUNT, COUNT))
    with pytest.raises(ResetNeeded, match=r"\[0\]"):
        env.step((COUNT, COUNT, COUNT))

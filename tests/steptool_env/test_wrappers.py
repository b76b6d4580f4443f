"""Wrappers and vector environments of Gymnasium and Stable-Baselines3 around the registered environments."""

import json
import pickle
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces, wrappers
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import batch_differing_spaces, create_empty_array

import steptool_env  # noqa: F401 - registers the environments
from steptool_env.discrete.vector import DiscreteToolVectorEnv
from steptool_env.discrete.view import CANDIDATES
from steptool_env.errors import ConfigurationError
from steptool_env.spaces import UnicodeText
from tests.steptool_env.test_vector import each_mode, reset_the_finished, same

TEXT, DISCRETE = "StepTool/ToolWorld-v0", "StepTool/ToolWorldDiscrete-v0"
GIVE_UP = 'Action: Finish\nAction Input: {"return_type": "give_up_and_restart"}'


def play(env: gym.Env[Any, Any], action: Any) -> tuple[list[Any], list[dict[str, Any]]]:
    """An episode of one repeated action: its observations and infos."""
    observation, info = env.reset(seed=0)
    observations, infos, over = [observation], [info], False
    while not over:
        observation, _, terminated, truncated, info = env.step(action)
        assert observation in env.observation_space
        observations.append(observation)
        infos.append(info)
        over = terminated or truncated
    env.close()
    return observations, infos


def test_every_info_pickles_and_all_but_the_trajectory_is_json() -> None:
    for env_id, action in ((TEXT, "no call"), (DISCRETE, 0)):
        _, infos = play(gym.make(env_id), action)
        travelled = pickle.loads(pickle.dumps(infos))
        assert travelled[-1]["trajectory"].task.solution is None
        assert travelled == infos
        for info in infos:
            plain = {key: value for key, value in info.items() if key != "trajectory"}
            assert json.loads(json.dumps(plain)) == {
                key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()
            }


def test_the_offered_tools_have_the_form_of_openais_api() -> None:
    _, info = gym.make(TEXT).reset(seed=0)
    assert [tool["type"] for tool in info["tools"]] == ["function"] * len(info["functions"])
    assert [tool["function"] for tool in info["tools"]] == info["functions"]


def test_gymnasiums_wrappers_of_observations_take_texts() -> None:
    plain, _ = play(gym.make(TEXT, call_budget=3), "no call")
    stacked, _ = play(wrappers.FrameStackObservation(gym.make(TEXT, call_budget=3), 2, padding_type="zero"), "no call")
    assert stacked == list(zip(["", *plain], plain, strict=False))
    delayed, _ = play(wrappers.DelayObservation(gym.make(TEXT, call_budget=3), 1), "no call")
    assert delayed == ["", *plain[:-1]]
    assert play(wrappers.FlattenObservation(gym.make(TEXT, call_budget=3)), "no call")[0] == plain


def test_texts_have_gymnasiums_functions_of_spaces() -> None:
    space = UnicodeText(5)
    assert create_empty_array(space, 2) == ("", "")
    assert spaces.unflatten(space, spaces.flatten(space, "é")) == "é"
    assert spaces.flatten_space(space) == space
    assert ("a" * 5, "b" * 9) in batch_differing_spaces([space, UnicodeText(9)])
    envs = SyncVectorEnv([partial(gym.make, TEXT)] * 2, observation_mode="different")
    assert envs.reset(seed=0)[0] in envs.observation_space
    envs.close()


@pytest.mark.parametrize("env_id", [TEXT, DISCRETE])
def test_a_time_limit_is_refused_and_the_remedy_named(env_id: str) -> None:
    for env in (gym.make(env_id, max_episode_steps=2), wrappers.TimeLimit(gym.make(env_id), 2)):
        with pytest.raises(ConfigurationError, match=r"max_episode_steps=2: .*call_budget=2"):
            env.reset(seed=0)
    _, infos = play(gym.make(env_id, call_budget=2), 63 if env_id == DISCRETE else "no call")
    assert len(infos) == 3
    assert {"step_rewards", "outcome", "trajectory"} <= infos[-1].keys()


def test_the_time_limit_of_an_environment_that_holds_another_is_not_its_own() -> None:
    class Outer(gym.Env[int, int]):
        action_space = observation_space = spaces.Discrete(1)

        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict[str, Any]]:
            return 0, gym.make(TEXT).reset(seed=seed)[1]

    assert "task_id" in wrappers.TimeLimit(Outer(), 2).reset(seed=0)[1]


def test_an_image_shows_the_episode() -> None:
    pytest.importorskip("PIL")
    env = gym.make(TEXT, render_mode="rgb_array")
    env.reset(seed=0)
    before: Any = env.render()
    assert (before.shape, before.dtype) == ((540, 960, 3), np.uint8)
    env.step("no call")
    after: Any = env.render()
    assert (before != after).any()
    envs = gym.make_vec(TEXT, num_envs=2, render_mode="rgb_array")
    envs.reset(seed=0)
    images: Any = envs.render()
    assert [image.shape for image in images] == [before.shape] * 2
    assert (images[0] == before).all()


@each_mode
def test_the_numeric_vector_equals_gymnasiums_vector_of_single_environments(mode: AutoresetMode) -> None:
    ours = gym.make_vec(DISCRETE, num_envs=3, autoreset_mode=mode, faults="mild", call_budget=4)
    assert isinstance(ours, DiscreteToolVectorEnv)
    make = partial(gym.make, DISCRETE, faults="mild", call_budget=4)
    theirs = SyncVectorEnv([make] * 3, autoreset_mode=mode)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert _same(ours.reset(seed=5), theirs.reset(seed=5))
    rng = np.random.default_rng(0)
    for _ in range(14):
        masks = ours.action_masks()
        assert (masks == theirs.call("action_masks")).all()
        actions = np.array([rng.choice(np.flatnonzero(mask)) for mask in masks])
        actions[0] = rng.integers(CANDIDATES)  # an empty slot is a step, too
        mine, their = ours.step(actions), theirs.step(actions)
        assert mine[0] in ours.observation_space
        assert _same(mine, their)
        if mode is AutoresetMode.DISABLED:
            assert _same(reset_the_finished(ours, *mine[2:4]), reset_the_finished(theirs, *their[2:4]))
    ours.close()
    theirs.close()


def _same(left: Any, right: Any) -> bool:
    """`same`, for the rows of final observations, too."""
    if isinstance(left, np.ndarray) and left.dtype != object:
        return left.dtype == right.dtype and bool((left == right).all())
    if isinstance(left, dict | tuple) and type(left) is type(right):
        keys = left if isinstance(left, dict) else range(len(left))
        return len(left) == len(right) and all(_same(left[key], right[key]) for key in keys)
    if isinstance(left, np.ndarray):
        return len(left) == len(right) and all(map(_same, left.tolist(), right.tolist()))
    return same(left, right)


def test_a_numeric_vector_goes_on_from_a_snapshot() -> None:
    envs: Any = gym.make_vec(DISCRETE, num_envs=2)
    envs.reset(seed=3)
    for _ in range(3):
        before = envs.step([int(np.flatnonzero(mask)[-1]) for mask in envs.action_masks()])[0]
    snapshot = envs.snapshot(0)
    assert envs.reset(seed=9)[0]["context"].tolist() != before["context"].tolist()
    envs.restore(0, snapshot)
    mask = before["mask"][0].astype(bool)
    assert (envs.action_masks()[0] == mask).all()
    after = envs.step([int(np.flatnonzero(mask)[0]), 0])
    twin: Any = gym.make_vec(DISCRETE, num_envs=2)
    twin.reset(seed=4)
    twin.restore(0, snapshot)
    again = twin.step([int(np.flatnonzero(mask)[0]), 0])
    assert all((after[0][key][0] == again[0][key][0]).all() for key in after[0])


@pytest.mark.parametrize("start_method", ["forkserver", pytest.param("spawn", marks=pytest.mark.slow)])
def test_sb3_plays_whole_episodes_in_processes(start_method: str) -> None:
    vec_env = pytest.importorskip("stable_baselines3.common.vec_env")
    envs = vec_env.SubprocVecEnv(
        [partial(gym.make, f"steptool_env:{DISCRETE}", call_budget=2)] * 2, start_method=start_method
    )
    envs.reset()
    for _ in range(2):
        *_, dones, infos = envs.step(np.full(2, CANDIDATES - 1))
    assert dones.all()
    assert all(len(info["trajectory"].steps) == 2 for info in infos)
    envs.close()


def test_sb3s_wrappers_take_the_numeric_form() -> None:
    vec_env = pytest.importorskip("stable_baselines3.common.vec_env")
    from stable_baselines3.common.env_util import make_vec_env

    for wrap in (vec_env.VecNormalize, partial(vec_env.VecFrameStack, n_stack=2)):
        envs = wrap(make_vec_env(DISCRETE, 2, env_kwargs={"call_budget": 2}))  # asks for rgb_array: no warning
        envs.reset()
        for _ in range(3):
            observation, *_ = envs.step(np.zeros(2, np.int64))
        assert observation["mask"].shape == (2, envs.observation_space["mask"].shape[0])
        envs.close()

"""Forks of episodes: the copy goes on as the original would, and the original never notices."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.wrappers import TimeLimit

from agents.errors import ConfigurationError
from agents.models.policy import Policy
from agents.rollout.engine import act
from agents.rollout.episode_pool import BatchedPool, EpisodePool, SeparatePool
from agents.rollout.sampler import TokenSampler
from agents.rollout.static_sampler import StaticTokenSampler
from agents.rollout.types import Sampled
from steptool_env.env import ToolEnv
from tests.agents.bandit import ToolBandit, exact_model
from tests.agents.rollout.test_sampler import generator
from tests.steptool_env.toys import ToySuite, toy_config

KINDS = pytest.mark.parametrize("kind", [TokenSampler, StaticTokenSampler])


def continued(sampler: TokenSampler, slot: int, actions: int = 3) -> list[Sampled]:
    found = []
    for _ in range(actions):
        found += act(sampler, [slot])
        sampler.append(slot, [5, 6])
    return found


def tokens(sampled: list[Sampled]) -> list[list[int]]:
    return [each.ids for each in sampled]


@KINDS
def test_a_fork_of_an_engines_episode_continues_as_its_parent_does(kind: type[TokenSampler]) -> None:
    """With the parent's stream; with another one it draws other tokens from the same distribution."""
    policy = Policy(exact_model(), "none")
    alone, sampler = (generator(policy, 4, kind) for _ in range(2))
    for each in (alone, sampler):
        each.start(0, [3, 4, 5], "parent")
        continued(each, 0, 2)
    for target, stream in ((1, "parent"), (2, "other"), (3, "third")):
        sampler.fork(0, target, stream)
    sampler.fork(2, 4, "parent")  # a fork of a fork, from which nothing was sampled yet
    forks = {target: continued(sampler, target) for target in (1, 2, 3, 4)}
    want = tokens(continued(alone, 0))
    assert tokens(forks[1]) == tokens(forks[4]) == want
    assert tokens(forks[2]) != want != tokens(forks[3])
    assert tokens(continued(sampler, 0)) == want  # after its forks
    for ours, theirs in zip(forks[1], forks[4], strict=True):
        assert ours.log_probs == pytest.approx(theirs.log_probs, abs=1e-12)


def test_an_episode_is_forked_between_two_actions_only() -> None:
    sampler = generator(Policy(exact_model(), "none"))
    sampler.start(0, [3, 4])
    sampler.request([0])
    with pytest.raises(RuntimeError, match="slot 0 has an action in progress"):
        sampler.fork(0, 1, "other")


def batched() -> EpisodePool:
    return BatchedPool(ToolEnv(ToySuite(), toy_config()), 3)


def separate() -> EpisodePool:
    return SeparatePool([ToolEnv(ToySuite(), toy_config()) for _ in range(3)])


@pytest.mark.parametrize("make", [batched, separate])
def test_a_fork_of_a_pools_episode_continues_as_its_parent_does(make: Callable[[], EpisodePool]) -> None:
    pool = make()
    pool.reset(0, 3)
    pool.step({0: "no call"})
    pool.fork(0, 2)
    (forked,) = pool.step({2: "still no call"})
    (parent,) = pool.step({0: "still no call"})
    assert forked == parent
    pool.step({2: "a third"})
    assert pool.truncate(0)["trajectory"] != pool.truncate(2)["trajectory"]


class Endless(gym.Env[str, str]):
    """Episodes of equal steps that only a time limit ends."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        return "go on", {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return "go on", 0.0, False, False, {}

    def snapshot(self) -> None:
        """The state is empty."""

    def restore(self, snapshot: None) -> None:
        """The state is empty."""


@pytest.mark.parametrize("before", [0, 2])
def test_a_fork_has_the_steps_that_the_time_limit_leaves_its_parent(before: int) -> None:
    pool = SeparatePool([TimeLimit(Endless(), 3) for _ in range(2)])
    for slot, steps in ((1, before), (0, 1)):
        pool.reset(slot, 0)
        for _ in range(steps):
            pool.step({slot: "a step"})
    pool.fork(0, 1)
    ends = [[transition.truncated for transition in pool.step({0: "a step", 1: "a step"})] for _ in range(2)]
    assert ends == [[False, False], [True, True]]


def test_an_environment_without_snapshots_cannot_be_forked() -> None:
    pool = SeparatePool([ToolBandit(), ToolBandit()])
    pool.reset(0, 0)
    with pytest.raises(ConfigurationError, match=r"ToolBandit cannot be forked; give it `snapshot\(\)`"):
        pool.fork(0, 1)

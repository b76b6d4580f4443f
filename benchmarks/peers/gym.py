"""Gymnasium's CartPole: four numbers and no text, the lower bound of an environment's cost."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import cycle
from time import perf_counter

import gymnasium as gym
import numpy as np

from benchmarks.harness.episodes import Played, Script, play_with
from benchmarks.peers import Contestants


@contextmanager
def cartpole(scripts: Sequence[Script]) -> Iterator[Contestants]:
    """Set up one `CartPole-v1`, and a vector of 64."""
    steps, moves = sum(len(script.actions) for script in scripts), cycle((0, 1))  # alternating keeps the pole up
    env, envs = gym.make("CartPole-v1"), gym.make_vec("CartPole-v1", 64, vectorization_mode="vector_entry_point")
    with closing(env), closing(envs):
        yield {
            "CartPole": lambda: play_with(lambda _: env.reset(seed=0), lambda _: env.step(next(moves)), scripts),
            "CartPole, vector of 64": lambda: _vector(envs, steps),
        }


def _vector(envs: gym.vector.VectorEnv[np.ndarray, np.ndarray, np.ndarray], steps: int) -> Played:
    begin = perf_counter()
    envs.reset(seed=0)
    begun = perf_counter()
    rounds = max(1, steps // envs.num_envs)
    for number in range(rounds):
        envs.step(np.full(envs.num_envs, number % 2))
    return Played(envs.num_envs, rounds * envs.num_envs, perf_counter() - begun, begun - begin)

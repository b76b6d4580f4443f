"""Gymnasium's CartPole: four numbers and no text, the lower bound of an environment's cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

import gymnasium as gym
import numpy as np

from benchmarks.harness.episodes import Played, Script
from benchmarks.peers import Contestants


@contextmanager
def cartpole(scripts: Sequence[Script]) -> Iterator[Contestants]:
    """Set up one `CartPole-v1`, and a vector of 64."""
    lengths = [len(script.actions) for script in scripts]
    env, envs = gym.make("CartPole-v1"), gym.make_vec("CartPole-v1", 64, vectorization_mode="vector_entry_point")
    try:
        yield {"CartPole": lambda: _single(env, lengths), "CartPole, vector of 64": lambda: _vector(envs, sum(lengths))}
    finally:
        env.close()
        envs.close()


def _single(env: gym.Env[np.ndarray, int], lengths: Sequence[int]) -> Played:
    stepping, resetting = 0.0, 0.0
    for length in lengths:
        begin = perf_counter()
        env.reset(seed=0)
        begun = perf_counter()
        for number in range(length):
            env.step(number % 2)  # alternating actions keep the pole up for the length of our episodes
        stepping += perf_counter() - begun
        resetting += begun - begin
    return Played(len(lengths), sum(lengths), stepping, resetting)


def _vector(envs: gym.vector.VectorEnv[np.ndarray, np.ndarray, np.ndarray], steps: int) -> Played:
    begin = perf_counter()
    envs.reset(seed=0)
    begun = perf_counter()
    rounds = max(1, steps // envs.num_envs)
    for number in range(rounds):
        envs.step(np.full(envs.num_envs, number % 2))
    return Played(envs.num_envs, rounds * envs.num_envs, perf_counter() - begun, begun - begin)

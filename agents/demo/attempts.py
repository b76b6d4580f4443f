"""Repeated attempts at chosen tasks, to find those that a policy never solves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing

from agents.base import Agent
from agents.evaluation.evaluate import Evaluation, env_of


def attempt(evaluation: Evaluation, agent: Agent, tasks: Sequence[str], seed: int) -> list[bool]:
    """Play each task of an evaluation's suite once, all at the same time; return whether it was solved.

    `tasks` are ids; `seed` is that of the episodes.
    """
    solved = [False] * len(tasks)
    with ExitStack() as stack:
        envs = [stack.enter_context(closing(env_of(evaluation))) for _ in tasks]
        live = {
            slot: env.reset(seed=seed, options={"task": task})
            for slot, (env, task) in enumerate(zip(envs, tasks, strict=True))
        }
        if live:
            agent.reset(list(live), *zip(*live.values(), strict=True))
        while live:
            actions = agent.act(list(live), *zip(*live.values(), strict=True))
            for slot, action in zip(list(live), actions, strict=True):
                observation, _, terminated, truncated, info = envs[slot].step(action)
                live[slot] = observation, info
                if terminated or truncated:
                    solved[slot] = info.get("outcome", {}).get("is_solved") == 1
                    del live[slot]
    return solved


def never_solved(evaluation: Evaluation, agents: Iterator[Agent], tasks: Sequence[str]) -> list[str]:
    """Return the tasks that none of the agents solves, each agent in one attempt. Solved tasks are not tried again."""
    left = list(tasks)
    for seed, agent in enumerate(agents):
        solved = attempt(evaluation, agent, left, seed)
        left = [task for task, passed in zip(left, solved, strict=True) if not passed]
    return left

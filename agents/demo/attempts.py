"""Repeated attempts at chosen tasks, to find those that a policy never solves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from agents.base import Agent
from agents.evaluation.evaluate import Evaluation, evaluate
from steptool_env.types import Trajectory


def never_solved(evaluation: Evaluation, agents: Iterable[Agent], tasks: Sequence[int]) -> list[int]:
    """Return the tasks that none of the agents solves, each agent in one attempt. Solved tasks are not tried again.

    `tasks` are indices of the evaluation's tasks; the seed of the episodes is the number of the attempt.
    """
    left = list(tasks)
    for number, agent in enumerate(agents):
        played = evaluate(replace(evaluation, seed=number), agent, tasks=left) if left else []
        left = [task for task, trajectory in zip(left, played, strict=True) if not passed(trajectory)]
    return left


def passed(trajectory: Trajectory) -> bool:
    """Return true if the task was solved."""
    return bool(trajectory.metadata.get("outcome", {}).get("is_solved") == 1)

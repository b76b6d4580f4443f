"""Evaluation of an agent on a cluster: the episodes of `evaluate`, byte for byte."""

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import uuid4

from agents.base import Agent
from agents.cluster.tasks import connect, unordered
from agents.evaluation.evaluate import Evaluation, evaluate, tasks_of
from agents.registry import make_agent
from steptool_env.types import Trajectory


class AgentSpec(NamedTuple):
    """Name and options of an agent, which each worker makes once; a checkpoint is at the same path on every node."""

    name: str
    options: Mapping[str, Any]
    seed: int


def evaluate_on_cluster(
    address: str,
    evaluation: Evaluation,
    agent: AgentSpec,
    on_episode: Callable[[Trajectory], None] = lambda _: None,
    on_start: Callable[[int], None] = lambda _: None,
) -> list[Trajectory]:
    """Run an agent as `evaluate` does, `evaluation.slots` tasks at a time on each free CPU of a cluster.

    Episodes of a node that dies are played again on another. For the arguments see `evaluate` and `connect`; episodes
    are reported in the order of the tasks.

    Raises:
        EngineError: There is no cluster at the address.
        ConfigurationError: See `evaluate`.
        ToolTransportError: See `evaluate`, for the tasks of one part.
    """
    connect(address)
    indices = range(len(tasks_of(evaluation)))
    parts = [indices[start : start + evaluation.slots] for start in indices[:: evaluation.slots]]
    on_start(len(indices))
    ended: dict[int, list[Trajectory]] = {}
    reported: list[Trajectory] = []
    following = 0
    try:
        for number, episodes in unordered(_play, (evaluation, agent, uuid4().hex), parts):
            ended[number] = episodes
            while following in ended:
                for episode in ended.pop(following):
                    reported.append(episode)
                    on_episode(episode)
                following += 1
    finally:
        for number in sorted(ended):  # after an error that ends the run before earlier ones are complete
            for episode in ended[number]:
                on_episode(episode)
    return reported


def _play(evaluation: Evaluation, agent: AgentSpec, run: str, tasks: range) -> list[Trajectory]:
    """Play tasks in a worker. `run` is the unique name of the evaluation."""
    return evaluate(evaluation, _agent(agent.name, json.dumps(agent.options), agent.seed, run), tasks=tasks)


@lru_cache(maxsize=1)
def _agent(name: str, options: str, seed: int, run: str) -> Agent:  # noqa: ARG001 - `run` is a part of the key
    """Return the agent of a worker process, which keeps it for one evaluation: a checkpoint may change afterwards."""
    return make_agent(name, run_seed=seed, **json.loads(options))

"""Evaluation of a policy in training: the same loop, sampler and tasks as `steptool evaluate`."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from statistics import fmean
from typing import Any

from agents.evaluation.evaluate import Evaluation, evaluate, tasks_of
from agents.evaluation.results import panel_digest
from agents.models.bundle import PolicyBundle
from agents.rollout.config import EnvConfig, Sampling
from agents.rollout.engine import RolloutEngine
from agents.rollout.policy_agent import EngineAgent, in_double, make_sampler
from agents.rollout.types import episode_metrics
from steptool_env.errors import ToolTransportError
from steptool_env.metrics import usable
from steptool_env.types import Trajectory


def evaluation_of(env: EnvConfig, overrides: Mapping[str, Any], episodes: int, seed: int) -> Evaluation:
    """Return the evaluation of a run's environment on its first tasks; `overrides` replace entries of `env.args`."""
    reward = {"reward": env.reward} if env.reward else {}
    return Evaluation(env.id, {**env.args, **overrides, **reward}, episodes, env.num_envs, seed)


class PolicyEvaluation:
    """Callable that evaluates the current weights of a policy and returns `eval/...`.

    The figures are those of `steptool evaluate --agent policy:CHECKPOINT` with the same tasks and seed, at
    temperature 1. On a CPU a copy of the policy in double precision samples, as there. The seed of the evaluation also
    seeds the sampler. `engine` is that of the run where it is not `local`, and must have the current weights. Raises
    `ConfigurationError` as `evaluate` does.
    """

    def __init__(
        self, evaluation: Evaluation, bundle: PolicyBundle, sampling: Sampling, engine: RolloutEngine | None = None
    ) -> None:
        self._evaluation, self._bundle, self._sampling, self._engine = evaluation, bundle, sampling, engine
        tasks = tasks_of(evaluation)
        self.panel = panel_digest(tasks)
        self._episodes = len(tasks)

    def __call__(self) -> dict[str, float]:
        """Return the metrics of the current policy. Episodes lost to the tool server count as dropped."""
        engine = self._engine or make_sampler(in_double(self._bundle), self._sampling)
        engine.clear()
        engine.seed(self._evaluation.seed)
        played: list[Trajectory] = []
        with suppress(ToolTransportError):  # training goes on while the server is away
            evaluate(self._evaluation, EngineAgent(engine, self._bundle.codec), played.append)
        counted = usable(played)
        return {**mean_metrics(counted), "eval/dropped": float(self._episodes - len(counted))}


def mean_metrics(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Return `eval/...`: means over the episodes, defined as `rollout/...` are."""
    rows = [
        episode_metrics(
            trajectory.metadata.get("outcome", {}),
            trajectory.rewards,
            invalid=sum(step.malformed for step in trajectory.steps),
            finished=trajectory.finished,
        )
        for trajectory in trajectories
    ]
    names = sorted({name for row in rows for name in row})
    return {f"eval/{name}": fmean(row.get(name, 0.0) for row in rows) for name in names}

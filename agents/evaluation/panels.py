"""Panels: the tasks of one depth or split, on which a policy is evaluated sampled and greedily."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from statistics import fmean
from typing import Any

from agents.evaluation.evaluate import Evaluation, evaluate, tasks_of
from agents.evaluation.policy_evaluation import evaluation_of
from agents.evaluation.results import metrics_of, panel_digest
from agents.models.bundle import PolicyBundle
from agents.rollout.config import EnvConfig, Sampling
from agents.rollout.policy_agent import policy_agent
from steptool_env.types import Trajectory

SAMPLED, GREEDY = "sampled", "greedy"
DECODINGS = {SAMPLED: 1.0, GREEDY: 0.0}
"""Temperature of each way of decoding: as in training, and the most probable tokens."""

TEMPERATURES = (0.0, 0.2, 0.4, 0.7, 1.0)
"""Candidates of `best_temperature`."""

_SLOTS = 50  # maximum number of concurrent episodes


@dataclass(frozen=True)
class Panel:
    """First tasks of one suite.

    Attributes:
        name: Name, e.g. `depth-4`.
        overrides: Arguments of the environment that replace those of training.
        episodes: Number of tasks.
    """

    name: str
    overrides: Mapping[str, Any]
    episodes: int

    def evaluation(self, env: EnvConfig, seed: int = 0) -> Evaluation:
        """Return the evaluation on these tasks in a run's environment."""
        return replace(evaluation_of(env, self.overrides, self.episodes, seed), slots=_SLOTS)


def depth_panel(depth: int, episodes: int) -> Panel:
    """Return the panel of held-out tasks of one depth."""
    return Panel(f"depth-{depth}", {"split": f"depth-{depth}"}, episodes)


def validation_panel(depth: int, episodes: int) -> Panel:
    """Return the panel of validation tasks of one depth, on which settings are chosen."""
    return Panel(f"validation-{depth}", {"split": "validation", "depths": {str(depth): 1.0}}, episodes)


def trained_depths(env: EnvConfig) -> tuple[int, ...]:
    """Return the depths of a run's training tasks, ascending."""
    return tuple(sorted(int(depth) for depth in env.args["depths"]))


def play_panel(
    panel: Panel, env: EnvConfig, bundle: PolicyBundle, sampling: Sampling, temperature: float, seed: int = 0
) -> list[Trajectory]:
    """Play a panel with a policy; `seed` is that of the episodes and of the sampler.

    The number of concurrent episodes is fixed, so the policy's own precision repeats the same episodes on a machine, in
    half the time of double precision.
    """
    agent = policy_agent(bundle, sampling, temperature, seed=seed, exact=False)
    return evaluate(panel.evaluation(env, seed), agent)


class PanelEvaluation:
    """Callable that plays panels with the current weights of a policy and returns `<decoding>/<panel>/<metric>`.

    `decodings` has the temperature of each decoding by its name.

    Attributes:
        digests: Panel digest by the panel's name.
    """

    def __init__(
        self,
        panels: Sequence[Panel],
        env: EnvConfig,
        bundle: PolicyBundle,
        sampling: Sampling,
        decodings: Mapping[str, float] = DECODINGS,
    ) -> None:
        self._panels, self._env, self._bundle, self._sampling = panels, env, bundle, sampling
        self._decodings = decodings
        self.digests = {panel.name: panel_digest(tasks_of(panel.evaluation(env))) for panel in panels}

    def __call__(self) -> dict[str, float]:
        """Return the metrics of all panels in all decodings."""
        return {
            key(decoding, panel.name, name): value
            for panel in self._panels
            for decoding, temperature in self._decodings.items()
            for name, value in self._metrics(panel, temperature).items()
        }

    def _metrics(self, panel: Panel, temperature: float) -> dict[str, float]:
        played = play_panel(panel, self._env, self._bundle, self._sampling, temperature)
        return {name: float(value) for name, value in metrics_of(played).items() if not isnan(value)}


def key(decoding: str, panel: str, metric: str) -> str:
    """Return the name of a metric in the records of `PanelEvaluation`."""
    return f"{decoding}/{panel}/{metric}"


def best_temperature(rates: Mapping[float, float]) -> float:
    """Return the temperature with the highest pass rate; of equal ones the lowest."""
    return min(rates, key=lambda temperature: (-rates[temperature], temperature))


def pass_by_temperature(
    panels: Sequence[Panel], env: EnvConfig, bundle: PolicyBundle, sampling: Sampling
) -> dict[float, float]:
    """Return the mean pass rate over panels at each of `TEMPERATURES`."""
    return {
        temperature: fmean(
            metrics_of(play_panel(panel, env, bundle, sampling, temperature))["pass_rate"] for panel in panels
        )
        for temperature in TEMPERATURES
    }

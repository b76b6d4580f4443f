"""Tables and figures of the truth of credit: correlations, bias by step, cosines of gradients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import chain
from statistics import fmean, stdev
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from agents.reporting.plots import Curve, line_plot
from benchmarks.harness.report import Result, Row

Numbers = NDArray[np.float64]

REWARDS = ("progress", "final")
"""Rewards under which credit is measured."""
TRUTH = "true advantage"
"""Name of the truth among the estimators, in cosines."""
BASE = ("final", "grpo")
"""Reward and estimator with which signal to noise is compared."""
_HORIZONS = {
    "step_gae, by lambda": {0.0: "step_gae, lambda 0", 0.5: "step_gae, lambda 0.5", 0.95: "step_gae, lambda 0.95"},
    "step_grpo, by gamma": {0.0: "step_grpo, gamma 0", 0.5: "step_grpo, gamma 0.5", 1.0: "step_grpo, gamma 1"},
}
_DRAWN = ("step_gae, lambda 0", "step_gae, lambda 0.95", "grpo", "step_grpo, gamma 0", "step_grpo, gamma 1", "tree")
_BOOTSTRAPS = 400


@dataclass
class Credit:
    """Truth and estimates of the n calls of some episodes, in the same order, by reward.

    Attributes:
        task: Task of each call (n,).
        step: Index of each call in its episode (n,).
        truth: True advantages by each half of the continuations (2, n).
        value: True values of the states before the calls: expected sums of the rewards from there on (n,).
        critic: The critic's values of these states (n,).
        estimates: Estimated advantages by estimator (n,).
        cosines: Cosines with the reference gradient by estimator, one per batch of episodes.
        calls: Environment calls by purpose.
    """

    task: Numbers
    step: Numbers
    truth: Mapping[str, Numbers]
    value: Mapping[str, Numbers]
    critic: Mapping[str, Numbers]
    estimates: Mapping[str, Mapping[str, Numbers]]
    cosines: Mapping[str, Mapping[str, list[float]]] = field(default_factory=dict)
    calls: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """Return the calls of all parts."""
        return cls(*(_joined([getattr(part, each.name) for part in parts]) for each in fields(cls)))


def _joined(values: Sequence[Any]) -> Any:
    """Join arrays along their calls, lists end to end, and add numbers; in mappings entry by entry."""
    first = values[0]
    if isinstance(first, Mapping):
        return {name: _joined([each[name] for each in values]) for name in first}
    if isinstance(first, np.ndarray):
        return np.concatenate(values, axis=-1)
    return list(chain.from_iterable(values)) if isinstance(first, list) else sum(values)


def correlation(one: Numbers, other: Numbers) -> float:
    """Return Pearson's correlation of two series (n,); 0 where one is constant."""
    if not one.std() or not other.std():
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def reliability(halves: Numbers) -> float:
    """Return the reliability of the mean of two halves (2, n), by Spearman and Brown; 0 at least."""
    shared = correlation(*halves)
    return max(0.0, 2 * shared / (1 + shared))


def correlation_error(one: Numbers, other: Numbers, task: Numbers) -> float:
    """Return the standard error of a correlation, by a bootstrap over tasks."""
    rng, members = np.random.default_rng(0), [np.flatnonzero(task == each) for each in np.unique(task)]
    found = []
    for _ in range(_BOOTSTRAPS):
        rows = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        found.append(correlation(one[rows], other[rows]))
    return float(np.std(found))


def bias(estimate: Numbers, truth: Numbers, step: Numbers) -> dict[int, float]:
    """Return the mean of estimate minus truth by step index, each divided by its own standard deviation."""
    error = estimate / (estimate.std() or 1.0) - truth / (truth.std() or 1.0)
    return {int(k): float(error[step == k].mean()) for k in np.unique(step)}


def signal_to_noise(cosine: float) -> float:
    """Return the ratio of signal to noise, in power, of a gradient with this cosine to the true one."""
    return cosine**2 / max(1e-9, 1 - cosine**2) if cosine > 0 else 0.0


def report(credit: Credit, ceilings: Mapping[str, float], notes: Sequence[str], batch: int) -> Result:
    """Return the result. `ceilings` has the reliability of the reference gradient by reward, if there is one."""
    tables: dict[str, list[Row]] = {}
    for reward in REWARDS:
        tables[f"Reward {reward}: correlation with the true advantage"] = _correlations(credit, reward, ceilings, batch)
    for reward in REWARDS:
        tables[f"Reward {reward}: bias by call, in standard deviations"] = _biases(credit, reward)
    figures = {"Correlation with the true advantage by horizon": _horizons(credit)}
    figures |= {f"Bias by call, reward {reward}": _bias_figure(credit, reward) for reward in REWARDS}
    return Result("credit_truth", "The truth of credit", tables, [*notes, *_notes(credit, ceilings)], figures)


def _correlations(credit: Credit, reward: str, ceilings: Mapping[str, float], batch: int) -> list[Row]:
    truth = credit.truth[reward].mean(0)
    rows: list[Row] = []
    base = _signal(credit, *BASE, ceilings)
    for name, estimate in credit.estimates[reward].items():
        row: dict[str, str | float | None] = {
            "estimator": name,
            "correlation": f"{correlation(estimate, truth):.3f}",
            "standard error": f"{correlation_error(estimate, truth, credit.task):.3f}",
        }
        rows.append(row | _gradient_columns(credit, reward, name, ceilings, batch, base))
    most = f"{reliability(credit.truth[reward]) ** 0.5:.3f}"
    last = {"estimator": "at most, by the noise of the truth", "correlation": most, "standard error": None}
    return [*rows, last | _gradient_columns(credit, reward, TRUTH, ceilings, batch, base)]


def _gradient_columns(
    credit: Credit, reward: str, name: str, ceilings: Mapping[str, float], batch: int, base: float
) -> dict[str, str | float | None]:
    """Return the cosine of an estimator's gradient with the reference, and how much it is worth; empty without one."""
    if not credit.cosines:
        return {}
    cosines = credit.cosines[reward][name]
    error = stdev(cosines) / len(cosines) ** 0.5 if len(cosines) > 1 else None
    return {
        f"cosine of the gradient of {batch} episodes": f"{fmean(cosines):.3f}",
        "its standard error": None if error is None else f"{error:.3f}",
        f"signal to noise, times {BASE[1]} on {BASE[0]}": _signal(credit, reward, name, ceilings) / base
        if base
        else None,
    }


def _signal(credit: Credit, reward: str, name: str, ceilings: Mapping[str, float]) -> float:
    if not credit.cosines or not ceilings[reward]:
        return 0.0
    return signal_to_noise(min(1.0, fmean(credit.cosines[reward][name]) / ceilings[reward] ** 0.5))


def _biases(credit: Credit, reward: str) -> list[Row]:
    truth = credit.truth[reward].mean(0)
    return [
        {"estimator": name, **{f"call {k + 1}": f"{b:+.2f}" for k, b in bias(each, truth, credit.step).items()}}
        for name, each in credit.estimates[reward].items()
    ]


def _horizons(credit: Credit) -> str:
    curves = {}
    for title, names in _HORIZONS.items():
        for reward in REWARDS:
            truth = credit.truth[reward].mean(0)
            found = {x: correlation(credit.estimates[reward][name], truth) for x, name in names.items()}
            curves[f"{title}, {reward}"] = Curve(list(found), list(found.values()))
    return line_plot(curves, "horizon: lambda or gamma", "correlation")


def _bias_figure(credit: Credit, reward: str) -> str:
    truth, curves = credit.truth[reward].mean(0), {}
    for name in _DRAWN:
        found = bias(credit.estimates[reward][name], truth, credit.step)
        curves[name] = Curve([k + 1 for k in found], list(found.values()))
    return line_plot(curves, "call", "bias, standard deviations")


def _notes(credit: Credit, ceilings: Mapping[str, float]) -> list[str]:
    lines = [
        f"{len(credit.step):,} calls in episodes of {len(np.unique(credit.task))} tasks; calls by purpose: "
        + ", ".join(f"{name} {count:,}" for name, count in credit.calls.items()),
        "standard errors of correlations by a bootstrap over tasks; the bias is that of estimate minus truth, each "
        "divided by its standard deviation over all calls",
    ]
    for reward in REWARDS:
        value, critic = credit.value[reward], credit.critic[reward]
        explained = 1 - (value - critic).var() / (value.var() or 1.0)
        lines.append(
            f"{reward}: the critic explains {100 * explained:.0f} % of the variance of the true values, correlation "
            f"{correlation(value, critic):.3f}"
        )
    if ceilings:
        words = ", ".join(f"{reward} {each:.3f}" for reward, each in ceilings.items())
        lines.append(f"reliability of the reference gradient, for which signal to noise is corrected: {words}")
    return lines

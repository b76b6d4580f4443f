"""Floors and ceiling of an environment: simple agents and the oracle on each part of its tasks."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from agents.base import Agent
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.registry import make_agent
from benchmarks.harness.report import Row, Value

_AGENTS = ("no-tools", "random", "greedy-docs", "oracle")


def floors(
    env_id: str,
    argument: str,
    values: Sequence[str],
    arguments: Mapping[str, str] | None = None,
    agents: Mapping[str, Callable[[], Agent]] | None = None,
) -> tuple[list[Row], list[Row]]:
    """Return the tasks that the agents solve and the needed calls that they make, in percent, by value of an argument.

    Args:
        env_id: Id of the environment.
        argument: Argument that chooses a part of the tasks.
        values: Values of the argument, one for each row; an empty one is shown as `all`.
        arguments: Further arguments of the environment.
        agents: Further agents by name.
    """
    factories: dict[str, Callable[[], Agent]] = {
        **{name: partial(make_agent, name) for name in _AGENTS},
        **(agents or {}),
    }
    solved: list[Row] = []
    made: list[Row] = []
    for value in values:
        tasks: dict[str, Value] = {argument: value or "all"}
        calls: dict[str, Value] = {argument: value or "all"}
        for name, make in factories.items():
            played = evaluate(Evaluation(env_id, {**(arguments or {}), argument: value}), make())
            outcomes = [each.metadata["outcome"] for each in played]
            tasks[f"{name} %"] = percent([each["is_solved"] for each in outcomes])
            calls[f"{name} %"] = percent([each["progress"] for each in outcomes])
        solved.append(tasks)
        made.append(calls)
    return solved, made


def percent(shares: Sequence[float]) -> float:
    """Return the mean of shares in percent, with one decimal."""
    return round(100 * sum(shares) / len(shares), 1)


def span(values: Sequence[int]) -> str:
    """Return minimum, maximum and mean, e.g. `1-3 (2.50)`."""
    return f"{min(values)}-{max(values)} ({sum(values) / len(values):.2f})"

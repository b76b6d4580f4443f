"""ToolWorld's tasks: speed of generation, and figures of each split, with floors and ceiling.

    python -m benchmarks.toolworld.tasks [--episodes N]

The floors are untrained agents: `random` makes random calls and answers with words of the query, `no-tools` answers at
once with the best guess from the query, `greedy-docs` calls the functions whose documentation shares most words with
the query. The ceiling is the `oracle`, which knows the gold solution.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from time import process_time

from agents.demo.arms import CONFIG, start_stages
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.registry import make_agent
from agents.training.config import read_config
from benchmarks.harness.command import run_command
from benchmarks.harness.report import Result, Row
from steptool_env.errors import ConfigurationError
from steptool_env.toolworld import SPLITS, TaskSampler
from toolserver.world import VendorRegistry, make_world
from toolserver.world.levels import LEVELS

_AGENTS = ("random", "no-tools", "greedy-docs", "oracle")
_BUDGET = 20
_WARM_UP = 100  # tasks before the measurement: tables and documentation are made on first use


@dataclass(frozen=True)
class Options:
    """Measure ToolWorld's tasks. Example: `python -m benchmarks.toolworld.tasks --episodes 100`."""

    episodes: int = 200
    """Tasks per split and agent."""
    timed: int = 1000
    """Number of tasks for the measurement of generation."""

    def __post_init__(self) -> None:
        for name in ("episodes", "timed"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name}={getattr(self, name)}: must be at least 1")


def generation(level: str, split: str, timed: int) -> Row:
    """Measure the tasks per second of processor time."""
    sampler = TaskSampler(VendorRegistry(make_world(0, level)), split)
    for index in range(_WARM_UP):
        sampler.task(index)
    started = process_time()
    for index in range(_WARM_UP, _WARM_UP + timed):
        sampler.task(index)
    return {"level": level, "split": split, "tasks_per_second": round(timed / (process_time() - started))}


def profile(split: str, level: str, episodes: int) -> Row:
    """Return the figures of a split, and the success rates of the agents."""
    count = min(episodes, SPLITS[split].size)
    sampler = TaskSampler(VendorRegistry(make_world(0, level)), split)
    tasks = [sampler.task(index) for index in range(count)]
    row: dict[str, str | int | float | None] = {
        "split": split,
        "size": SPLITS[split].size,
        "depth": _range([task.plan.depth for task in tasks]),
        "offered": _range([len(task.toolset.apis) for task in tasks]),
        "state changes %": _percent(sum(task.plan.writes for task in tasks), count),
    }
    for name in _AGENTS:
        outcomes = _play(name, split, level, count)
        row[f"{name} %"] = _percent(outcomes["solved"], count)
        if name == "oracle":
            row["oracle calls"] = round(outcomes["calls"] / count, 2)
    return row


def families(depth: int, panel: int, training: int) -> Row:
    """Return the number of families, and the share of the largest, in a panel and in training tasks of a depth.

    The world is that of the demonstration. Depths that only its start was shown are counted in the start's tasks.
    """
    arguments, start = read_config(CONFIG).env.args, start_stages()[0].env_args
    shown_only = str(depth) in start["depths"] and str(depth) not in arguments["depths"]
    split = start["split"] if shown_only else arguments["split"]
    vendors = VendorRegistry(make_world(0, arguments["level"]), arguments["tools"])
    row: dict[str, str | int | float | None] = {"depth": depth}
    for name, count, depths in ((f"depth-{depth}", panel, None), (split, training, {depth: 1.0})):
        sampler = TaskSampler(vendors, name, 0.0, depths)
        found = Counter(sampler.task(index).family for index in range(count))
        kind = "panel" if depths is None else "training"
        row |= {f"{kind} tasks": count, f"{kind} families": len(found)}
        row[f"{kind}, largest %"] = _percent(max(found.values()), count)
    return row


def _play(name: str, split: str, level: str, count: int) -> Mapping[str, float]:
    settings = {"split": split, "level": level, "call_budget": _BUDGET}
    played = evaluate(Evaluation("StepTool/ToolWorld-v0", settings, episodes=count), make_agent(name))
    return {
        "solved": sum(each.metadata["outcome"]["is_solved"] for each in played),
        "calls": sum(len(each.steps) - 1 for each in played),  # without Finish
    }


def _percent(part: float, whole: int) -> float:
    return round(100 * part / whole, 1)


def _range(values: list[int]) -> str:
    low, high = min(values), max(values)
    mean = f" ({sum(values) / len(values):.1f})"
    return f"{low}" if low == high else f"{low}-{high}{mean}"


def run(options: Options) -> Result:
    """Measure all tables."""
    tables = {
        "Generation": [generation(level, "train", options.timed) for level in LEVELS],
        "Families, the demonstration's world": [
            families(depth, min(options.timed, SPLITS[f"depth-{depth}"].size), options.timed) for depth in range(1, 7)
        ],
        "Splits, level lite": [profile(split, "lite", options.episodes) for split in SPLITS],
    }
    notes = (
        "generation is by processor time of one process, after the world's tables and documentation were made",
        f"{options.episodes} tasks per split, call budget {_BUDGET}; a share is of tasks solved; calls without Finish",
    )
    return Result("toolworld_tasks", "ToolWorld's tasks", tables, notes)


if __name__ == "__main__":
    run_command("toolworld.tasks", Options, run)

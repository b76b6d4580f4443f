"""pass@k of the start and of trained policies: new strategies, or re-weighting of those that the start has?

    python -m benchmarks.learning.pass_at_k --policies runs/learning/steptool-0/policy --jobs 2

Every policy plays the same held-out tasks `--samples` times at temperature 1. Rounds are kept in `--runs`, a file for
every 16: the command skips finished ones.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from math import comb
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, NamedTuple

import torch
import tyro

from agents.base import Info
from agents.baselines.demonstrations import demonstrate
from agents.demo.arms import start_stages
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.evaluation.panels import depth_panel
from agents.evaluation.results import panel_of
from agents.models import checkpoint
from agents.models.bundle import build_policy
from agents.reporting.console import Display
from agents.reporting.plots import Curve, line_plot
from agents.rollout.policy_agent import EngineAgent, make_sampler
from agents.seeding import stream_of
from agents.training.config import TrainConfig, read_config
from benchmarks.harness.command import run_command
from benchmarks.harness.report import Result, Row
from benchmarks.learning.arms import SHARED
from steptool_env.errors import ConfigurationError
from steptool_env.toolworld.suite import world_task_of
from steptool_env.types import FINISH, Trajectory
from toolserver.catalog.api_schema import StatusCode
from toolserver.children import worker_pool

Operations = tuple[str, ...]
"""Operations of the world that an episode called with success, in order."""

_START = "start"
_TEMPERATURE = 1.0
_SLOTS = 64  # concurrent episodes of one process
_TOGETHER = 16
"""Number of rounds that are played together: episodes of one task share the computation of their prompt."""


@dataclass(frozen=True)
class Options:
    """Compare pass@k of the start and of trained policies on the same tasks.

    Example: python -m benchmarks.learning.pass_at_k --policies runs/learning/steptool-0/policy --jobs 2
    """

    policies: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="DIR")]
    """Checkpoints of trained policies. The name of a policy is that of its folder, or of the folder of `policy`."""
    start: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("nano-sft")
    """Checkpoint that they were trained from."""
    tasks: int = 200
    """Number of tasks, evenly over `depths`."""
    depths: tuple[int, ...] = (3, 4, 5)
    """Depths of the tasks, the splits `depth-N`."""
    samples: int = 256
    """Number of episodes of each task."""
    config: Annotated[Path, tyro.conf.arg(metavar="FILE")] = SHARED
    """YAML file of the settings of the environment and of sampling."""
    jobs: int = 1
    """Number of processes, one thread each."""
    runs: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/pass-at-k")
    """Folder of the rounds."""


class Round(NamedTuple):
    """One episode of every task.

    Attributes:
        panel: Panel digest of the tasks.
        solved: Operations of the solved episodes, by task id; tasks that were not solved are missing.
        tasks: Ids of all tasks.
    """

    panel: str
    solved: Mapping[str, Operations]
    tasks: Sequence[str]


def run(options: Options) -> Result:
    """Play all missing rounds and compare.

    Raises:
        ConfigurationError: Two policies have one name, or the folder of the rounds holds other tasks or weights.
        CheckpointError: A policy is missing.
    """
    names = [_name(folder) for folder in options.policies]
    if len({_START, *names}) <= len(names):
        raise ConfigurationError(f"policies: names must differ from each other and from {_START!r}, not {names}")
    if min(options.tasks, options.samples, options.jobs) < 1 or not options.depths:
        raise ConfigurationError("tasks, samples, jobs and the number of depths must be at least 1")
    config = read_config(options.config)
    folders = {_START: options.start, **dict(zip(names, options.policies, strict=True))}
    policies = {name: checkpoint.resolve_checkpoint(folder) for name, folder in folders.items()}
    for name, folder in policies.items():
        _claim(options, options.runs / name, folder)
    _play_missing(options, config, policies)
    rounds = {
        name: [each for block in _blocks(options) for each in read_rounds(_file(options, name, block))]
        for name in policies
    }
    return report(rounds, demonstrated(), options.samples)


def pass_at_k(samples: int, solved: int, k: int) -> float:
    """Return the unbiased estimate of pass@k from `solved` of `samples` episodes (Chen et al. 2021)."""
    return 1.0 - comb(samples - solved, k) / comb(samples, k)


def operations_of(trajectory: Trajectory) -> Operations:
    """Return the operations of the calls that succeeded, in order, without `Finish`."""
    apis = {api.spec.function_name: api.operation.name for api in world_task_of(trajectory.task).toolset.apis}
    return tuple(
        apis[step.action.name]
        for step in trajectory.steps
        if step.status is StatusCode.OK and step.action.name in apis and step.action.name != FINISH
    )


def demonstrated() -> set[Operations]:
    """Return the sequences of operations in the demonstrations that made the starting policy."""
    found: set[Operations] = set()
    for stage in start_stages():
        evaluation = Evaluation("StepTool/ToolWorld-v0", stage.env_args, stage.episodes, slots=1, seed=stage.seed)
        found.update(map(operations_of, demonstrate(evaluation, stage.noise, stage.seed)))
    return found


def report(rounds: Mapping[str, Sequence[Round]], shown: set[Operations], samples: int) -> Result:
    """Return pass@k of every policy, what it solves beyond the start, and its new sequences of operations."""
    tasks = rounds[_START][0].tasks
    counts = {
        name: {task: sum(task in each.solved for each in played) for task in tasks} for name, played in rounds.items()
    }
    ks = [1 << power for power in range(samples.bit_length()) if 1 << power <= samples]
    curves = {
        name: [fmean(pass_at_k(samples, solved, k) for solved in by_task.values()) for k in ks]
        for name, by_task in counts.items()
    }
    rows: list[Row] = [
        {"policy": name, **{f"pass@{k} %": f"{100 * rate:.1f}" for k, rate in zip(ks, rates, strict=True)}}
        for name, rates in curves.items()
    ]
    tables = {"pass@k": rows, "Beyond the start": [_beyond(name, counts, rounds[name], shown) for name in rounds]}
    plotted = {name: Curve(ks, rates) for name, rates in curves.items()}
    figure = line_plot(plotted, "k, episodes of a task", "pass@k", percent=True, log_x=True)
    notes = [
        f"{len(tasks)} held-out tasks, panel {rounds[_START][0].panel}; {samples} episodes of each at temperature 1; "
        "unbiased estimator.",
        f"A solution's sequence is the operations of its successful calls. {len(shown)} different sequences are in the "
        "demonstrations; one is new if none of them contains it as a consecutive part, and has a new pair if two of "
        "its consecutive operations are consecutive in none.",
    ]
    return Result("pass_at_k", "pass@k of the start and of trained policies", tables, notes, {"pass@k": figure})


def _beyond(name: str, counts: Mapping[str, Mapping[str, int]], played: Sequence[Round], shown: set[Operations]) -> Row:
    solved = {task for task, count in counts[name].items() if count}
    of_start = {task for task, count in counts[_START].items() if count}
    solutions = [operations for each in played for operations in each.solved.values()]
    parts = {part for each in shown for part in _parts(each)}
    new = [each for each in solutions if each not in parts]
    pair = [each for each in solutions if any(two not in parts for two in pairwise(each))]
    return {
        "policy": name,
        "tasks solved at least once": len(solved),
        "of these never by the start": len(solved - of_start),
        "solved by the start alone": len(of_start - solved),
        "solutions": len(solutions),
        "with a new sequence %": f"{100 * len(new) / len(solutions):.1f}" if solutions else None,
        "with a new pair %": f"{100 * len(pair) / len(solutions):.1f}" if solutions else None,
    }


def _parts(operations: Operations) -> set[Operations]:
    """Return all consecutive parts of a sequence."""
    length = len(operations)
    return {operations[i:j] for i in range(length) for j in range(i + 1, length + 1)}


def _blocks(options: Options) -> list[range]:
    """Return the numbers of the rounds that are played together."""
    rounds = range(options.samples)
    return [rounds[first : first + _TOGETHER] for first in rounds[::_TOGETHER]]


def _play_missing(options: Options, config: TrainConfig, policies: Mapping[str, Path]) -> None:
    missing = [
        (name, folder, block)
        for block in _blocks(options)
        for name, folder in policies.items()
        if not _file(options, name, block).exists()
    ]
    total = options.samples * len(policies)
    done = total - sum(len(block) for *_, block in missing)
    pool = worker_pool(options.jobs, partial(torch.set_num_threads, 1))
    try:
        with Display() as display:
            phase = display.add_phase("rounds", total)
            display.update(phase, done, total)
            futures = {
                pool.submit(_play, options, config, folder, block, _file(options, name, block)): block
                for name, folder, block in missing
            }
            for future in as_completed(futures):
                future.result()
                done += len(futures[future])
                display.update(phase, done, total)
    finally:
        pool.shutdown(cancel_futures=True)


def _play(options: Options, config: TrainConfig, policy: Path, block: range, file: Path) -> None:
    """Play the rounds of a block, seeded by their numbers, and write them atomically."""
    bundle = build_policy(replace(config.policy, checkpoint=str(policy), critic="none", lora_rank=0))
    share = -(-options.tasks // len(options.depths))
    played: list[list[Trajectory]] = [[] for _ in block]
    for number, depth in enumerate(options.depths):
        if (episodes := min(share, options.tasks - number * share)) < 1:
            break
        evaluation = replace(depth_panel(depth, episodes).evaluation(config.env), slots=_SLOTS)
        agent = EngineAgent(make_sampler(bundle, config.sampling, _TEMPERATURE), bundle.codec, stream=_streams(block))
        tasks = [task for task in range(episodes) for _ in block]
        found = evaluate(evaluation, agent, tasks=tasks)
        for place, trajectories in enumerate(played):
            trajectories += found[place :: len(block)]
    content = [_round(trajectories)._asdict() for trajectories in played]
    partial = file.with_suffix(".part")
    partial.write_text(json.dumps(content) + "\n", encoding="utf-8")
    partial.replace(file)


def _streams(block: range) -> Callable[[Info], str]:
    """Return the function that names an episode's random stream after its task and its round, in the order of play."""
    played: Counter[str] = Counter()

    def stream(info: Info) -> str:
        task = stream_of(info)
        played[task] += 1
        return f"{task}#{block[played[task] - 1]}"

    return stream


def _round(played: Sequence[Trajectory]) -> Round:
    solved = {t.task.id: operations_of(t) for t in played if t.metadata.get("outcome", {}).get("is_solved") == 1}
    return Round(panel_of(played), solved, [t.task.id for t in played])


def read_rounds(file: Path) -> list[Round]:
    """Read the rounds of a block."""
    found: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return [
        Round(each["panel"], {task: tuple(called) for task, called in each["solved"].items()}, each["tasks"])
        for each in found
    ]


def _claim(options: Options, folder: Path, policy: Path) -> None:
    """Write the weights and tasks of a policy's rounds to their folder. Refuse a folder of others."""
    tasks = {"tasks": options.tasks, "depths": list(options.depths), "config": options.config.read_text("utf-8")}
    own = {"weights": checkpoint.load_digest(policy), **tasks}
    path = folder / "settings.json"
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != own:
        raise ConfigurationError(f"{folder} holds rounds of other weights or tasks; choose another --runs")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(own) + "\n", encoding="utf-8")


def _file(options: Options, name: str, block: range) -> Path:
    return options.runs / name / f"rounds-{block[0]:03}-{block[-1]:03}.json"


def _name(folder: Path) -> str:
    folder = folder.resolve()
    return folder.parent.name if folder.name == "policy" else folder.name


if __name__ == "__main__":
    run_command("learning.pass_at_k", Options, run)

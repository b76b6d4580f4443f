"""pass@k of the start and of trained policies: new strategies, or re-weighting of those that the start has?

    python -m benchmarks.learning.pass_at_k --policies runs/learning/steptool-0/policy --jobs 2

Every policy plays the same held-out tasks at temperature 1: each 16 times, and those that are not solved by then up to
`--samples` times, until they are. Rounds are kept in `--runs`, a file for every 16: the command skips finished ones.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise, takewhile
from math import comb
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, NamedTuple

import torch
import tyro
from scipy import stats

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
"""Number of rounds that are played together: episodes of one task share the computation of their prompt. A task that is
solved in one of them is not played further."""

_OF_THE_TEST = (
    "p is that of the exact two-sided sign test on the tasks that only the policy or only the start solves, not "
    "corrected for the number of tests."
)


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
    """Maximum number of episodes of each task; those of a task that is solved end with a multiple of 16."""
    config: Annotated[Path, tyro.conf.arg(metavar="FILE")] = SHARED
    """YAML file of the settings of the environment and of sampling."""
    jobs: int = 1
    """Number of processes, one thread each."""
    runs: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/pass-at-k")
    """Folder of the rounds."""


class Round(NamedTuple):
    """One episode of every task that no earlier block of rounds has solved.

    Attributes:
        panel: Panel digest of the tasks.
        solved: Operations of the solved episodes, by task id; tasks that were not solved are missing.
        tasks: Ids of the tasks.
    """

    panel: str
    solved: Mapping[str, Operations]
    tasks: Sequence[str]


def run(options: Options) -> Result:
    """Play all missing rounds and compare.

    Raises:
        ConfigurationError: Two policies have one name, a depth has no task, or the folder of the rounds holds other
            tasks or weights.
        CheckpointError: A policy is missing.
    """
    names = [_name(folder) for folder in options.policies]
    if len({_START, *names}) <= len(names):
        raise ConfigurationError(f"policies: names must differ from each other and from {_START!r}, not {names}")
    if min(options.tasks, options.samples, options.jobs) < 1 or not options.depths:
        raise ConfigurationError("tasks, samples, jobs and the number of depths must be at least 1")
    count = len(options.depths)
    if options.tasks <= -(-options.tasks // count) * (count - 1):
        raise ConfigurationError(
            f"tasks={options.tasks}: leaves one of {count} depths without a task; give a multiple of {count}"
        )
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
    return report(rounds, demonstrated(), options.samples, options.depths)


def pass_at_k(samples: int, solved: int, k: int) -> float:
    """Return the unbiased estimate of pass@k from `solved` of `samples` episodes (Chen et al. 2021)."""
    return 1.0 - comb(samples - solved, k) / comb(samples, k)


def pass_rate_at(k: int, played: Sequence[Round]) -> float:
    """Return the unbiased estimate of the mean pass@k over tasks, from rounds of which the first has all tasks.

    Up to the number of rounds of the first block it is the mean of `pass_at_k`. Beyond, tasks that were solved are
    played no further, and it is the share of tasks that the first `k` episodes solved.
    """
    tasks = played[0].tasks
    # Where the first block solves no task, the next one has all tasks, too. To count it would be biased upwards,
    # because the number of episodes would depend on their results.
    first_block = takewhile(lambda each: each.tasks == tasks, played[:_TOGETHER])
    full_rounds = sum(1 for _ in first_block)
    if k > full_rounds:
        return len({task for each in played[:k] for task in each.solved}) / len(tasks)
    return fmean(pass_at_k(full_rounds, sum(task in each.solved for each in played[:full_rounds]), k) for task in tasks)


def sign_test(gained: int, lost: int) -> float | None:
    """Return the two-sided p value of the exact sign test of two policies on the same tasks.

    Args:
        gained: Number of tasks that only the first policy solves.
        lost: Number of tasks that only the second one solves.

    Returns:
        Probability of numbers at least as unequal if each of these tasks were solved by either policy with probability
        0.5; `None` without such tasks.
    """
    return float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else None


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


def report(
    rounds: Mapping[str, Sequence[Round]], shown: set[Operations], samples: int, depths: Sequence[int]
) -> Result:
    """Return pass@k of every policy, what it solves beyond the start, and its new sequences of operations."""
    tasks = rounds[_START][0].tasks
    ks = [1 << power for power in range(samples.bit_length()) if 1 << power <= samples]
    curves = {name: [pass_rate_at(k, played) for k in ks] for name, played in rounds.items()}
    share = -(-len(tasks) // len(depths))
    by_depth = {depth: frozenset(tasks[place * share : (place + 1) * share]) for place, depth in enumerate(depths)}
    parts = {
        depth: {name: [_of_tasks(each, own) for each in played] for name, played in rounds.items()}
        for depth, own in by_depth.items()
    }
    groups: list[tuple[str | int, Mapping[str, Sequence[Round]]]] = [("all", rounds), *parts.items()]
    tables: dict[str, Sequence[Row]] = {
        "pass@k": [{"policy": name, **_cells(ks, rates)} for name, rates in curves.items()],
        "pass@k by depth": [
            {"depth": depth, "tasks": len(own), "policy": name, **_cells(ks, [pass_rate_at(k, some) for k in ks])}
            for (depth, part), own in zip(parts.items(), by_depth.values(), strict=True)
            for name, some in part.items()
        ],
        "Beyond the start": [{"depth": depth, **_beyond(name, part, shown)} for depth, part in groups for name in part],
    }
    plotted = {name: Curve(ks, rates) for name, rates in curves.items()}
    figure = line_plot(plotted, "k, episodes of a task", "pass@k", percent=True, log_x=True)
    notes = [
        f"{len(tasks)} held-out tasks, panel {rounds[_START][0].panel}; up to {samples} episodes of each at "
        f"temperature 1. Every task is played {min(samples, _TOGETHER)} times: their pass@k is the unbiased estimate "
        "of Chen et al. Tasks that are not solved by then are played further until they are: beyond, pass@k is the "
        "share of tasks that the first k episodes solve. Solutions are those of all episodes played.",
        _OF_THE_TEST,
        f"A solution's sequence is the operations of its successful calls. {len(shown)} different sequences are in the "
        "demonstrations; one is new if none of them contains it as a consecutive part, and has a new pair if two of "
        "its consecutive operations are consecutive in none.",
    ]
    return Result("pass_at_k", "pass@k of the start and of trained policies", tables, notes, {"pass@k": figure})


def _cells(ks: Sequence[int], rates: Sequence[float]) -> Row:
    return {f"pass@{k} %": f"{100 * rate:.1f}" for k, rate in zip(ks, rates, strict=True)}


def _of_tasks(played: Round, tasks: frozenset[str]) -> Round:
    """Return the part of a round with these tasks."""
    solved = {task: called for task, called in played.solved.items() if task in tasks}
    return Round(played.panel, solved, [task for task in played.tasks if task in tasks])


def _beyond(name: str, rounds: Mapping[str, Sequence[Round]], shown: set[Operations]) -> Row:
    solved, of_start = ({task for each in rounds[who] for task in each.solved} for who in (name, _START))
    solutions = [operations for each in rounds[name] for operations in each.solved.values()]
    parts = {part for each in shown for part in _parts(each)}
    new = [each for each in solutions if each not in parts]
    p_value = sign_test(len(solved - of_start), len(of_start - solved))
    pair = [each for each in solutions if any(two not in parts for two in pairwise(each))]
    return {
        "policy": name,
        "tasks solved at least once": len(solved),
        "of these never by the start": len(solved - of_start),
        "solved by the start alone": len(of_start - solved),
        "p, sign test": None if p_value is None else f"{p_value:.3f}",
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
    blocks = _blocks(options)
    total, done = options.samples * len(policies), 0
    waiting = {name: list(blocks) for name in policies}
    for name, left in waiting.items():
        while left and _file(options, name, left[0]).exists():
            done += len(left.pop(0))
    pool = worker_pool(options.jobs, partial(torch.set_num_threads, 1))
    running: dict[Future[None], tuple[str, range]] = {}

    def go_on(name: str) -> None:
        """Play the next block of a policy, which depends on what the earlier ones have solved."""
        if waiting[name]:
            block = waiting[name].pop(0)
            earlier = [_file(options, name, each) for each in blocks[: blocks.index(block)]]
            file = _file(options, name, block)
            running[pool.submit(_play, options, config, policies[name], block, file, earlier)] = name, block

    try:
        with Display() as display:
            phase = display.add_phase("rounds", total)
            display.update(phase, done, total)
            for name in policies:
                go_on(name)
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    name, block = running.pop(future)
                    future.result()
                    done += len(block)
                    display.update(phase, done, total)
                    go_on(name)
    finally:
        pool.shutdown(cancel_futures=True)


def _play(
    options: Options, config: TrainConfig, policy: Path, block: range, file: Path, earlier: Sequence[Path]
) -> None:
    """Play the rounds of a block, seeded by their numbers, and write them atomically. `earlier`: files before it."""
    bundle = build_policy(replace(config.policy, checkpoint=str(policy), critic="none", lora_rank=0))
    before = [each for one in earlier for each in read_rounds(one)]
    solved = {task for each in before for task in each.solved}
    left = [task not in solved for task in before[0].tasks] if before else [True] * options.tasks
    share = -(-options.tasks // len(options.depths))
    played: list[list[Trajectory]] = [[] for _ in block]
    for number, depth in enumerate(options.depths):
        places = [place for place, is_left in enumerate(left[number * share : (number + 1) * share]) if is_left]
        if places:
            evaluation = replace(depth_panel(depth, places[-1] + 1).evaluation(config.env), slots=_SLOTS)
            sampler = make_sampler(bundle, config.sampling, _TEMPERATURE)
            agent = EngineAgent(sampler, bundle.codec, stream=_streams(block))
            found = evaluate(evaluation, agent, tasks=[place for place in places for _ in block])
            for place, trajectories in enumerate(played):
                trajectories += found[place :: len(block)]
    partial = file.with_suffix(".part")
    partial.write_text(json.dumps([_round(each)._asdict() for each in played]) + "\n", encoding="utf-8")
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
    run_command("learning.pass_at_k", Options, run, ["scipy"])

"""Learning experiment on credit per step: arms and seeds from one start, with equal calls.

    python -m benchmarks.learning.experiment --seeds 10 --jobs 2

Question, protocol and interpretation: docs/learning.md. Every arm (benchmarks/learning/arms.py) trains the same
starting policy on the same tasks (agents/demo/configs/demo.yaml, of one depth), and is evaluated on the same held-out
tasks: those of this depth at even numbers of environment calls, all depths and splits at the end.

Runs are kept in `--runs`. The command skips finished runs and resumes unfinished ones, so it can be stopped at any
time and repeated with more seeds or arms.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from agents.evaluation.panels import Panel, depth_panel
from agents.models import checkpoint
from benchmarks.harness.command import run_command
from benchmarks.harness.report import Result, origin
from benchmarks.learning.arms import ARMS, DEFAULT_ARMS, SHARED, arm_config, tasks_of_depth
from benchmarks.learning.finished_runs import START, Experiment
from benchmarks.learning.report import report
from benchmarks.learning.runs import PACKAGES, perform
from benchmarks.learning.training_run import Plan

_DEPTHS = tuple(f"depth-{depth}" for depth in range(1, 7))


@dataclass(frozen=True)
class Options:
    """Train arms from one start and compare them.

    Example: python -m benchmarks.learning.experiment --seeds 10 --jobs 2
    """

    policy: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("nano-sft")
    """Checkpoint that every run starts from (`steptool sft`)."""
    depth: int = 4
    """Depth of the tasks of training and of the learning curves."""
    calls: int = 16000
    """Environment calls of training in each run."""
    seeds: int = 10
    """Number of runs per arm."""
    arms: Annotated[tuple[str, ...], tyro.conf.arg(metavar="ARM")] = DEFAULT_ARMS
    """Names of the arms, see benchmarks/learning/arms.py."""
    points: int = 8
    """Number of evaluations per run, evenly spaced over the calls, the last at the end."""
    episodes: int = 200
    """Number of tasks of these evaluations, all of one depth."""
    end_episodes: int = 200
    """Number of tasks of each split in the evaluation at the end."""
    end_splits: Annotated[tuple[str, ...], tyro.conf.arg(metavar="SPLIT")] = _DEPTHS
    """Splits of the evaluation at the end, that of `depth` among them. Tasks of other splits than `depth-N` have the
    depth of training; a world of few tools has none of depth 5 in some."""
    config: Annotated[Path, tyro.conf.arg(metavar="FILE")] = SHARED
    """YAML file of the settings that all arms share, as for `steptool train`."""
    jobs: int = 1
    """Number of concurrent runs, one thread each: 1 runs in this process, more in child processes."""
    ray: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="[ADDRESS]")] = None
    """Run on a cluster of Ray, whose head is at ADDRESS (HOST:PORT), by default the cluster of this machine. The
    starting checkpoint is at the same path on every node."""
    runs: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/learning")
    """Folder of the runs."""
    name: str = ""
    """Name of the result files; by default `learning_depth_N`, which another set of arms would replace."""


def run(options: Options) -> Result:
    """Do all unfinished runs, and compare. Raises as `planned` and `perform` do."""
    results = perform(planned(options, origin(PACKAGES)), options.jobs, options.ray)
    result = report(Experiment.of(options.arms, results))
    return replace(result, name=options.name or result.name)


def planned(options: Options, started: Mapping[str, Any]) -> list[Plan]:
    """Return the run of the start, then those of the arms, seed by seed.

    Raises:
        SystemExit: An arm is unknown, a split missing, or a number below 1.
    """
    if unknown := [name for name in options.arms if name not in ARMS]:
        raise SystemExit(f"error: --arms {' '.join(unknown)}: no such arm; there are {', '.join(ARMS)}")
    curve = (depth_panel(options.depth, options.episodes),)
    if curve[0].name not in options.end_splits:
        raise SystemExit(f"error: --end-splits: {curve[0].name} is missing, the split of the learning curves")
    numbers = {name: getattr(options, name) for name in ("calls", "seeds", "points", "jobs", "episodes")}
    numbers["end-episodes"] = options.end_episodes
    if wrong := [name for name, value in numbers.items() if value < 1]:
        raise SystemExit(f"error: --{wrong[0]} {numbers[wrong[0]]}: must be at least 1")
    digest = checkpoint.load_digest(checkpoint.resolve_checkpoint(options.policy))
    # Their number of tasks differs from that of the curve's panel.
    end = tuple(Panel(f"end-{split}", {"split": split}, options.end_episodes) for split in options.end_splits)

    changes = tasks_of_depth(options.config, options.depth)
    runs = options.runs / curve[0].name

    def plan(name: str, arm: str, seed: int, points: int) -> Plan:
        folder = runs / (START if name == START else f"{name}-{seed}")
        config = arm_config(arm, seed, options.config, options.policy, options.calls, folder, changes)
        return Plan(name, seed, points, digest, config, curve, end, started)

    start = plan(START, "final", 0, 0)
    return [start, *(plan(arm, arm, seed, options.points) for seed in range(options.seeds) for arm in options.arms)]


if __name__ == "__main__":
    run_command("learning.experiment", Options, run, PACKAGES)

"""Check and measure one GPU in a bounded time, stage by stage.

    python -m benchmarks.gpu --minutes 8 --out DIR
    python -m benchmarks.gpu --device cpu --tiny      # every stage in its smallest form

Each stage is a process of its own, so that a crash, lack of memory or a hang ends that stage only. The rest of the time
is shared out over the rest of the stages; a stage that overruns its share is ended, and what it has measured so far is
kept. Results are written after each stage. docs/gpu.md describes the stages.
"""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Annotated, Any, NamedTuple

import tyro
from rich.console import Console

from benchmarks.harness.command import check_tree
from benchmarks.harness.process import ROOT
from benchmarks.harness.report import RESULTS, Result, Row, origin, publish, write_result
from toolserver import children


class Stage(NamedTuple):
    """Stage: its function `module:function`, its share of the time, and the most seconds that it may take."""

    name: str
    function: str
    measures: str
    share: float
    most: float = float("inf")


STAGES = (
    Stage("correct", "benchmarks.gpu.correct:measure", "the tests marked cuda", 2.0, 60.0),
    Stage(
        "decode",
        "benchmarks.gpu.decode:measure",
        "sampled tokens per second, beside Transformers' generate and continuous batching",
        2.5,
    ),
    Stage(
        "learn",
        "benchmarks.gpu.learn:measure",
        "trained tokens per second, MFU and memory of an update, beside TRL's",
        1.5,
    ),
    Stage("iteration", "benchmarks.gpu.iteration:measure", "shares of rollout, environment and update", 1.0),
    Stage("profiling", "benchmarks.gpu.profiling:measure", "operations with the most time, by torch.profiler", 0.7),
    Stage("job", "benchmarks.gpu.job:measure", "a start from demonstrations, then training on deep chains", 3.0),
)
"""Stages in the order of their worth; the last takes what is left."""

_PACKAGES = ("accelerate", "peft", "triton", "trl", "tokenizers")
_RESERVE = 4.0  # seconds before its end in which a stage begins nothing
_LEAST = 10.0  # seconds without which a stage is not begun
_END_SECONDS = 5.0  # of an ended stage to leave by itself


@dataclass(frozen=True)
class Options:
    """Check and measure one GPU. Example: python -m benchmarks.gpu --minutes 8 --out runs/gpu."""

    minutes: float = 8.0
    """Minutes of all stages together."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = RESULTS
    """Folder of `gpu.json`, `gpu.md` and `gpu.log`, with --tiny `gpu_tiny`."""
    stages: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME")] = ()
    """Stages to run, in their fixed order; by default all."""
    device: str = "cuda"
    """Device."""
    tiny: bool = False
    """Smallest sizes: every line of code runs, no figure means anything."""
    commit: str = ""
    """Commit of the source, for a copy of it that is not a git repository."""
    allow_dirty: bool = False
    """Write results of a changed tree too; their first line says so."""


class Outcome(NamedTuple):
    """Row of a stage in the table of stages, and what it has reported."""

    row: Row
    report: Mapping[str, Any]


def chosen(names: Sequence[str]) -> list[Stage]:
    """Return the named stages in the order of the table; all by default. Raises `SystemExit`."""
    known = [stage.name for stage in STAGES]
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"error: --stages {' '.join(unknown)}: no such stage; there are {', '.join(known)}")
    return [stage for stage in STAGES if not names or stage.name in names]


def bound(stages: Sequence[Stage], left: float) -> float:
    """Return the seconds of the first of the stages that are left, of `left` seconds."""
    first = stages[0]
    return min(first.most, left * first.share / sum(stage.share for stage in stages))


def run_stage(stage: Stage, options: Options, seconds: float, log: Path) -> Outcome:
    """Run a stage as a process; end it, with all processes that it has started, after `seconds`."""
    begin, how = monotonic(), "done"
    with tempfile.TemporaryDirectory() as scratch, log.open("a", encoding="utf-8") as output:
        file = Path(scratch) / "report.json"
        output.write(f"\n== {stage.name}, {seconds:.0f} s\n")
        output.flush()
        start = output.tell()
        words = [
            stage.function,
            "--device",
            options.device,
            "--seconds",
            str(seconds - _RESERVE),
            "--report",
            str(file),
        ]
        process = children.start(
            ["benchmarks.gpu.stage", *words, *(["--tiny"] if options.tiny else [])],
            cwd=ROOT,
            env=_environment(options),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            if process.wait(seconds):
                how = f"failed, status {process.returncode}"
        except subprocess.TimeoutExpired:
            how = "ended, time over"
        finally:
            _end_group(process)
            children.end(process)
        report = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"tables": {}, "notes": []}
        error = "" if how == "done" else _last_line(log, start)
    row: Row = {"stage": stage.name, "outcome": how, "seconds": monotonic() - begin, "of": seconds, "error": error}
    return Outcome(row, report)


def _environment(options: Options) -> dict[str, str]:
    """Return the environment of a stage: no network; one thread where sizes are too small for several."""
    threads = {"OMP_NUM_THREADS": "1"} if options.tiny else {}
    return {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONFAULTHANDLER": "1", **threads}


def _end_group(process: subprocess.Popen[str]) -> None:
    """End what is left of a process and of those that it has started: they share its process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)


def _last_line(log: Path, start: int) -> str:
    """Return the last line of a log that has any text, from a place on."""
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:200] if lines else "no output"


def result_of(options: Options, outcomes: Sequence[Outcome]) -> Result:
    """Return the result of the stages so far: their outcomes, the device, their tables."""
    tables: dict[str, Sequence[Row]] = {"Stages": [outcome.row for outcome in outcomes]}
    for outcome in outcomes:
        for heading, rows in outcome.report["tables"].items():
            tables.setdefault(heading, rows)  # every stage describes the device
    notes = [note for outcome in outcomes for note in outcome.report["notes"]]
    if options.tiny:
        notes.insert(0, "Sizes are the smallest: the figures mean nothing.")
    name = "gpu_tiny" if options.tiny else "gpu"
    return Result(name, f"Stages on {options.device}" + (", smallest sizes" if options.tiny else ""), tables, notes)


def main(options: Options) -> int:
    """Run the chosen stages and write the results after each. Return the number of stages that were not done."""
    stages = chosen(options.stages)
    if not options.allow_dirty:
        check_tree(options.out)
    console = Console()
    end = monotonic() + 60 * options.minutes
    started = origin(_PACKAGES)
    if options.commit and started["commit"] == "unknown":
        started["commit"] = options.commit
    options.out.mkdir(parents=True, exist_ok=True)
    log = options.out / ("gpu_tiny.log" if options.tiny else "gpu.log")
    log.write_text("", encoding="utf-8")
    outcomes: list[Outcome] = []
    for number, stage in enumerate(stages):
        seconds = bound(stages[number:], end - monotonic())
        console.print(f"{stage.name}, at most {seconds:.0f} s: {stage.measures}", highlight=False)
        if seconds < _LEAST:
            row: Row = {"stage": stage.name, "outcome": "not begun", "seconds": 0.0, "of": seconds, "error": "no time"}
            outcomes.append(Outcome(row, {"tables": {}, "notes": []}))
        else:
            outcomes.append(run_stage(stage, options, seconds, log))
        console.print(f"{stage.name}: {outcomes[-1].row['outcome']} {outcomes[-1].row['error']}", highlight=False)
        write_result(result_of(options, outcomes), started, options.out)
    publish(result_of(options, outcomes), started, options.out)
    return sum(outcome.row["outcome"] != "done" for outcome in outcomes)


if __name__ == "__main__":
    with children.ended_by_signals():
        raise SystemExit(main(tyro.cli(Options, prog="python -m benchmarks.gpu", description=Options.__doc__)))

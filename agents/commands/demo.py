"""`steptool demo`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from rich.console import Console

from agents.demo.run import BEST, ENV_ID, GREEDY, START, Demo, Outcome, by_depth, check_demo, run_demo, task_arguments
from agents.evaluation.results import defined, metrics_of, panel_of, write_metrics, write_run
from agents.reporting.console import print_table, print_written
from steptool_env.trajectories.trajectories import write_trajectories


@dataclass(frozen=True)
class Command(Demo):
    """Train policies against a tool server, in minutes on a laptop, and compare them with their start.

    One start is trained twice with the same number of environment calls: with a reward for every call (`steptool`)
    and with the final reward alone (`final`). Then both, the start, a random agent and the oracle are evaluated on the
    same held-out tasks; policies at temperature 1 and 0, the start also at its best temperature on validation tasks.
    Writes to the folder of --out: result.json (every metric of every agent), report.html (the result, episodes that
    only the trained policy solves, learning curves by depth, tables), task.svg (one of these tasks before and after
    training) and episodes/ (a run of each agent, for `steptool view`, `report`, `score` and `picture`).

    While it runs, its first lines have the address of a page that shows both runs as they learn.

    Example: steptool demo --out runs/demo
    """

    view: bool = True
    """Serve the page of `steptool view` while the policies train."""

    def run(self) -> dict[str, Any]:
        """Run the demonstration, print the tables and write the page. Return what result.json says."""
        from agents.demo.report import depth_table, result_sentence
        from agents.reporting.evaluation import comparison

        check_demo(self)
        console = Console()
        with live_page(self.out, console) if self.view and self.learner == "text" else nullcontext() as announce:
            outcome, record = play(self, console, announce)
        for table in (depth_table(outcome.runs), comparison(outcome.runs, brief=True)):
            print_table(console, table.columns, table.rows, table.title, table.note)
        console.print(_summary(outcome, record["seconds"]), highlight=False)
        if found := result_sentence(outcome):
            console.print(found, highlight=False)
        page = self.out / "report.html"
        look = f"open {page} in a browser; all episodes and curves: steptool view {quote(str(self.out))}"
        print_written(console, f"{page} and {self.out / 'result.json'}", look)
        return {"out": self.out, **record}


@contextmanager
def live_page(out: Path, console: Console) -> Iterator[Callable[[], None]]:
    """Serve the page of the runs in a folder from a process of its own. Yield a function that prints its address."""
    from agents.training.subprocess_run import ModuleProcess

    out.mkdir(parents=True, exist_ok=True)
    log = out / "view.log"
    words = ["agents.cli", "view", str(out), "--port", "0", "--index", str(out / "view.sqlite")]
    with ModuleProcess(words, log, piped=True) as process:
        lines = process.lines()  # kept: an iterator that ends closes the pipe, which would end the process

        def announce() -> None:
            line = next(lines, "")
            seen = (
                f"watch the policies learn: {line.split()[-1]} (this machine only)" if line else f"no page: see {log}"
            )
            console.print(seen, highlight=False, soft_wrap=True)

        yield announce


def play(demo: Demo, console: Console, on_server: Callable[[], None] | None = None) -> tuple[Outcome, dict[str, Any]]:
    """Run a demonstration, and write result.json and report.html to its folder. Return its outcome and that result.

    `on_server` is called once the tool server answers.
    """
    from agents.demo.report import write_page

    demo.out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    outcome = run_demo(demo, console.print, on_server or (lambda: None))
    seconds = time.perf_counter() - started
    record = result_of(demo, outcome, seconds)
    arguments = task_arguments(demo)
    settings = {name: value for name, value in vars(demo).items() if name not in ("out", "agent", "view")}
    for name, played in outcome.runs.items():
        folder = demo.out / "episodes" / name
        write_trajectories(folder / "trajectories.jsonl", played)
        write_metrics(metrics_of(played), folder / "metrics.json", panel_of(played))
        run: dict[str, Any] = {"agent": name, "evaluation": {"env_id": ENV_ID, "env_kwargs": arguments}}
        if name.removesuffix(GREEDY) in outcome.curves:  # of the others no result depends on the seed
            run |= {"training": {"settings": settings}, "agent_args": {"name": name}}
        write_run(run, folder / "run.json")
    (demo.out / "result.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    panels = ", ".join(f"{len(played)} of {panel}" for panel, played in by_depth(outcome.runs["oracle"]).items())
    write_page(
        f"Held-out tasks: {panels}; world {demo.world_seed}, tools over HTTP.", outcome, demo.out / "report.html"
    )
    return outcome, record


def result_of(demo: Demo, outcome: Outcome, seconds: float) -> dict[str, Any]:
    """Return the metrics of every agent, and the run's calls, seconds, panel and seed.

    `pass_rate` is over all tasks, `pass_rate_<panel>` over those of one panel; `start_best` has its `temperature`.
    """
    found: dict[str, Any] = {name: defined(metrics_of(played)) for name, played in outcome.runs.items()}
    for name, played in outcome.runs.items():
        rates = {f"pass_rate_{panel}": metrics_of(part)["pass_rate"] for panel, part in by_depth(played).items()}
        found[name] |= defined(rates)
    if BEST in found:
        found[BEST]["temperature"] = outcome.temperature
    return {
        **found,
        "training_calls": outcome.calls,
        "env_calls": max(outcome.calls.values(), default=0),
        "unsolved_by_start": outcome.unsolved,
        "seconds": round(seconds, 1),
        "panel": panel_of(outcome.runs["oracle"]),
        "seed": demo.seed,
    }


def _summary(outcome: Outcome, seconds: float) -> str:
    calls = ", ".join(f"{name} {count}" for name, count in outcome.calls.items())
    best = f"; {START} is best at temperature {outcome.temperature:g}" if outcome.curves else ""
    return f"{seconds:.0f} s" + (f"; calls of training: {calls}" if calls else "") + best

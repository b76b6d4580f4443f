"""`steptool tasks`."""

from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from agents.baselines.oracle import OracleAgent
from agents.reporting.console import print_table
from steptool_env.benchmarks import benchmark_of
from steptool_env.envs.make import make_env
from steptool_env.episodes.records import trajectory_record
from steptool_env.errors import ConfigurationError
from steptool_env.toolworld import SPLITS, WorldTask
from steptool_env.toolworld.plan_graph import end_of
from steptool_env.toolworld.suite import load_suite
from steptool_env.toolworld.task_page import page
from steptool_env.types import Trajectory

_WIDTH = 110  # minimum characters per line
Level = Literal["lite", "standard", "full"]


@dataclass(frozen=True)
class Show:
    """Print a task with its gold solution as a diagram, the oracle's episode and its reward terms.

    Example: steptool tasks show w0-lite-G3_instruction-18 --reward steptool

    Example: steptool tasks show Hotels-50

    Example: steptool tasks show multi_turn_base_0 --reward steptool
    """

    task: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TASK")] = "w0-lite-train-1"
    """Id of the task: world seed, level, split, index; or that of another benchmark, such as Hotels-50."""
    picture: Literal["mermaid", "graphviz"] = "mermaid"
    """Language of the diagram. Tasks of several turns have none."""
    reward: Literal["progress", "potential", "steptool", "final"] = "progress"
    """Kind of reward to show."""

    def run(self, console: Console) -> dict[str, Any]:
        """Print the task."""
        benchmark = benchmark_of("", self.task)
        solution = benchmark.tasks.find("", self.task)
        for line in benchmark.tasks.describe(solution):
            console.print(line, highlight=False, markup=False)
        plan = benchmark.tasks.plan(solution)
        console.print(f"\n{getattr(plan, self.picture)()}" if plan else "", markup=False)
        settings = {**benchmark.tasks.env_args("", self.task), **benchmark.tasks.shown, "reward": self.reward}
        played = _oracle_episode(benchmark.env_id, settings, self.task)
        for step, reward in zip(played.steps, played.rewards, strict=True):
            terms = ", ".join(f"{name} {value:g}" for name, value in step.reward_terms.items())
            console.print(f"{step.action.name} {step.action.arguments}", style="bold", highlight=False, markup=False)
            console.print(f"  {step.observation}\n  reward {reward:g} ({terms})", highlight=False, markup=False)
        console.print(f"return {sum(played.rewards):g}, outcome {played.metadata['outcome']}", highlight=False)
        needed = list(played.task.relevant)
        return {"id": self.task, "query": played.task.query, "needed": needed, "oracle": trajectory_record(played)}


@dataclass(frozen=True)
class Sample:
    """Print the queries of some tasks with their ids and needed functions.

    Example: steptool tasks sample --split G3_instruction --level full --count 5
    """

    split: str = "train"
    """Split."""
    level: Level = "lite"
    """Level."""
    world_seed: int = 0
    """Seed of the world."""
    count: int = 10
    """Number of tasks, from the first on."""

    def run(self, console: Console) -> dict[str, Any]:
        """Print the tasks."""
        tasks = _world_tasks(self.split, self.level, self.world_seed, self.count)
        for task in tasks:
            console.print(f"{task.id}  {task.query}", highlight=False, markup=False)
            names = ", ".join(api.spec.function_name for api in task.needed)
            console.print(f"    depth {task.plan.depth}: {names or 'nothing'}", style="dim", highlight=False)
        return {"tasks": [_described(task) for task in tasks]}


@dataclass(frozen=True)
class Stats:
    """Print a table of the splits: size, depth, offered tools, needed calls, share of unsolvable tasks.

    Example: steptool tasks stats --level standard
    """

    level: Level = "lite"
    """Level."""
    world_seed: int = 0
    """Seed of the world."""
    count: int = 100
    """Number of tasks of each split."""

    def run(self, _: Console) -> dict[str, Any]:
        """Print the table."""
        table, rows = list[tuple[str, ...]](), dict[str, dict[str, Any]]()
        for split in SPLITS:
            tasks = _world_tasks(split, self.level, self.world_seed, self.count)
            depths = Counter(task.plan.depth for task in tasks)
            row = rows[split] = {
                "size": SPLITS[split].size,
                "depths": {depth: count / len(tasks) for depth, count in sorted(depths.items())},
                "offered": fmean(len(task.toolset.apis) for task in tasks),
                "needed": fmean(len(task.needed) for task in tasks),
                "changes": fmean(task.plan.writes for task in tasks),
                "unsolvable": fmean(not task.solvable for task in tasks),
            }
            cells = (
                split,
                f"{row['size']:,}",
                " ".join(str(100 * depths[d] // len(tasks)) if d in depths else "–" for d in range(1, 1 + max(depths))),
                *(f"{row[name]:.1f}" for name in ("offered", "needed")),
                *(f"{int(100 * row[name])}%" for name in ("changes", "unsolvable")),
            )
            table.append(cells)
        heads = ("split", "size", "% of depth 1, 2, …", "tools", "needed", "writes", "unsolvable")
        note = "Tools and needed: mean numbers of APIs. Writes: share of tasks that change the state."
        print_table(Console(), heads, table, note=note)
        return {"splits": rows}


@dataclass(frozen=True)
class Page:
    """Write the documentation page of forty queries with their gold plans.

    Example: steptool tasks page --out docs/toolworld-tasks.md
    """

    out: Path = Path("docs/toolworld-tasks.md")
    """Output file."""

    def run(self, console: Console) -> dict[str, Any]:
        """Write the page."""
        self.out.write_text(page(), encoding="utf-8")
        console.print(f"wrote {self.out}", highlight=False)
        return {"wrote": self.out}


@dataclass(frozen=True)
class Command:
    """Inspect ToolWorld's tasks: `show` one, `sample` some, `stats` of all splits; write the `page` of queries.

    `show` also takes a task of another benchmark with reference solutions.

    Example: steptool tasks show w0-lite-train-1

    Example: steptool tasks sample --split G3_instruction --level full --count 5
    """

    action: Annotated[Show | Sample | Stats | Page, tyro.conf.arg(name="")] = field(default_factory=Stats)

    def run(self) -> dict[str, Any]:
        """Run the chosen action."""
        console = Console(soft_wrap=True)
        console.width = max(console.width, _WIDTH)
        return self.action.run(console)


def _world_tasks(split: str, level: str, world_seed: int, count: int) -> list[WorldTask]:
    if count < 1:
        raise ConfigurationError(f"count={count}: must be at least 1")
    suite = load_suite(split, level, world_seed)
    return [suite.sampler.task(index) for index in range(min(count, len(suite)))]


def _described(task: WorldTask) -> dict[str, Any]:
    return {
        "id": task.id,
        "query": task.query,
        "depth": task.plan.depth,
        "solvable": task.solvable,
        "needed": [api.spec.function_name for api in task.needed],
        "answer": end_of(task),
    }


def _oracle_episode(env_id: str, settings: Mapping[str, Any], task_id: str) -> Trajectory:
    with closing(make_env(env_id, settings)) as env:
        observation, info = env.reset(seed=0, options={"task": task_id})
        agent, over = OracleAgent(), False
        agent.reset([0], [observation], [info])
        while not over:
            (action,) = agent.act([0], [observation], [info])
            observation, _, ended, truncated, info = env.step(action)
            over = ended or truncated
    played: Trajectory = info["trajectory"]
    return played

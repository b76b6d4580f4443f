"""The demonstration: start a tool server, train policies against it and compare them with their start."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from agents.evaluation.evaluate import Evaluation, check, evaluate
from agents.evaluation.results import metrics_of
from agents.registry import make_agent
from agents.reporting.console import EpisodeProgressBar
from agents.reporting.outputs import EVALUATED, check_unused
from steptool_env.errors import ConfigurationError
from steptool_env.types import Trajectory
from toolserver.testing import ServerProcess

if TYPE_CHECKING:
    from agents.demo.panel_jobs import Job
    from agents.evaluation.panels import Panel
    from agents.training.config import TrainConfig

ENV_ID = "StepTool/ToolWorld-v0"
FLOORS = ("random", "oracle")
"""Floor and ceiling: agents that learn nothing."""
START, BEST = "start", "start_best"
GREEDY = "_greedy"
"""Suffix of a policy's name: the same policy at temperature 0."""

TRIES = 16
"""Further attempts of the start at a task before it counts as one that the start cannot solve."""
_CANDIDATES = 6  # tasks of a depth that are tried so
_SHOWN = 3  # of them shown
_FLOOR_SPLITS = ("depth-1", "depth-2", "depth-3")  # held-out tasks where no policy is trained

DemoLearner = Literal["text", "none"]
Runs = dict[str, list[Trajectory]]
"""Trajectories of every agent on the same tasks, by its name."""


@dataclass(frozen=True)
class Demo:
    """Settings of the demonstration."""

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/demo")
    """Output folder."""
    learner: DemoLearner = "text"
    """`text`: train a transformer of a million parameters that reads and writes text. `none`: random agent and oracle
    only, in seconds."""
    from_scratch: bool = False
    """Train the starting policy again (most of an hour) instead of taking the shipped one."""
    calls: int = 0
    """Environment calls of training for each policy; 0 takes those of the configuration."""
    episodes: int = 150
    """Number of held-out tasks for every agent, evenly over the depths."""
    seed: int = 0
    """Random seed of training."""
    world_seed: int = 0
    """Seed of the world."""
    agent: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME"), tyro.conf.UseAppendAction] = ()
    """Further agent to compare, by name or module:factory; may be repeated."""

    def __post_init__(self) -> None:
        for name in ("calls", "seed"):
            if getattr(self, name) < 0:
                raise ConfigurationError(f"{name}={getattr(self, name)}: must be at least 0")
        if self.episodes < 1:
            raise ConfigurationError(f"episodes={self.episodes}: must be at least 1")


@dataclass
class Outcome:
    """Results of the demonstration.

    Attributes:
        runs: Trajectories by agent.
        curves: Records of `metrics.jsonl` by trained policy.
        calls: Environment calls of training by trained policy.
        temperature: The start's best temperature on validation tasks.
        unsolved: Ids of tasks that the start solved in no attempt and the step-grained policy did.
    """

    runs: Runs = field(default_factory=dict)
    curves: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    temperature: float = 0.0
    unsolved: list[str] = field(default_factory=list)


def run_demo(demo: Demo, say: Callable[[str], None], on_server: Callable[[], None]) -> Outcome:
    """Start a tool server, train against it, evaluate every agent on the same tasks, and stop the server.

    `on_server` is called once the server answers.
    """
    outcome, tasks = Outcome(), task_arguments(demo)
    settings = {"world_tools": tasks["tools"]} if "tools" in tasks else {}
    with ServerProcess(["--world", str(demo.world_seed)], settings=settings) as server:
        say(f"tool server on {server.url} (process {server.pid})")
        on_server()
        tools = {"world_seed": demo.world_seed, "server_url": server.url}
        evaluations = _evaluations(demo, {**tasks, **tools})
        for evaluation in evaluations:
            check(evaluation)
        if demo.learner == "text":
            _train(demo, tools, outcome)
        for name in (*FLOORS, *demo.agent):
            outcome.runs[name] = [t for evaluation in evaluations for t in _play(name, evaluation)]
    say("tool server ended")
    return outcome


def check_demo(demo: Demo) -> None:
    """Raise what would end a demonstration after its training, or remove runs that are not its own.

    Raises:
        ConfigurationError: The folder, or that of a policy in it, holds another run; or there is no such agent.
    """
    check_unused(demo.out, EVALUATED)
    if demo.learner == "text":
        from agents.demo.arms import ARMS
        from agents.training.subprocess_run import check_replaced

        for arm in ARMS:
            check_replaced(demo.out / arm)
    for name in demo.agent:
        getattr(make_agent(name), "close", lambda: None)()


def by_depth(played: Sequence[Trajectory]) -> dict[str, list[Trajectory]]:
    """Return the trajectories by the split of their task, e.g. `depth-4`, in the order of the splits."""
    found: dict[str, list[Trajectory]] = {}
    for trajectory in played:
        found.setdefault(trajectory.task.suite, []).append(trajectory)
    return found


def _train(demo: Demo, tools: Mapping[str, Any], outcome: Outcome) -> None:
    """Train the arms, evaluate them and the start, and find tasks that only the trained policy solves.

    The training is first, so that the live page has curves soon.
    """
    from agents.demo.arms import ARMS, demo_config, starting_point, train_arms
    from agents.demo.panel_jobs import Job, play_jobs
    from agents.demo.progress import DemoProgress
    from agents.evaluation.panels import TEMPERATURES, best_temperature, depth_panel, trained_depths, validation_panel

    start = starting_point(demo.out / "sft", demo.from_scratch)
    configs: dict[str, TrainConfig] = {
        arm: demo_config(arm, start, demo.out / arm, tools, calls=demo.calls, seed=demo.seed, episodes=_each(demo))
        for arm in ARMS
    }
    config = next(iter(configs.values()))
    depths = trained_depths(config.env)
    panels = [depth_panel(depth, _each(demo)) for depth in depths]
    validation = [validation_panel(depth, max(1, _each(demo) // 2)) for depth in depths]

    def jobs(name: str, checkpoint: Path, temperature: float, panels: Sequence[Panel]) -> list[Job]:
        return [Job(name, str(checkpoint), temperature, panel, config) for panel in panels]

    with DemoProgress(tuple(ARMS), depths) as progress:

        def play(given: Sequence[Job]) -> dict[str, list[Trajectory]]:
            progress.begin_phase("table", len(given))
            return play_jobs(given, lambda done: progress.evaluate("table", done, len(given)))

        trained = train_arms(configs, progress)
        tries = {str(temperature): temperature for temperature in TEMPERATURES}
        evaluated = [
            job
            for name, checkpoint in {START: start, **{name: run.checkpoint for name, run in trained.items()}}.items()
            for suffix, temperature in (("", 1.0), (GREEDY, 0.0))
            for job in jobs(name + suffix, checkpoint, temperature, panels)
        ]
        evaluated += [job for name, value in tries.items() for job in jobs(name, start, value, validation)]
        played = play(evaluated)
        outcome.temperature = best_temperature(
            {value: metrics_of(played[name])["pass_rate"] for name, value in tries.items()}
        )
        equal = {1.0: START, 0.0: START + GREEDY}.get(outcome.temperature)
        played[BEST] = played[equal] if equal else play(jobs(BEST, start, outcome.temperature, panels))[BEST]
        shown = (START, START + GREEDY, BEST, *(name + suffix for name in ARMS for suffix in ("", GREEDY)))
        outcome.runs = {name: played[name] for name in shown}
        outcome.curves = {name: run.metrics() for name, run in trained.items()}
        outcome.calls = {name: int(curve[-1]["calls"]) for name, curve in outcome.curves.items()}
        progress.begin_phase("attempts", TRIES)
        outcome.unsolved = _beyond_start(
            outcome, start, config, panels, lambda done: progress.evaluate("attempts", done, TRIES)
        )


def _beyond_start(
    outcome: Outcome, start: Path, config: TrainConfig, panels: Sequence[Panel], on_attempt: Callable[[int], None]
) -> list[str]:
    """Return ids of tasks that the greedy step-grained policy solved and the start did not in any attempt.

    The attempts are those of the table, then `TRIES` more, half of them at the best temperature if that is not 0.
    `on_attempt` gets the number of finished further attempts at a panel's tasks.
    """
    from agents.demo.attempts import never_solved, passed
    from agents.models.bundle import build_policy
    from agents.rollout.policy_agent import EngineAgent, policy_agent

    bundle = build_policy(replace(config.policy, checkpoint=str(start), critic="none", lora_rank=0))

    def agents() -> Iterator[EngineAgent]:
        for number in range(TRIES):
            best = number % 2 and outcome.temperature
            temperature = outcome.temperature if best else 1.0
            yield policy_agent(bundle, config.sampling, temperature, seed=1 + number, exact=False)
            on_attempt(number + 1)

    attempts = [outcome.runs[name] for name in (START, START + GREEDY, BEST)]
    found: list[str] = []
    for panel in reversed(panels):  # the deepest first
        after, *before = (by_depth(played)[panel.name] for played in (outcome.runs["steptool" + GREEDY], *attempts))
        learnt = [
            index
            for index, (trained, *others) in enumerate(zip(after, *before, strict=True))
            if passed(trained) and not any(map(passed, others))
        ]
        # Those first whose needed calls were made: an answer can be right by chance.
        learnt.sort(key=lambda index: -after[index].metadata["outcome"]["progress"])
        unsolved = never_solved(panel.evaluation(config.env), agents(), learnt[:_CANDIDATES])
        found += [after[index].task.id for index in unsolved]
        if len(found) >= _SHOWN:
            break
    return found[:_SHOWN]


def _each(demo: Demo) -> int:
    """Return the number of tasks of each depth."""
    return math.ceil(demo.episodes / len(_depths(demo)))


def _depths(demo: Demo) -> Sequence[str]:
    """Return the splits of the held-out tasks: the depths that the policies are trained on."""
    depths = sorted(task_arguments(demo).get("depths", {}), key=int)
    return [f"depth-{depth}" for depth in depths] or _FLOOR_SPLITS


def _evaluations(demo: Demo, arguments: Mapping[str, Any]) -> list[Evaluation]:
    return [Evaluation(ENV_ID, {**arguments, "split": split}, _each(demo), 50) for split in _depths(demo)]


def task_arguments(demo: Demo) -> dict[str, Any]:
    """Return the arguments of the evaluation tasks: those of training, except for the split."""
    if demo.learner == "none":
        return {}
    from agents.demo.arms import CONFIG
    from agents.training.config import read_config

    return dict(read_config(CONFIG).env.args)


def _play(name: str, evaluation: Evaluation) -> list[Trajectory]:
    with EpisodeProgressBar(f"{name}, {evaluation.env_kwargs['split']}") as progress:
        return evaluate(evaluation, make_agent(name), progress.add, progress.expect)

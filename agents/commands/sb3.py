"""`steptool sb3`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import tyro
from rich.console import Console

from agents.base import Agent
from agents.evaluation.evaluate import Evaluation, check, evaluate
from agents.evaluation.results import metrics_of, panel_of, write_metrics, write_run
from agents.reporting.console import EpisodeProgressBar, TrainingProgressBar, print_table, print_written
from agents.reporting.outputs import check_unused
from agents.sb3.agent import random_candidates
from agents.sb3.config import SB3Settings

_SHOWN = ("recall", "calls")


@dataclass(frozen=True)
class Command:
    """Train PPO or MaskablePPO of Stable-Baselines3 on the numeric form of ToolWorld, and evaluate it in text.

    Writes to the folder of --out: model.zip (for --agent sb3:DIR/model.zip), run.json, and the metrics of the policy
    and of the agent `random-candidates` on each split. A folder with the result of another run is refused.

    Example: steptool sb3 --env-args 'depths={"1": 1, "2": 1}' --out runs/sb3
    """

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Output folder."""
    splits: tuple[str, ...] = ("depth-1", "depth-2")
    """Evaluation splits; training uses none of their tasks."""
    episodes: int = 100
    """Number of tasks per split."""
    settings: Annotated[SB3Settings, tyro.conf.arg(name="")] = field(default_factory=SB3Settings)

    def run(self) -> dict[str, Any]:
        """Train and evaluate. Return the metrics by split and agent."""
        from agents.sb3.train import agent_of, train

        check_unused(self.out)
        console = Console()
        self.out.mkdir(parents=True, exist_ok=True)
        settings, evaluations = self.settings, self._evaluations()
        for evaluation in evaluations.values():
            check(evaluation)
        with TrainingProgressBar("sb3", console=console) as bar:

            def on_rollout(steps: int, mean: float) -> None:
                bar.report(steps, settings.total_steps, "" if isnan(mean) else f"return {mean:.3f}")

            model = train(settings, on_rollout)
        model.save(self.out / "model.zip")
        write_run({"settings": vars(settings), "splits": self.splits, "episodes": self.episodes}, self.out / "run.json")
        agents = [agent_of(model, settings.algorithm), random_candidates()]
        results = {split: self._results(agents, split, each) for split, each in evaluations.items()}
        _print_results(console, results)
        agent, out = quote(f"sb3:{self.out}/model.zip"), quote(f"{self.out}/evaluation")
        arguments = f"--env StepTool/ToolWorld-v0 --agent {agent} --out {out}"
        print_written(console, self.out, f"steptool evaluate {arguments}")
        return {"out": self.out, "splits": results}

    def _evaluations(self) -> dict[str, Evaluation]:
        """Return the evaluation of each split."""
        kept = {name: value for name, value in self.settings.env_args.items() if name not in ("split", "depths")}
        return {s: Evaluation("StepTool/ToolWorld-v0", {**kept, "split": s}, self.episodes) for s in self.splits}

    def _results(self, agents: Sequence[Agent], split: str, evaluation: Evaluation) -> dict[str, dict[str, Any]]:
        """Return panel and metrics by agent, and write them."""
        results = {}
        for agent in agents:
            with EpisodeProgressBar(f"{split}, {agent.name}") as bar:
                played = evaluate(evaluation, agent, bar.add, bar.expect)
            metrics, panel = metrics_of(played), panel_of(played)
            write_metrics(metrics, self.out / f"{split}-{agent.name}.json", panel)
            results[agent.name] = {"panel": panel, **metrics}
        return results


def _print_results(console: Console, results: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    from agents.reporting.html import format_estimate

    rows = [
        (split, name, format_estimate(found, "pass_rate"), *(f"{found[n]:.3f}" for n in _SHOWN), found["panel"])
        for split, agents in results.items()
        for name, found in agents.items()
    ]
    print_table(console, ("split", "agent", "pass rate", *_SHOWN, "panel"), rows)

"""Learning on ToolWorld: a policy trained on chains of five calls solves what its start does at no temperature."""

from pathlib import Path

import pytest

from agents.demo.arms import demo_config, starting_point, train_arms
from agents.demo.progress import DemoProgress
from agents.evaluation.panels import TEMPERATURES, depth_panel, play_panel, validation_panel
from agents.evaluation.results import metrics_of
from agents.models.bundle import load_policy

DEPTH, CALLS, TASKS, GAIN = 5, 14000, 100, 0.10


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_trained_depth_is_solved_more_often_than_by_the_start_at_its_best(
    tmp_path: Path, learning_seed: int
) -> None:
    start = starting_point(tmp_path, from_scratch=False)
    config = demo_config("steptool", start, tmp_path / "run", {}, calls=CALLS, seed=learning_seed, episodes=TASKS)
    with DemoProgress(("steptool",), (DEPTH,)) as progress:
        trained = train_arms({"steptool": config}, progress)["steptool"].checkpoint

    def pass_rate(policy: Path, temperature: float, panel: str = "held out") -> float:
        tasks = depth_panel(DEPTH, TASKS) if panel == "held out" else validation_panel(DEPTH, TASKS)
        return metrics_of(play_panel(tasks, config.env, load_policy(policy), config.sampling, temperature))["pass_rate"]

    best = max(TEMPERATURES, key=lambda temperature: pass_rate(start, temperature, "validation"))
    assert pass_rate(trained, 0.0) >= max(pass_rate(start, best), pass_rate(start, 0.0)) + GAIN

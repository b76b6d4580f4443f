"""Logged training episodes: advantages, tokens, resumption."""

import json
import math
from pathlib import Path

import numpy as np
from fastapi.testclient import TestClient

from agents.cli import main
from agents.training.metrics_log import TRAINING_EPISODES
from agents.view.app import create_app
from agents.view.run_folders import RunFolders
from steptool_env.trajectories.trajectories import read_trajectories
from steptool_env.types import Trajectory
from tests.agents.view.recordings import open_workspace

SETTINGS = """
algo: step_grpo
calls: {calls}
episodes: 4
eval_every: 0
checkpoint_every: 1
policy: {{checkpoint: nano-sft, context: 1024, critic: none}}
env: {{num_envs: 4, args: {{split: practice, depths: {{"1": 1}}, unsolvable: 0.0, call_budget: 3}}}}
algorithm: {{group_size: 4, epochs: 1, mini_batches: 1}}
"""


def train(folder: Path, calls: int, *words: str) -> list[Trajectory]:
    settings = folder.parent / "settings.yaml"
    settings.write_text(SETTINGS.format(calls=calls))
    main(["train", "--config", str(settings), "--out", str(folder), "--log-episodes", "3", *words])
    file = read_trajectories(folder / TRAINING_EPISODES)
    assert not file.bad_lines
    return file.trajectories


def test_episodes_are_logged_with_what_the_update_used(tmp_path: Path) -> None:
    """The first episodes of each iteration, with an advantage per call and the log-probability of every token."""
    episodes = train(tmp_path / "run", 20)
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    numbers = [int(record["iteration"]) for record in records]
    assert [episode.metadata["iteration"] for episode in episodes] == [n for n in numbers for _ in range(3)]
    for episode in episodes:
        advantages, tokens = episode.metadata["advantages"], episode.metadata["token_log_probs"]
        assert len(advantages) == len(tokens) == len(episode.steps)
        assert all(map(math.isfinite, advantages))
        for step, call in zip(episode.steps, tokens, strict=True):
            assert "".join(text for text, _ in call) == step.action.text
            assert all(value <= 0 for _, value in call)
    spread = [np.ptp([e.metadata["advantages"][0] for e in episodes if e.metadata["iteration"] == n]) for n in numbers]
    assert max(spread) > 0, "no group of this run has episodes with different returns; take another seed"


def test_episodes_after_the_checkpoint_are_replaced_on_resumption(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    before = train(folder, 20)
    last = before[-1].metadata["iteration"]
    with (folder / TRAINING_EPISODES).open("ab") as file:  # an iteration whose checkpoint was never written, cut
        line = (folder / TRAINING_EPISODES).read_bytes().splitlines(keepends=True)[-1]
        file.write(line.replace(f'"iteration": {last}'.encode(), f'"iteration": {last + 1}'.encode()) + line[:50])
    after = train(folder, 32, "--resume", "--calls", "32")
    assert after[: len(before)] == before
    assert [e.metadata["iteration"] for e in after].count(last + 1) == 3


def test_without_the_setting_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text(SETTINGS.format(calls=4))
    main(["train", "--config", str(tmp_path / "settings.yaml"), "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run" / TRAINING_EPISODES).exists()


def test_the_page_shows_them(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    train(tmp_path / "runs" / "a", 4)
    (run,) = RunFolders([tmp_path / "runs"]).scan().values()
    assert run.episodes_file == run.folder / TRAINING_EPISODES
    workspace = open_workspace(tmp_path / "runs", tmp_path / "cache")
    with TestClient(create_app(workspace), base_url="http://127.0.0.1") as client:
        page = client.get("/episode?at=runs/a:1").text
        assert "<span>advantage " in page
        assert 'class="token p' in page
        assert "Exact" in client.get("/fork?at=runs/a:1&step=0&call=x").text

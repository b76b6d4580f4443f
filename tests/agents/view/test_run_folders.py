"""Summaries of run folders."""

import json
import os
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

from agents.evaluation.results import write_held_out
from agents.training.config import make_config
from agents.view.app import create_app
from agents.view.curves import curve_plots, metric_names
from agents.view.gpu_memory import gpu_memory
from agents.view.run_folders import RunFolders, RunInfo
from steptool_env.errors import ConfigurationError
from tests.agents.view.recordings import open_workspace

LONG_AGO = 1_700_000_000


def training(folder: Path, calls: list[int], *, seed: int = 0, algo: str = "steptool", **more: Any) -> Path:
    """A training of 1,000 calls that has logged an iteration at each of `calls`."""
    folder.mkdir(parents=True)
    config = {"algo": algo, "seed": seed, "calls": 1000, "episodes": 16, "eval_episodes": 50, "eval_every": 2}
    env = {"id": "StepTool/ToolWorld-v0", "args": {"split": "practice"}, "eval_args": {"split": "validation"}}
    (folder / "config.yaml").write_text(yaml.safe_dump({**config, "env": {**env, "reward": "progress"}, **more}))
    records = [
        {
            "calls": each,
            "iteration": number,
            "rollout/is_solved": 0.1 * number,
            "eval/is_solved": 0.2 if number == 1 else None,
            "time/iteration_seconds": 10.0,
        }
        for number, each in enumerate(calls, 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    write_held_out(folder, "f00d")
    return folder


def age(folder: Path) -> None:
    for path in folder.iterdir():
        os.utime(path, (LONG_AGO, LONG_AGO))


def only(root: Path) -> RunInfo:
    (run,) = RunFolders([root]).scan().values()
    return run


def test_a_training_in_progress(tmp_path: Path) -> None:
    run = only(training(tmp_path / "runs" / "a", [200, 400, 600]))
    assert (run.name, run.arm, run.seed, run.split) == ("a", "steptool", "0", "practice → validation")
    assert (run.reward, run.judge, run.panel) == ("progress", "", "f00d")
    assert (run.calls, run.budget, run.state) == (600, 1000, "running")
    assert run.phase == "iteration 4, then an evaluation"
    assert (run.calls_per_second, run.seconds_left) == (20.0, 20.0)
    assert (run.metric, run.passed, run.episodes) == ("eval/is_solved", 0.2, 50)


def test_a_training_that_reached_its_budget_is_finished(tmp_path: Path) -> None:
    run = only(training(tmp_path / "a", [500, 1001]))
    assert (run.state, run.phase) == ("finished", "2 iterations")
    assert isnan(run.seconds_left)


def test_a_quiet_training_has_stopped(tmp_path: Path) -> None:
    age(training(tmp_path / "a", [500]))
    assert only(tmp_path).state == "stopped"


def test_a_run_before_its_first_iteration(tmp_path: Path) -> None:
    training(tmp_path / "a", [])
    run = only(tmp_path)
    assert (run.state, run.phase, run.metric) == ("running", "first evaluation", "")
    assert isnan(run.passed)


def test_warming_up_is_a_phase(tmp_path: Path) -> None:
    assert only(training(tmp_path / "a", [100], critic_warmup=3, eval_every=0)).phase == "iteration 2, critic warm-up"


def test_an_experiment_names_arm_panel_and_evaluation(tmp_path: Path) -> None:
    folder = tmp_path / "final-3"
    folder.mkdir()
    (folder / "plan.json").write_text(
        json.dumps({"arm": "final_dense", "points": 4, "config": {"algo": "final", "seed": 3, "calls": 800}})
    )
    assert only(tmp_path).state == "running"
    record = {"calls": 150, "iteration": 1, "greedy/depth-5/pass_rate": 0.5, "greedy/depth-5/episodes": 40}
    (folder / "metrics.jsonl").write_text(json.dumps({**record, "sampled/depth-5/pass_rate": 0.1}) + "\n")
    run = only(tmp_path)
    assert (run.arm, run.seed, run.phase) == ("final_dense", "3", "iteration 2, then an evaluation")
    assert (run.metric, run.passed, run.episodes) == ("greedy/depth-5/pass_rate", 0.5, 40)
    (folder / "result.json").write_text(json.dumps({"digests": {"depth-5": "abcd"}}))
    run = only(tmp_path)
    assert (run.state, run.panel) == ("finished", "abcd")


def test_an_evaluation(tmp_path: Path) -> None:
    run_json = {
        "agent": "random",
        "evaluation": {
            "env_id": "StepTool/ToolWorld-v0",
            "env_kwargs": {"split": "depth-2", "reward": "final"},
            "seed": 7,
        },
    }
    (tmp_path / "trajectories.jsonl").write_text("")
    (tmp_path / "run.json").write_text(json.dumps(run_json))
    (tmp_path / "metrics.json").write_text(json.dumps({"panel": "beef", "episodes": 30, "pass_rate": 0.4}))
    run = only(tmp_path)
    assert (run.arm, run.seed, run.split, run.reward, run.judge) == ("random", "7", "depth-2", "final", "world")
    assert (run.state, run.passed, run.episodes, run.panel) == ("finished", 0.4, 30, "beef")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"kind": "steptool", "judge": "rules"}, ("steptool", "rules")),
        ({"kind": "my_reward:Efficient", "judge": "world"}, ("my_reward:Efficient", "")),
    ],
)
def test_a_scored_run_shows_what_it_was_scored_with(
    settings: dict[str, str], expected: tuple[str, str], tmp_path: Path
) -> None:
    """The same episodes under several rewards differ by these columns alone."""
    (tmp_path / "trajectories.jsonl").write_text("")
    (tmp_path / "run.json").write_text(json.dumps({"episodes": "runs/mine", "settings": {"reward": settings}}))
    (tmp_path / "metrics.json").write_text(json.dumps({"episodes": 30, "pass_rate": 0.4}))
    run = only(tmp_path)
    assert (run.reward, run.judge) == expected


@pytest.mark.parametrize("text", ["[1, 2]", "{", '"x"', '{"config": []}', '{"config": {"env": 3}}'])
def test_a_damaged_file_is_a_problem_of_its_run_alone(tmp_path: Path, text: str) -> None:
    training(tmp_path / "good", [100])
    training(tmp_path / "bad", [100])
    (tmp_path / "bad" / "plan.json").write_text(text)
    runs = RunFolders([tmp_path]).scan()
    assert not runs[f"{tmp_path.name}/good"].problem
    assert runs[f"{tmp_path.name}/bad"].problem or text == '{"config": []}'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metrics.jsonl", '{"calls": 10, "rollout/is_solved": [1]}\n'),
        ("metrics.jsonl", '{"calls": 10, "eval/is_solved": 1e999}\n'),
        ("metrics.jsonl", '{"calls": 1%s, "rollout/is_solved": 0.5}\n' % (400 * "0")),
        ("metrics.jsonl", '{"calls": 10, "eval/is_solved": 3}\n'),
        ("metrics.jsonl", "[]\n"),
        ("metrics.json", '{"pass_rate": -1, "episodes": 5}'),
        ("metrics.json", '{"pass_rate": 0.5, "episodes": -5}'),
    ],
)
def test_a_figure_that_is_none_is_a_problem_of_its_run_alone(name: str, text: str, tmp_path: Path) -> None:
    """The pages of the others are shown."""
    training(tmp_path / "runs" / "good", [200, 400])
    bad = tmp_path / "runs" / "bad"
    bad.mkdir()
    (bad / name).write_text(text)
    (bad / "trajectories.jsonl").write_text("")
    workspace = open_workspace(tmp_path / "runs", tmp_path / "cache")
    found = workspace.runs
    assert found["runs/bad"].problem
    assert not found["runs/good"].problem
    with TestClient(create_app(workspace), base_url="http://127.0.0.1") as client:
        for address in ("/", "/runs/table", "/runs/curves", "/runs/curves?run=runs/bad&run=runs/good"):
            answer = client.get(address)
            assert answer.status_code == 200
            assert "good" in answer.text or "steptool" in answer.text


def test_only_changed_runs_are_read_again(tmp_path: Path) -> None:
    training(tmp_path / "a", [100])
    training(tmp_path / "b", [100])
    folders = RunFolders([tmp_path])
    before = folders.scan()
    with (tmp_path / "b" / "metrics.jsonl").open("a") as out:
        out.write('{"calls": 300, "iteration": 2}\n')
    after = folders.scan()
    names = sorted(before)
    assert after[names[0]] is before[names[0]]
    assert after[names[1]].calls == 300


def test_equal_names_are_distinguished(tmp_path: Path) -> None:
    first, second = training(tmp_path / "x" / "runs", [1]), training(tmp_path / "y" / "runs", [1])
    assert list(RunFolders([first, second, first]).scan()) == ["runs", "runs (2)"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="missing"):
        RunFolders([tmp_path / "missing"])


def test_seeds_of_an_arm_are_one_curve_with_a_band(tmp_path: Path) -> None:
    for seed in range(3):
        training(tmp_path / f"a-{seed}", [100, 400 + seed, 900], seed=seed)
    training(tmp_path / "b", [100, 900], algo="final")
    runs = list(RunFolders([tmp_path]).scan().values())
    held_out, played = curve_plots(runs)
    assert (held_out.title, played.title) == ("eval/is_solved", "rollout/is_solved")
    assert "steptool: 10.0 % at first, 20.0 % at 900 calls" in played.text
    assert "final: 10.0 % at first, 15.0 % at 900 calls" in played.text
    assert "lowest seed" in played.caption
    (each,) = curve_plots(runs, "rollout/is_solved", by_seed=True)
    assert all(run.name in each.text for run in runs)
    assert "lowest seed" not in each.caption


def test_arms_that_differ_in_settings_are_different_curves(tmp_path: Path) -> None:
    training(tmp_path / "a", [100, 900])
    training(tmp_path / "b", [100, 900], seed=1, episodes=32)
    (plot,) = curve_plots(list(RunFolders([tmp_path]).scan().values()), "rollout/is_solved")
    assert plot.text.count("at first") == 2


def test_every_logged_metric_can_be_drawn(tmp_path: Path) -> None:
    run = only(training(tmp_path / "a", [100, 900]))
    names = metric_names([run])
    assert names[:2] == ["eval/is_solved", "rollout/is_solved"]
    for name in names:
        (plot,) = curve_plots([run], name)
        assert plot.svg.startswith("<svg")
    assert curve_plots([run], "<script>") == []


def test_settings_of_this_version_are_read(tmp_path: Path) -> None:
    """The file that `steptool train` writes today has the fields that the summary needs."""
    config = make_config({"algo": "step_grpo", "seed": 4, "calls": 10, "env": {"args": {"split": "practice"}}})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(asdict(config)))
    (tmp_path / "metrics.jsonl").write_text("")
    run = only(tmp_path)
    assert (run.arm, run.seed, run.budget, run.env_id) == ("step_grpo", "4", 10, config.env.id)
    assert (run.reward, run.env_args) == ("progress", {"split": "practice"})


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo '0, 1024, 4096'; echo '1, 0, 4096'", [(0, 1024, 4096), (1, 0, 4096)]),
        ("echo 'No devices were found'", []),
        ("echo '0, [N/A], 4096'", []),
        ("exit 9", []),
    ],
)
def test_memory_of_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, expected: list[tuple[int, int, int]]
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_memory() == expected


def test_without_the_program_there_are_no_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_memory() == []


def test_settings_that_grow_when_they_are_read_are_refused(tmp_path: Path) -> None:
    """Nine lines of ten references each are a thousand million values."""
    lines = ["a0: &a0 [1, 1]"] + [f"a{n}: &a{n} [{', '.join(10 * [f'*a{n - 1}'])}]" for n in range(1, 10)]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("\n".join(lines))
    (tmp_path / "run" / "metrics.jsonl").write_text("")
    assert "aliases" in only(tmp_path).problem

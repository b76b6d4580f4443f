"""The demonstration, for real: a server in a process of its own, agents over HTTP."""

import io
import json
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from rich.console import Console

from agents.baselines.oracle import OracleAgent
from agents.baselines.random import RandomAgent
from agents.cli import main
from agents.commands.demo import live_page
from agents.demo.arms import ARMS, chosen_settings, demo_config, starting_point, train_arms
from agents.demo.attempts import never_solved
from agents.demo.panel_jobs import Job, play_jobs
from agents.demo.progress import DemoProgress
from agents.demo.report import depth_table
from agents.errors import ConfigurationError, TrainingError
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.evaluation.panels import depth_panel, key, play_panel
from agents.models import checkpoint
from agents.models.bundle import load_policy
from agents.reporting.console import print_table
from agents.reporting.evaluation import comparison
from agents.rollout.config import Sampling
from agents.training.config import TrainConfig, checked
from agents.training.sft import make_demonstrations, run_sft
from agents.training.sft_config import SFTRunConfig
from toolserver.testing import ServerProcess

TASKS = {"split": "train", "level": "lite", "depths": {"1": 1.0}, "unsolvable": 0.0, "tools": 14}


def test_the_demo_compares_agents_over_http_and_ends_its_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--learner", "none", "--episodes", "12", "--agent", "greedy-docs", "--out", str(tmp_path / "demo")]
    main(["demo", *words])
    result = json.loads((tmp_path / "demo" / "result.json").read_text())
    assert result["oracle"]["pass_rate"] == result["oracle"]["pass_rate_depth-2"] == 1.0
    assert result["random"]["pass_rate"] == 0.0
    assert result["oracle"]["transport_errors"] == 0
    assert (result["env_calls"], result["seed"]) == (0, 0)
    out = capsys.readouterr().out
    assert result["panel"] in out
    assert "tool server ended" in out
    page = (tmp_path / "demo" / "report.html").read_text()
    assert all(name in page for name in ("random", "oracle", "greedy-docs"))


def test_a_demo_removes_no_run_that_is_not_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--out runs` in a folder with a training `runs/steptool`, whose checkpoints it would replace by its own arm."""
    kept = tmp_path / "steptool" / "checkpoint-40" / "trainer_state.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--out", str(tmp_path)])
    assert ended.value.code == 2
    assert f"{tmp_path / 'steptool'} holds another run" in capsys.readouterr().err
    with pytest.raises(ConfigurationError, match="holds another run"):
        train_arms({"steptool": small("steptool", tmp_path, tmp_path / "steptool")}, DemoProgress(tuple(ARMS), (1,)))
    assert kept.exists()
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(SystemExit):
        main(["demo", "--learner", "none", "--out", str(tmp_path)])
    assert "holds the result of another run (run.json)" in capsys.readouterr().err


def test_a_demo_names_an_unknown_agent_before_it_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["demo", "--agent", "greedy-dogs", "--out", str(tmp_path / "demo")])
    assert "unknown agent 'greedy-dogs'" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_demo_that_is_terminated_ends_its_server(number: signal.Signals, tmp_path: Path) -> None:
    """By a signal to its process alone, as `kill` sends it."""
    words = ["demo", "--learner", "none", "--episodes", "1200", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "agents.cli", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as demo:
        assert demo.stdout is not None
        (server,) = map(int, re.findall(r"process (\d+)", demo.stdout.readline()))
        process = psutil.Process(server)
        demo.send_signal(number)
        _, alive = psutil.wait_procs([process], 30)
        for each in alive:
            each.kill()
        assert not alive
    assert demo.returncode == (143 if number == signal.SIGTERM else -number)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A starting policy as in the demonstration, but of few demonstrations."""
    out = tmp_path_factory.mktemp("start")
    config = checked(SFTRunConfig, {"episodes": 24, "env_args": TASKS, "sft": {"epochs": 1, "batch_episodes": 8}})
    run_sft(config, make_demonstrations(config), out)
    return out


def small(arm: str, start: Path, out: Path, **tools: Any) -> TrainConfig:
    """An arm of the demonstration with short actions and a handful of episodes."""
    config = demo_config(arm, start, out, tools, calls=64, episodes=2)
    env = replace(config.env, num_envs=8, args={**config.env.args, **TASKS, "call_budget": 2, **tools})
    return replace(config, env=env, episodes=8, sampling=Sampling(max_action_tokens=6))


def test_training_over_http_evaluates_both_arms_at_the_same_calls(start: Path, tmp_path: Path) -> None:
    reported: list[tuple[str, int]] = []

    class Progress(DemoProgress):
        def train(self, arm: str, total: int, record: Any) -> None:
            reported.append((arm, record["calls"]))
            super().train(arm, total, record)

    settings = {"world_tools": 14}
    with ServerProcess(["--world", "0"], settings=settings) as server, Progress(tuple(ARMS), (1,)) as progress:
        tools = {"world_seed": 0, "server_url": server.url}
        runs = train_arms({arm: small(arm, start, tmp_path / arm, **tools) for arm in ARMS}, progress)
    for arm, run in runs.items():
        curve = run.metrics()
        # Each record is shown once: a count that falls back would give a wrong rate and time left.
        assert [calls for name, calls in reported if name == arm] == [record["calls"] for record in curve]
        assert curve[-1]["calls"] >= 64 > curve[-2]["calls"]
        evaluated = [record["calls"] for record in curve if key("greedy", "depth-1", "pass_rate") in record]
        assert evaluated == [32, 48]
        assert load_policy(run.checkpoint)


def test_the_live_page_shows_the_runs_of_its_folder_and_ends(tmp_path: Path) -> None:
    (tmp_path / "steptool").mkdir()
    (tmp_path / "steptool" / "metrics.jsonl").write_text('{"calls": 400, "iteration": 1, "rollout/is_solved": 0.25}\n')
    console = Console(file=io.StringIO(), width=40)
    with live_page(tmp_path, console) as announce:
        announce()
        assert isinstance(console.file, io.StringIO)
        (address,) = re.findall(r"http://127\.0\.0\.1:\d+", console.file.getvalue())
        page = httpx.get(address).text
        assert f"{tmp_path.name}/steptool" in page
        assert "25.0 % at 400 calls" in httpx.get(f"{address}/runs/curves").text
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)


def test_an_arm_that_fails_is_named_with_its_reason(tmp_path: Path) -> None:
    missing = small("steptool", tmp_path / "nowhere", tmp_path / "arm", world_seed=0)
    with pytest.raises(TrainingError, match=r"(?s)arm ended with status \d+: .*nowhere"):
        train_arms({"steptool": missing}, DemoProgress(tuple(ARMS), (1,)))


def test_arms_differ_in_what_is_chosen_for_them_alone(tmp_path: Path) -> None:
    one, other = (demo_config(arm, tmp_path, tmp_path, {}, seed=3, episodes=5) for arm in ARMS)
    assert (one.seed, one.eval_episodes, one.env.args) == (3, 5, other.env.args)
    assert (one.algo, other.algo, other.env.reward) == (*ARMS.values(), "final")
    for algo, config in zip(ARMS.values(), (one, other), strict=True):
        chosen = chosen_settings(algo, algo)
        for name, value in chosen.get("algorithm", {}).items():
            assert getattr(config.algorithm, name) == value
        assert config.optim.lr == chosen.get("optim", {}).get("lr", other.optim.lr)


def test_evaluations_in_processes_are_those_of_one_process(start: Path) -> None:
    config = small("steptool", start, start)
    jobs = [Job(name, str(start), temperature, depth_panel(1, 2), config) for name, temperature in (("a", 1), ("b", 0))]
    done: list[int] = []
    found = play_jobs([*jobs, jobs[0]], done.append)
    assert done == [1, 2, 3]
    assert list(found) == ["a", "b"]
    once = play_panel(depth_panel(1, 2), config.env, load_policy(start), config.sampling, 1.0)
    texts = [[step.action.text for step in trajectory.steps] for trajectory in found["a"]]
    assert texts == 2 * [[step.action.text for step in trajectory.steps] for trajectory in once]


def test_tasks_that_no_attempt_solves_are_found() -> None:
    evaluation = Evaluation("StepTool/ToolWorld-v0", {"split": "depth-2"}, 3)
    assert never_solved(evaluation, [RandomAgent(), RandomAgent()], [2, 0]) == [2, 0]
    assert never_solved(evaluation, [RandomAgent(), OracleAgent()], [2, 0]) == []
    assert never_solved(evaluation, [OracleAgent()], []) == []


def test_a_start_from_scratch_takes_its_stages_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = []
    for number in (1, 2):
        stages.append(tmp_path / f"{number}.yaml")
        settings = {"episodes": 16, "env_args": TASKS, "vocab_size": 600, "seed": number, "sft": {"epochs": 1}}
        stages[-1].write_text(json.dumps(settings))  # JSON is YAML
    monkeypatch.setattr("agents.demo.arms._STAGES", tuple(stages))
    learnt = starting_point(tmp_path / "sft", from_scratch=True)
    assert learnt == tmp_path / "sft" / "stage-2"
    settings = checkpoint.load_config(learnt)
    assert settings["policy"]["checkpoint"] == str(tmp_path / "sft" / "stage-1")
    assert checkpoint.load_digest(learnt) != checkpoint.load_digest(tmp_path / "sft" / "stage-1")


@pytest.mark.slow
def test_the_shipped_start_is_small() -> None:
    start = starting_point(Path(), from_scratch=False)
    assert sum(path.stat().st_size for path in start.rglob("*") if path.is_file()) < 8 * 2**20


def test_the_tables_of_the_console_fit_80_characters() -> None:
    """Neither a name nor a figure is cut."""
    episodes = {
        "steptool_greedy": evaluate(Evaluation("StepTool/ToolWorld-v0", {"split": "depth-2"}, 3), OracleAgent())
    }
    text = io.StringIO()
    console = Console(file=text, width=80)
    for table in (depth_table(episodes), comparison(episodes, brief=True)):
        print_table(console, table.columns, table.rows, table.title, table.note)
    assert "steptool_greedy" in text.getvalue()
    assert "100.0 %" in text.getvalue()
    assert "…" not in text.getvalue()
    assert max(map(len, text.getvalue().splitlines())) <= 80
    assert "100.0 % (44–100 %)" in text.getvalue()

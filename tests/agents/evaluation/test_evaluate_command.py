"""`steptool evaluate`: files, refusals, lost servers and help."""

import json
import socket
import subprocess
import sys
from math import isnan
from pathlib import Path
from typing import Any

import pytest

import agents
from agents.baselines.oracle import OracleAgent
from agents.baselines.random import RandomAgent
from agents.cli import main
from agents.evaluation.evaluate import LOST_IN_A_ROW, Evaluation, evaluate
from agents.evaluation.results import metrics_of, panel_of, write_run
from agents.models import checkpoint
from agents.models.bundle import load_policy
from agents.registry import make_agent
from agents.rollout.policy_agent import TrainingEnv
from steptool_env.errors import ChatError
from steptool_env.trajectories.trajectories import read_trajectories
from steptool_env.types import Trajectory
from tests.agents.evaluation.test_evaluate import Counting
from tests.agents.toy_env import TOYS
from tests.steptool_env.toys import ANSWER, COUNT
from tests.toolserver.serving import make_cache
from toolserver.testing import ServerProcess


def test_the_command_writes_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    main(["evaluate", "--env", TOYS, "--agent", "random", "--agent-args", "seed=4", "--out", str(out),
          "--env-args", "call_budget=4", "format=hermes", "--episodes", "5"])  # fmt: skip
    assert sorted(path.name for path in out.iterdir()) == [
        "metrics.json",
        "report.html",
        "run.json",
        "trajectories.jsonl",
    ]
    content = read_trajectories(out / "trajectories.jsonl")
    assert len(content.trajectories) == 5
    assert not content.bad_lines
    metrics = json.loads((out / "metrics.json").read_text())
    panel = metrics.pop("panel")
    assert panel == panel_of(content.trajectories)
    assert panel in (out / "report.html").read_text()
    computed = metrics_of(content.trajectories)
    assert metrics == {name: None if isnan(v) else pytest.approx(v, abs=1e-6) for name, v in computed.items()}
    wanted = {"pass_rate", "recall", "precision", "calls", "finish_rate", "pass_given_finish", "invalid_call_rate"}
    assert wanted <= metrics.keys()
    assert json.loads((out / "run.json").read_text())["evaluation"]["env_kwargs"] == {
        "call_budget": 4,
        "format": "hermes",
    }
    printed = capsys.readouterr().out
    assert "pass_rate" in printed
    assert panel in printed


def test_all_sets_of_the_benchmark_are_played_whole_and_reported_per_set_and_weighed(tmp_path: Path) -> None:
    out = tmp_path / "all"
    main(["evaluate", "--env", "StepTool/StableToolBench-v0", "--env-args", "suite=all", "--agent", "random",
          "--out", str(out)])  # fmt: skip
    episodes = read_trajectories(out / "trajectories.jsonl").trajectories
    assert len(episodes) == 48
    metrics = json.loads((out / "metrics.json").read_text())
    passed: dict[str, list[float]] = {}
    for episode in episodes:
        passed.setdefault(episode.task.suite, []).append(episode.metadata["outcome"]["is_solved"])
    assert len(passed) == 6
    for name, scores in passed.items():
        assert metrics[f"pass_rate_{name}"] == pytest.approx(sum(scores) / len(scores), abs=1e-6)
    of_group = [score for name, scores in passed.items() if "/G1_" in name for score in scores]
    assert metrics["pass_rate_I1"] == pytest.approx(sum(of_group) / len(of_group), abs=1e-6)
    assert metrics["pass_rate"] == pytest.approx(sum(sum(s) for s in passed.values()) / 48, abs=1e-6)
    assert "Query sets" in (out / "report.html").read_text()


def test_a_folder_with_another_result_is_refused_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder of a training run, and that of an evaluation that failed before its first episode, are not."""
    (tmp_path / "trajectories.jsonl").touch()
    (tmp_path / "metrics.jsonl").write_text("{}")
    command = ["evaluate", "--env", TOYS, "--agent", "random", "--episodes", "2", "--out", str(tmp_path)]
    main(command)
    result = (tmp_path / "trajectories.jsonl").read_bytes()
    out = capsys.readouterr().out
    assert f"wrote {tmp_path}\nnext: open {tmp_path}" in out
    assert f"steptool report {tmp_path}" in out
    with pytest.raises(SystemExit, match="2"):
        main([*command, "--seed", "1"])
    assert f"{tmp_path} holds the result of another run (run.json); give another --out" in capsys.readouterr().err
    assert (tmp_path / "trajectories.jsonl").read_bytes() == result


def test_the_report_of_a_demonstration_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "report.html").write_text("kept")
    with pytest.raises(SystemExit, match="2"):
        main(["evaluate", "--env", TOYS, "--agent", "random", "--episodes", "2", "--out", str(tmp_path)])
    assert "holds the result of another run (report.html)" in capsys.readouterr().err
    assert (tmp_path / "report.html").read_text() == "kept"


def test_a_run_that_plays_nothing_leaves_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    with pytest.raises(SystemExit, match="2"):
        main(["evaluate", "--env", TOYS, "--agent", "random", "--episodes", "100000", "--out", str(out)])
    assert "episodes=100000" in capsys.readouterr().err
    assert not out.exists()


class Interrupted(RandomAgent):
    """Agent during whose episode of the given number Ctrl-C is pressed."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._left = number

    def reset(self, indices: Any, observations: Any, infos: Any) -> None:
        self._left -= len(indices)
        if self._left <= 0:
            raise KeyboardInterrupt
        super().reset(indices, observations, infos)


def test_an_interrupted_run_names_its_complete_episodes_and_leaves_no_empty_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, episodes in ((3, 2), (1, 0)):
        out = tmp_path / str(number)
        with pytest.raises(SystemExit, match="130"):
            main(["evaluate", "--env", TOYS, "--agent", f"{__name__}:Interrupted", "--agent-args", f"number={number}",
                  "--slots", "1", "--out", str(out)])  # fmt: skip
        printed = capsys.readouterr().err
        if episodes:
            file = out / "trajectories.jsonl"
            assert len(read_trajectories(file).trajectories) == episodes
            assert f"wrote {episodes} episodes to {file}; steptool report {out} shows them" in printed
            main(["report", str(out), "--out", str(tmp_path / "report.html")])
        else:
            assert not out.exists()


def test_a_setting_of_a_search_is_refused_without_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["evaluate", "--env", TOYS, "--agent", "random", "--width", "3", "--out", str(tmp_path / "run")])
    assert "give strategy=dfsdt or strategy=cot@N" in capsys.readouterr().err


class Trained(RandomAgent):
    """Says that it was trained in the default world with 14 vendors."""

    trained_in = TrainingEnv("StepTool/ToolWorld-v0", {"split": "train", "tools": 14, "call_budget": 6})


@pytest.mark.parametrize(
    ("env", "words", "warning"),
    [
        ("StepTool/ToolWorld-v0", ["tools=14", "split=depth-2"], ""),
        (
            "StepTool/ToolWorld-v0",
            ["split=depth-2"],
            "another world than that of its training: tools=None instead of 14",
        ),
        ("StepTool/ToolWorld-v0", ["tools=14", "split=depth-2", "level=full"], "level=full instead of lite."),
        (TOYS, [], f"was trained in StepTool/ToolWorld-v0 and is evaluated in {TOYS}."),
    ],
)
def test_a_policy_in_another_world_than_that_of_its_training_is_reported(
    env: str, words: list[str], warning: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["evaluate", "--env", env, *(["--env-args", *words] if words else []), "--agent", f"{__name__}:Trained",
          "--episodes", "1", "--out", str(tmp_path)])  # fmt: skip
    error = capsys.readouterr().err
    assert warning in error
    assert error.count("Warning") == error.count("\n") == bool(warning)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "Toys/Nothing-v0", "--agent", "random"], "not registered"),
        (["--env", TOYS, "--agent", "nobody"], "unknown agent"),
        (["--env", TOYS, "--agent", "random", "--env-args", "x"], "write KEY=VALUE"),
        (["--env", TOYS, "--agent", "replay:/nowhere"], "/nowhere"),
        (["--env", TOYS, "--agent", "random", "--seed", "-1"], "seed=-1: must be at least 0"),
    ],
)
def test_errors_are_one_line_with_status_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", *arguments, "--out", str(tmp_path / "run")])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "command", [["evaluate", "--env", TOYS, "--agent", "random"], ["demo", "--learner", "none"], ["sb3"]], ids=" ".join
)
def test_a_folder_that_cannot_be_made_is_named_before_anything_is_played(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (taken := tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="2"):
        main([*command, "--out", str(taken)])
    captured = capsys.readouterr()
    assert captured.err == f"error: {taken}: File exists; give another path\n"
    assert "tool server" not in captured.out


@pytest.mark.parametrize("action", ["show", "sample", "stats"])
def test_every_look_at_tasks_has_an_example(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["tasks", action, "--help"])
    assert f"Example: steptool tasks {action}" in capsys.readouterr().out


def test_no_tasks_to_look_at_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["tasks", "sample", "--count", "-4"])
    assert capsys.readouterr().err == "error: count=-4: must be at least 1\n"


def toolworld(out: Path, url: str, agent: str = "oracle", slots: int = 1) -> list[str]:
    return ["evaluate", "--env", "StepTool/ToolWorld-v0", "--agent", agent, "--slots", str(slots), "--episodes", "100",
            "--out", str(out), "--server-url", url]  # fmt: skip


def test_a_server_that_is_away_is_reported_before_the_first_episode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"  # free again below, and nobody listens there
    with pytest.raises(SystemExit, match="2"):
        main(toolworld(tmp_path / "run", url))
    error = capsys.readouterr().err
    assert f"no tool server answers at {url} (Connect" in error
    assert "toolserver serve" in error
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_a_server_without_an_offered_api_ends_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = make_cache(tmp_path / "cache")
    with ServerProcess(["--cache", str(cache), "--read-only"]) as server:
        flags = ["--env", "StepTool/StableToolBench-v0", "--agent", "random", "--episodes", "8"]
        with pytest.raises(SystemExit, match="2"):
            main(["evaluate", *flags, "--env-args", f"server_url={server.url}", "--out", str(tmp_path / "out")])
    assert "the tools do not know" in capsys.readouterr().err


SERVERS: list[ServerProcess] = []


class Saboteur(OracleAgent):
    """Ends the tool server while the seventh episode runs."""

    name = "saboteur"
    begun = 0

    def reset(self, indices: Any, observations: Any, infos: Any) -> None:
        super().reset(indices, observations, infos)
        self.begun += len(indices)
        if self.begun >= 7 and SERVERS:
            SERVERS.pop().close()


@pytest.mark.parametrize("slots", [1, 4])
def test_a_server_that_dies_ends_the_run_early_and_what_was_played_is_kept(
    slots: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], impatient: None
) -> None:
    out = tmp_path / "run"
    with ServerProcess(["--world", "0"]) as server:
        SERVERS.append(server)
        with pytest.raises(SystemExit, match="2"):
            main(toolworld(out, server.url, f"{__name__}:Saboteur", slots))
    assert f"stopped early, {LOST_IN_A_ROW} episodes in a row were lost to the tool server: {server.url}" in (
        capsys.readouterr().err
    )
    trajectories = read_trajectories(out / "trajectories.jsonl").trajectories
    lost = [trajectory for trajectory in trajectories if "transport_error" in trajectory.metadata]
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["transport_errors"] == len(lost) >= LOST_IN_A_ROW
    assert metrics["episodes"] == len(trajectories) - len(lost) >= 7 - slots
    assert len(trajectories) < 20
    assert (out / "report.html").exists()


def test_an_error_keeps_episodes_that_ended_before_their_turn() -> None:
    class Stopping(Counting):
        """Episode 0 goes on while the others give up; then the endpoint fails."""

        def act(self, indices: Any, observations: Any, infos: Any) -> list[str]:
            if infos[0]["calls_left"] == 4:
                raise ChatError("away")
            return [COUNT if index == 0 else ANSWER for index in indices]

    reported: list[Trajectory] = []
    with pytest.raises(ChatError):
        evaluate(Evaluation(TOYS, slots=3), Stopping(), reported.append)
    assert [trajectory.task.id for trajectory in reported] == ["toy-1", "toy-2", "toy-3", "toy-4"]


def test_help_names_the_commands_and_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    assert "evaluate" in (text := capsys.readouterr().out)
    assert "Example: steptool" in text
    with pytest.raises(SystemExit, match="0"):
        main(["evaluate", "--help"])
    assert "Example:" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["fly"])
    assert "error: no command 'fly'" in capsys.readouterr().err


def test_evaluating_needs_no_torch() -> None:
    code = "import sys, agents.commands.evaluate, agents.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_public_names_are_there_and_importing_the_package_is_light() -> None:
    code = "import sys, agents; assert 'torch' not in sys.modules; "
    code += "from agents import Agent, Evaluation, evaluate, make_agent; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert (agents.evaluate, agents.make_agent) == (evaluate, make_agent)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        agents.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("option", "shown"),
    [
        ("api_key=s3cret", "api_key=***"),
        ("api_key='s3cret'", "api_key='***'"),
        ('reward_options={"model": "m", "api_key": "s3cret"}', '"model": "m", "api_key": "***"}'),
    ],
)
def test_an_api_key_is_written_nowhere(
    option: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["steptool", "evaluate", "--agent-args", option, "seed=1"])
    options = {"model": "m", "api_key": "s3cret", "nested": [{"api_key": None}]}
    described = write_run({"agent_args": [option], "reward_options": options}, tmp_path / "run.json")
    text = (tmp_path / "run.json").read_text()
    assert "s3cret" not in text
    assert described == json.loads(text)
    assert described["command"].endswith(f"{shown} seed=1")
    assert described["reward_options"] == {"model": "m", "nested": [{}]}


@pytest.mark.parametrize("env", [{}, {"env": "StepTool/ToolWorld-v0"}])
def test_a_policy_of_demonstrations_is_evaluated_with_a_warning_of_another_world(
    env: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = load_policy("nano-sft")
    settings = {**env, "env_args": {"split": "demonstrations", "tools": 14}}
    checkpoint.save(tmp_path / "policy", made.policy, made.tokenizer, config=settings)
    main(["evaluate", "--env", "StepTool/ToolWorld-v0", "--env-args", "split=depth-1", "tools=26", "--episodes", "1",
          "--agent", f"policy:{tmp_path / 'policy'}", "--out", str(tmp_path / "out")])  # fmt: skip
    assert "another world than that of its training: tools=26 instead of 14" in capsys.readouterr().err
    training = json.loads((tmp_path / "out" / "run.json").read_text())["training"]
    assert training == {"settings": settings, "iteration": 0, "calls": 0}
    assert "settings" not in (tmp_path / "out" / "report.html").read_text().split("<dl")[1].split("</dl")[0]

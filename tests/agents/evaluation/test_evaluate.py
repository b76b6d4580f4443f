"""Running agents through tasks, and what is left behind."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import pytest

import agents
from agents.baselines.oracle import OracleAgent
from agents.baselines.random import RandomAgent
from agents.cli import main
from agents.evaluation.evaluate import LOST_IN_A_ROW, Evaluation, evaluate
from agents.evaluation.results import metrics_of, panel_of, write_metrics
from agents.options import read_options
from agents.registry import make_agent
from agents.rollout.policy_agent import TrainingEnv
from agents.training.sft import make_demonstrations
from agents.training.sft_config import SFTRunConfig
from steptool_env.client import LocalToolClient
from steptool_env.errors import ChatError, ConfigurationError
from steptool_env.trajectories.trajectories import read_trajectories, write_trajectories
from steptool_env.types import Trajectory
from tests.agents.toy_env import TOYS, make_toys
from tests.steptool_env.toys import ANSWER, COUNT, ToySuite
from toolserver.catalog.api_schema import ToolCall, ToolResponse
from toolserver.testing import ServerProcess


@pytest.mark.parametrize("slots", [2, 5, 50])
def test_the_result_does_not_depend_on_how_many_run_side_by_side(slots: int) -> None:
    alone = evaluate(Evaluation(TOYS, slots=1), RandomAgent())
    assert evaluate(Evaluation(TOYS, slots=slots), RandomAgent()) == alone


class CountingClient(LocalToolClient):
    """Remembers how many calls came in each exchange."""

    def __init__(self) -> None:
        super().__init__(ToySuite())
        self.exchanges: list[int] = []

    def call_many(self, calls: Sequence[ToolCall]) -> list[ToolResponse]:
        self.exchanges.append(len(calls))
        return super().call_many(calls)


def test_the_calls_of_a_round_travel_together() -> None:
    client = CountingClient()
    alone = evaluate(Evaluation(TOYS, slots=1), OneCall())
    assert evaluate(Evaluation(TOYS, {"client": client}, slots=4), OneCall()) == alone
    assert client.exchanges == [4] * 12 + [2] * 6  # ten episodes of six calls


class Overheard(gym.Wrapper[str, str, str, str]):
    """A wrapper of somebody else's, which takes part in every step."""

    heard: ClassVar[list[str]] = []

    def step(self, action: str) -> tuple[str, Any, bool, bool, dict[str, Any]]:
        self.heard.append(action)
        return self.env.step(action)


def test_a_wrapper_sees_every_step_and_the_result_is_the_same() -> None:
    client, name = CountingClient(), "Toys/Overheard-v0"
    gym.register(name, entry_point=lambda **arguments: Overheard(make_toys(**arguments)))
    try:
        result = evaluate(Evaluation(name, {"client": client}, slots=4), OneCall())
    finally:
        del gym.registry[name]
    assert result == evaluate(Evaluation(TOYS), OneCall())
    assert Overheard.heard == [COUNT] * 60
    assert client.exchanges == [1] * 60


def test_toolworld_gives_the_same_bytes_in_process_and_over_http_with_any_slots(tmp_path: Path) -> None:
    def play(slots: int, **arguments: Any) -> bytes:
        evaluation = Evaluation("StepTool/ToolWorld-v0", {"faults": "mild", **arguments}, 20, slots)
        write_trajectories(tmp_path / "trajectories.jsonl", evaluate(evaluation, make_agent("greedy-docs")))
        return (tmp_path / "trajectories.jsonl").read_bytes()

    with ServerProcess(["--world", "0"]) as server:
        results = [play(1), play(7), play(1, server_url=server.url), play(20, server_url=server.url)]
    assert results == [results[0]] * 4


def test_episodes_come_in_the_tasks_order_as_they_end() -> None:
    reported: list[Trajectory] = []
    expected: list[int] = []
    result = evaluate(Evaluation(TOYS, slots=4, episodes=7), RandomAgent(), reported.append, expected.append)
    assert reported == result
    assert expected == [7]
    assert [trajectory.task.id for trajectory in result] == [f"toy-{index}" for index in range(7)]


def test_the_whole_suite_is_played_unless_told_otherwise() -> None:
    assert len(evaluate(Evaluation(TOYS), RandomAgent())) == 10
    assert len(evaluate(Evaluation("StepTool/ToolWorld-v0", {"split": "depth-1"}, slots=200), RandomAgent())) == 200


@pytest.mark.parametrize(
    ("evaluation", "message"),
    [
        (Evaluation(TOYS, episodes=11), "episodes=11: .* has 10 tasks.*at most 10"),
        (Evaluation("StepTool/ToolWorld-v0", {"split": "train"}), "'train' has 20,000 tasks.*not played whole.*20000"),
        (Evaluation("StepTool/ToolWorld-v0", episodes=30_000), "episodes=30000: 'train' has 20,000 tasks"),
        (Evaluation("Toys/Nothing-v0"), "not registered.*StepTool/StableToolBench-v0"),
        (Evaluation(TOYS, {"colour": "red"}), "does not take these arguments.*colour"),
        (Evaluation("CartPole-v1"), "no text environment"),
    ],
)
def test_an_evaluation_that_cannot_be_is_explained(evaluation: Evaluation, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        evaluate(evaluation, RandomAgent())


def test_more_demonstrations_than_tasks_are_refused() -> None:
    """20,000 different ones were made where 30,000 were asked for."""
    with pytest.raises(ConfigurationError, match="episodes=30000: 'train' has 20,000 tasks"):
        make_demonstrations(SFTRunConfig(episodes=30_000))


def test_the_panel_tells_which_tasks_were_played_and_nothing_else() -> None:
    """Not the agent, the order or the outcome."""
    five, again = (evaluate(Evaluation(TOYS, episodes=5, seed=seed), RandomAgent(seed=seed)) for seed in (0, 1))
    assert panel_of(five) == panel_of(again) == panel_of(five[::-1])
    assert re.fullmatch(r"[0-9a-f]{16}", panel_of(five))
    changed = replace(five[0], task=replace(five[0].task, query="Another query"))
    lost = replace(five[0], metadata={**five[0].metadata, "transport_error": "away"})
    assert len({panel_of(five), panel_of(five[1:]), panel_of([changed, *five[1:]])}) == 3
    assert panel_of([lost, *five[1:]]) == panel_of(five[1:])


def test_the_seed_reaches_the_episodes() -> None:
    first, again, other = (evaluate(Evaluation(TOYS, seed=seed, episodes=3), RandomAgent()) for seed in (1, 1, 2))
    assert first == again != other


class OneCall:
    """Makes the same call until the budget's end."""

    name = "one call"

    def reset(self, indices: Any, observations: Any, infos: Any) -> None:
        pass

    def act(self, indices: Any, observations: Any, infos: Any) -> list[str]:
        return [COUNT] * len(indices)


class Counting:
    """Checks what an agent is promised, and counts to the budget's end."""

    name = "counting"

    def __init__(self) -> None:
        self.left: dict[int, int] = {}

    def reset(self, indices: Any, observations: Any, infos: Any) -> None:
        assert len(indices) == len(observations) == len(infos) > 0
        for index, info in zip(indices, infos, strict=True):
            self.left[index] = info["calls_left"]

    def act(self, indices: Any, observations: Any, infos: Any) -> list[str]:
        for index, info in zip(indices, infos, strict=True):
            assert info["calls_left"] == self.left[index] > 0
            self.left[index] -= 1
        return ["no call"] * len(indices)


def test_an_agent_is_told_of_every_episode_and_asked_once_per_step() -> None:
    trajectories = evaluate(Evaluation(TOYS, slots=3), Counting())
    assert [len(trajectory.steps) for trajectory in trajectories] == [6] * 10
    assert metrics_of(trajectories)["invalid_call_rate"] == 1.0


def test_wrong_counts_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="slots=0"):
        Evaluation(TOYS, slots=0)


def test_metrics_are_flat_json_and_what_is_undefined_is_null(tmp_path: Path) -> None:
    metrics = metrics_of([])
    write_metrics(metrics, tmp_path / "metrics.json", panel_of([]))
    read = json.loads((tmp_path / "metrics.json").read_text())
    assert read["pass_rate"] is None
    assert read["episodes"] == 0
    assert len(read.pop("panel")) == 16
    assert all(value is None or isinstance(value, int | float) for value in read.values())


def test_the_pass_rate_at_the_whole_budget_is_the_pass_rate() -> None:
    metrics = metrics_of(evaluate(Evaluation(TOYS), RandomAgent()))
    assert metrics["pass_at_budget_6"] == metrics["pass_rate"]
    assert "pass_at_budget_7" not in metrics


def test_options_are_json_where_they_read_as_json() -> None:
    words = [["a=4", "b=true", 'c={"d": 1}'], ["e=some text", "f=x=y", "g="]]
    assert read_options("env_arg", words) == {"a": 4, "b": True, "c": {"d": 1}, "e": "some text", "f": "x=y", "g": ""}


@pytest.mark.parametrize("words", [["a"], ["=4"], ["a=1", "a=2"], ["reward_options=judge=rules"], ["depths=2"]])
def test_options_that_make_no_sense_are_refused(words: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="--env-arg"):
        read_options("env_arg", [words])


def test_the_command_writes_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    main(["evaluate", "--env", TOYS, "--agent", "random", "--agent-arg", "seed=4", "--out", str(out),
          "--env-arg", "call_budget=4", "format=hermes", "--episodes", "5"])  # fmt: skip
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
    assert metrics == {name: pytest.approx(v, abs=1e-6) for name, v in metrics_of(content.trajectories).items()}
    wanted = {"pass_rate", "recall", "precision", "calls", "finish_rate", "pass_given_finish", "invalid_call_rate"}
    assert wanted <= metrics.keys()
    assert json.loads((out / "run.json").read_text())["evaluation"]["env_kwargs"] == {
        "call_budget": 4,
        "format": "hermes",
    }
    printed = capsys.readouterr().out
    assert "pass_rate" in printed
    assert panel in printed


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
    assert f"{tmp_path} holds the result of another run; give another --out" in capsys.readouterr().err
    assert (tmp_path / "trajectories.jsonl").read_bytes() == result


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
def test_a_policy_in_another_world_than_that_of_its_training_is_told_of(
    env: str, words: list[str], warning: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["evaluate", "--env", env, *(["--env-arg", *words] if words else []), "--agent", f"{__name__}:Trained",
          "--episodes", "1", "--out", str(tmp_path)])  # fmt: skip
    error = capsys.readouterr().err
    assert warning in error
    assert error.count("Warning") == error.count("\n") == bool(warning)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "Toys/Nothing-v0", "--agent", "random"], "not registered"),
        (["--env", TOYS, "--agent", "nobody"], "unknown agent"),
        (["--env", TOYS, "--agent", "random", "--env-arg", "x"], "write KEY=VALUE"),
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


def test_a_server_that_is_away_is_told_before_the_first_episode(
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
    slots: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
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
    with pytest.raises(SystemExit, match="no command 'fly'"):
        main(["fly"])


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

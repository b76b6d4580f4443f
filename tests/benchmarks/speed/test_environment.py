"""Tiny runs of the environment and scaling benchmarks: every figure is there, and the work is what it says."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import cycle
from pathlib import Path

import gymnasium as gym
import pytest

from agents.baselines.oracle import OracleAgent
from benchmarks.harness.episodes import Played, Script, make_vector, play, play_vector, record
from benchmarks.harness.report import Row
from benchmarks.harness.timing import Lap
from benchmarks.peers import Contestants
from benchmarks.peers.gym import cartpole
from benchmarks.peers.openenv import ECHO, ECHO_INSIDE, ECHO_TOOL, ECHO_TOOL_INSIDE, openenv
from benchmarks.peers.openenv_tool import TOOL, make_env
from benchmarks.speed import environment, scaling
from toolserver.catalog.api_schema import StatusCode

ENV_ID = "StepTool/ToolWorld-v0"


@pytest.fixture(scope="module")
def scripts() -> list[Script]:
    return record(ENV_ID, {}, OracleAgent(), 6)


def test_a_recorded_script_solves_its_task_again(scripts: Sequence[Script]) -> None:
    env = gym.make(ENV_ID)
    for script in scripts:
        env.reset(options={"task": script.task, "episode_seed": script.seed})
        for number, action in enumerate(script.actions, 1):
            _, _, terminated, truncated, info = env.step(action)
            assert terminated == (number == len(script.actions))
            assert not truncated
        assert info["outcome"]["is_solved"] == 1
    env.close()


def test_playing_counts_every_step_and_episode(scripts: Sequence[Script]) -> None:
    env = gym.make(ENV_ID)
    played = play(env, scripts)
    env.close()
    assert played.episodes == len(scripts)
    assert played.steps == sum(len(script.actions) for script in scripts)
    assert 0 < played.whole.rate < played.stepping.rate


@pytest.mark.parametrize("size", [1, 4])
def test_a_vector_plays_the_scripts_without_a_step_in_vain(size: int, scripts: Sequence[Script]) -> None:
    envs = make_vector(ENV_ID, {}, size)
    statuses: list[int] = []
    step = envs.step

    def noted(actions: Sequence[str]) -> object:
        result = step(actions)
        statuses.extend(result[4]["status"])
        return result

    envs.step = noted  # type: ignore[method-assign, assignment]
    played = play_vector(envs, cycle(scripts), 30)
    envs.close()
    assert played.steps == len(statuses) >= 30
    assert set(statuses) <= {StatusCode.OK, StatusCode.FINAL_ANSWER, StatusCode.GAVE_UP}
    assert statuses.count(StatusCode.FINAL_ANSWER) + statuses.count(StatusCode.GAVE_UP) <= played.episodes


def test_the_floor_plays_as_many_steps(scripts: Sequence[Script]) -> None:
    with cartpole(scripts) as contestants:
        assert contestants["CartPole"]().steps == sum(len(script.actions) for script in scripts)


@pytest.mark.slow
def test_both_echoes_of_openenv_play_as_many_steps_in_process_and_over_its_protocol(scripts: Sequence[Script]) -> None:
    pytest.importorskip("openenv.core")
    with openenv(scripts) as contestants:
        assert {ECHO, ECHO_TOOL} < set(contestants)
        steps = {name: contestants[name]().steps for name in contestants}
    assert set(steps.values()) == {sum(len(script.actions) for script in scripts)}


def test_the_tool_gives_back_what_it_is_given() -> None:
    types = pytest.importorskip("openenv.core.env_server.mcp_types")
    observation = make_env().step(types.CallToolAction(tool_name=TOOL, arguments={"message": "said"}))
    assert observation.error is None
    assert observation.result.data == "said"


def test_a_suite_with_fewer_tasks_than_a_run_could_use_is_played_whole(published_data: Path) -> None:
    (world,) = [each for each in environment._worlds(published_data) if each.whole]
    assert len(record(world.env_id, world.arguments, world.agent, None)) == 163 < environment.Options().tasks


def absent(scripts: Sequence[Script]) -> AbstractContextManager[Contestants]:
    raise ImportError("no such package")


def test_a_result_has_every_place_and_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PEERS", {"gymnasium": cartpole, "nobody": absent})
    monkeypatch.setattr(environment, "_LEVELS", ("lite",))
    monkeypatch.setattr(environment.Options, "episodes", 2)
    monkeypatch.setattr(environment.Options, "sizes", (1, 2))
    monkeypatch.setattr(environment.Options, "rounds", 1)
    result = environment.run(environment.Options())
    single, vector, _ = result.tables.values()
    assert [row["environment"] for row in single] == [
        "ToolWorld lite, in process",
        "ToolWorld lite, HTTP",
        "CartPole",
        "CartPole, vector of 64",
    ]
    assert [(row["tools"], row["episodes at once"]) for row in vector] == [
        (where, size) for where in ("in process", "HTTP") for size in (1, 2)
    ]
    assert _positive(single, "steps/s")
    assert [single[0][f"x {other}"] is None for other in environment.REFERENCES] == [True, True, False]
    assert _positive(vector, "steps/s with resets")
    assert any("nobody was not measured" in note for note in result.notes)
    assert any("--data" in note for note in result.notes)
    assert sum(note.startswith("Target: a step in process at most 50") for note in result.notes) == 1


def test_targets_are_held_against_what_was_measured() -> None:
    one: list[Row] = [
        {"environment": "ToolWorld lite, in process", "x OpenEnv echo tool": 19.9, "us/step": 50.1},
        {"environment": "ToolWorld lite, HTTP", "x OpenEnv echo tool": 20.0, "us/step": 150.0},
        {"environment": "CartPole", "x OpenEnv echo tool": 99.0, "us/step": 1.0},
    ]
    many: list[Row] = [
        {"environment": "ToolWorld lite", "tools": tools, "episodes at once": size, "steps/s": rate}
        for tools, size, rate in (("HTTP", 256, 12_000), ("HTTP", 64, 1), ("in process", 256, 1))
    ]
    said = [note.rpartition(": ")[2] for note in environment._targets(one, many)]
    assert said == ["missed (19.9 x).", "reached (20.0 x).", "missed (50.1 us).", "reached (12,000)."]


def test_ratios_compare_a_transport_with_the_same_transport() -> None:
    rates = {
        "ToolWorld lite, in process": 900,
        "ToolWorld lite, HTTP": 80,
        ECHO_INSIDE: 300,
        ECHO: 20,
        ECHO_TOOL_INSIDE: 100,
        ECHO_TOOL: 10,
        "CartPole": 1800,
    }
    laps = {name: [Played(1, rate, 1.0, 1.0)] for name, rate in rates.items()}
    inside, http, *_ = environment._single_rows(laps)
    assert [inside[f"x {peer}"] for peer in environment.REFERENCES] == [3.0, 9.0, 0.5]
    assert [http[f"x {peer}"] for peer in environment.REFERENCES] == [4.0, 8.0, None]


def _positive(rows: Sequence[Row], column: str) -> bool:
    return all(isinstance(row[column], int) and row[column] > 0 for row in rows)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("make", "sizes"),
    [
        (scaling.catalogs, (1000, 2000)),
        (scaling.histories, (2, 4)),
        (scaling.vectors, (1, 2)),
        (scaling.imports, (50, 100)),
    ],
)
def test_every_growth_is_measured_at_every_size(make: object, sizes: Sequence[int]) -> None:
    assert callable(make)
    with make(sizes) as laps:
        rows, exponent = scaling.fit("cost, us", "size", laps, rounds=1)
    assert [row["size"] for row in rows] == list(sizes)
    assert exponent == exponent  # a number


def test_the_exponent_of_a_cost_in_proportion_is_one() -> None:
    laps: Mapping[int, object] = {size: lambda size=size: Lap(1, size * 1e-3) for size in (1, 10, 100)}
    rows, exponent = scaling.fit("whole, ms", "size", laps, rounds=1)  # type: ignore[arg-type]
    assert exponent == pytest.approx(1)
    assert [row["whole, ms"] for row in rows] == pytest.approx([1, 10, 100])


def test_what_was_played_adds_up() -> None:
    played = Played(2, 10, 1.0, 1.0)
    assert played.stepping.rate == 10
    assert played.whole.rate == 5

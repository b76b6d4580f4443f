"""Forks: exact replays, other calls, and rewards that need the end of the episode."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agents.reporting.plan_picture import plan_picture
from agents.view.environments import Setting, environment, setting_of, task_of
from agents.view.fork import fork_episode
from steptool_env.errors import ConfigurationError
from steptool_env.trajectories.trajectories import read_trajectories
from steptool_env.types import Trajectory
from tests.agents.view.recordings import evaluate

TOOLWORLD, RECORDED = "StepTool/ToolWorld-v0", "StepTool/StableToolBench-v0"
COMPLEXFUNCBENCH, BFCL = "StepTool/ComplexFuncBench-v0", "StepTool/BFCL-v0"
GIVE_UP = 'Action: Finish\nAction Input: {"return_type": "give_up_and_restart"}'


def episodes(tmp_path: Path, *env_args: str, agent: str = "oracle", env: str = TOOLWORLD) -> list[Trajectory]:
    return read_trajectories(
        evaluate(tmp_path / "run", *env_args, agent=agent, env=env) / "trajectories.jsonl"
    ).trajectories


@pytest.mark.parametrize("reward", ["progress", "potential", "steptool", "final"])
@pytest.mark.parametrize("faults", ["none", "harsh"])
def test_a_replay_is_exact(tmp_path: Path, reward: str, faults: str) -> None:
    """Answers, also injected failures, rewards and hindsight are those of the run."""
    arguments = {"split": "validation", "reward": reward, "faults": faults}
    for episode in episodes(tmp_path, *(f"{name}={value}" for name, value in arguments.items())):
        setting = setting_of(TOOLWORLD, arguments, episode)
        assert not setting.notes
        fork = fork_episode(setting, episode, len(episode.steps), [])
        assert fork.differences == ()
        assert fork.recorded.trajectory == fork.fork.trajectory == episode


def test_a_replay_of_recorded_tools_is_exact(tmp_path: Path) -> None:
    for episode in episodes(tmp_path, agent="greedy-docs", env=RECORDED):
        fork = fork_episode(setting_of(RECORDED, {}, episode), episode, 0, [GIVE_UP])
        assert fork.differences == ()
        assert fork.recorded.trajectory == episode


@pytest.mark.parametrize("reward", ["progress", "potential", "steptool", "final"])
@pytest.mark.parametrize(
    ("env", "fixture", "arguments"),
    [
        (COMPLEXFUNCBENCH, "complexfuncbench_data", {"split": "test"}),
        (BFCL, "bfcl", {"split": "test", "category": "miss_func"}),
        (BFCL, "bfcl", {"split": "test", "category": "base"}),
    ],
)
def test_an_episode_is_replayed_drawn_and_forked(
    tmp_path: Path, reward: str, env: str, fixture: str, arguments: dict[str, str], request: pytest.FixtureRequest
) -> None:
    """Over several turns of BFCL's user: after the end of a turn come the functions that are new."""
    request.getfixturevalue(fixture)
    arguments = {**arguments, "reward": reward}
    for episode in episodes(tmp_path, *(f"{name}={value}" for name, value in arguments.items()), env=env)[:3]:
        setting = setting_of(env, arguments, episode)
        assert not setting.notes
        fork = fork_episode(setting, episode, 1, [GIVE_UP])
        assert fork.differences == ()
        assert fork.recorded.trajectory == episode
        assert fork.fork.total < fork.recorded.total
        task = task_of(setting, episode)
        assert task is not None
        picture = plan_picture(task, episode)
        assert [call.step for call in picture.calls] == [
            number for number, step in enumerate(episode.steps, 1) if step.action.name != "Finish"
        ]
        assert picture.svg.count("✓") == len(picture.calls)
        assert not any(call.step for call in plan_picture(task, fork.fork.trajectory).calls[1:])
    assert setting_of("", {}, episode).env_id == env  # a file without its run's settings


@pytest.mark.usefixtures("bfcl")
def test_a_fork_of_bfcl_has_the_state_of_the_calls_before(tmp_path: Path) -> None:
    """A folder that a call made is listed by another call after it, and not without it."""
    words = ("split=all", "category=base")
    (episode,) = read_trajectories(
        evaluate(tmp_path / "run", *words, agent="oracle", env=BFCL, episodes=1) / "trajectories.jsonl"
    ).trajectories
    made = next(place for place, step in enumerate(episode.steps) if step.action.name == "mkdir")
    listing, setting = "Action: ls\nAction Input: {}", setting_of(BFCL, {"split": "all", "category": "base"}, episode)
    name = json.loads(episode.steps[made].action.arguments)["dir_name"]
    before, after = (fork_episode(setting, episode, at, [listing]) for at in (made, made + 1))
    assert name not in before.steps[0].observation
    assert name in after.steps[0].observation
    assert after.fork.snapshot


def test_without_bfcl_the_page_says_what_to_install(tmp_path: Path) -> None:
    """In a process of its own that finds no bfcl-eval."""
    code = f"""
import sys
sys.modules["bfcl_eval"] = None
from agents.view.environments import setting_of
from steptool_env.errors import ConfigurationError
from steptool_env.types import Task, Trajectory
task = Task("multi_turn_base_0", "BFCL/all/base", "q", (), ())
try:
    setting_of({BFCL!r}, {{}}, Trajectory(task, (), (), True, False, {{}}))
except ConfigurationError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install --no-deps bfcl-eval" in done.stdout


def test_settings_that_ids_do_not_name_are_those_of_the_run(tmp_path: Path) -> None:
    """Tasks of a world of 26 vendors with another mix of depths can be found and drawn."""
    arguments = {"split": "practice", "depths": {"4": 1}, "unsolvable": 0.0, "call_budget": 10, "tools": 26}
    words = ("split=practice", 'depths={"4": 1}', "unsolvable=0.0", "call_budget=10", "tools=26")
    episode = episodes(tmp_path, *words)[0]
    setting = setting_of(TOOLWORLD, arguments, episode)
    assert fork_episode(setting, episode, 0, []).differences == ()
    task = task_of(setting, episode)
    assert task is not None
    assert len(plan_picture(task, episode).calls) >= 4


def test_another_call_is_answered_and_scored(tmp_path: Path) -> None:
    """The first call of the oracle's solution, made twice: the second time it earns nothing and costs."""
    episode = next(e for e in episodes(tmp_path, "split=depth-2") if len(e.steps) > 2)
    setting = setting_of(TOOLWORLD, {"split": "depth-2"}, episode)
    first = episode.steps[0].action.text
    fork = fork_episode(setting, episode, 1, [first])
    (step,) = fork.steps
    assert step.action.text == first
    assert step.reward == pytest.approx(-0.02)
    assert fork.recorded.trajectory.rewards[1] > 0
    assert not fork.fork.over
    assert fork.fork.calls_left == 10
    with environment(setting) as env:
        env.restore(fork.fork.snapshot)
        assert env.episode.steps == [*fork.fork.trajectory.steps]


def test_the_recorded_calls_may_follow(tmp_path: Path) -> None:
    """A wasted call, then the oracle's others without the replaced one: the task is not solved any more."""
    episode = next(e for e in episodes(tmp_path, "split=depth-2") if len(e.steps) > 2)
    setting = setting_of(TOOLWORLD, {"split": "depth-2"}, episode)
    fork = fork_episode(setting, episode, 0, ["no call at all"], rest=True)
    assert [s.action.text for s in fork.steps[1:]] == [s.action.text for s in episode.steps[1:]]
    assert fork.fork.over
    assert fork.fork.total < fork.recorded.total == pytest.approx(1)


def test_hindsight_is_that_of_an_end_after_the_fork(tmp_path: Path) -> None:
    """Contributions are known at the end: a needed call that no answer follows contributes nothing."""
    episode = episodes(tmp_path, "split=depth-2", "reward=steptool")[0]
    setting = setting_of(TOOLWORLD, {"split": "depth-2", "reward": "steptool"}, episode)
    fork = fork_episode(setting, episode, len(episode.steps) - 1, [GIVE_UP])
    assert fork.fork.over
    assert [step.reward for step in fork.fork.trajectory.steps[:-1]] == [step.reward for step in episode.steps[:-1]]
    assert fork.fork.trajectory.rewards[:-1] != episode.rewards[:-1]


def test_calls_after_the_end_are_not_made(tmp_path: Path) -> None:
    episode = episodes(tmp_path, "split=depth-1")[0]
    fork = fork_episode(setting_of(TOOLWORLD, {"split": "depth-1"}, episode), episode, 0, [GIVE_UP, GIVE_UP])
    assert len(fork.steps) == 1


def test_other_tools_are_noticed(tmp_path: Path) -> None:
    """An episode whose answers the world does not give is not called exact."""
    episode = episodes(tmp_path, "split=validation")[0]
    wrong = replace(episode.steps[0], observation="something else")
    fork = fork_episode(
        setting_of(TOOLWORLD, {"split": "validation"}, episode),
        replace(episode, steps=(wrong, *episode.steps[1:])),
        0,
        [],
    )
    assert fork.differences == (1,)


def test_a_place_that_does_not_exist_is_named(tmp_path: Path) -> None:
    episode = episodes(tmp_path, "split=validation")[0]
    with pytest.raises(ConfigurationError, match="at=99"):
        fork_episode(setting_of(TOOLWORLD, {}, episode), episode, 99, [])


def test_without_settings_the_task_names_its_world(tmp_path: Path) -> None:
    episode = episodes(tmp_path, "split=depth-3", "level=standard", "world_seed=2")[0]
    setting = setting_of("", {}, episode)
    assert fork_episode(setting, episode, 0, []).recorded.trajectory == episode


def test_a_run_folder_starts_no_code_and_no_request(tmp_path: Path) -> None:
    """Rewards, judges, formats and servers of another's choice are replaced with a note, or refused."""
    episode = episodes(tmp_path, "split=validation")[0]
    evil = "os:abort"
    for arguments in (
        {"reward": evil},
        {"reward": "final", "reward_options": {"judge": "llm", "url": "http://192.0.2.1"}},
        {"reward": "final", "reward_options": {"judge": evil}},
    ):
        setting = setting_of(TOOLWORLD, {"split": "validation", **arguments}, episode)
        assert setting.notes
        assert setting.reward == "progress"
        assert fork_episode(setting, episode, 0, [GIVE_UP]).differences == ()
    setting = setting_of(TOOLWORLD, {"server_url": "http://192.0.2.1"}, episode)
    assert "server_url" not in setting.arguments
    with pytest.raises(ConfigurationError, match="format"):
        setting_of(TOOLWORLD, {}, replace(episode, metadata={**episode.metadata, "format": evil}))
    assert setting_of("os:abort", {"reward": evil}, episode).env_id == TOOLWORLD


def test_a_task_of_unknown_tools_is_refused() -> None:
    from tests.steptool_env.sample_episodes import answered, trajectory

    with pytest.raises(ConfigurationError, match="no settings"):
        setting_of("", {}, trajectory(answered("x")))


def test_another_reward_may_score_the_fork(tmp_path: Path) -> None:
    episode = episodes(tmp_path, "split=validation")[0]
    setting = setting_of(TOOLWORLD, {"split": "validation"}, episode, "final")
    assert setting.reward == "final"
    assert fork_episode(setting, episode, 0, []).recorded.trajectory.rewards[0] == 0
    with pytest.raises(ConfigurationError, match="reward='os:abort'"):
        setting_of(TOOLWORLD, {}, episode, "os:abort")


def test_the_oracle_fulfils_every_call_of_the_plan(tmp_path: Path) -> None:
    for episode in episodes(tmp_path, "split=validation", "unsolvable=0.0"):
        setting = setting_of(TOOLWORLD, {"split": "validation"}, episode)
        task = task_of(setting, episode)
        assert task is not None
        picture = plan_picture(task, episode)
        assert picture.answer or picture.rule
        assert all(call.step for call in picture.calls)
        assert picture.svg.count("✓") == len(picture.calls)
        assert sum(map(len, picture.fulfilled.values())) == len(picture.calls)
        lazy = replace(episode, steps=episode.steps[-1:], rewards=episode.rewards[-1:])
        assert "✓" not in plan_picture(task, lazy).svg


def test_a_setting_knows_its_default_reward() -> None:
    assert Setting(TOOLWORLD, {}).reward == "progress"
    assert Setting(RECORDED, {}).reward == "steptool"


def test_a_run_folder_loads_no_model(tmp_path: Path) -> None:
    (episode, *_) = episodes(tmp_path, "suite=G1_instruction", agent="random", env="StepTool/StableToolBench-v0")
    arguments = {"suite": "G1_instruction", "tools": "retrieved:5", "retriever": "somebody/model"}
    with pytest.raises(ConfigurationError, match="somebody/model"):
        setting_of("StepTool/StableToolBench-v0", arguments, episode)
    assert setting_of("StepTool/StableToolBench-v0", {**arguments, "retriever": "bm25"}, episode)


def test_a_run_folder_makes_no_world_that_fills_the_memory(tmp_path: Path) -> None:
    (episode, *_) = episodes(tmp_path, "split=validation")
    with pytest.raises(ConfigurationError, match="tools=1000000000"):
        setting_of(TOOLWORLD, {"split": "validation", "tools": 10**9}, episode)

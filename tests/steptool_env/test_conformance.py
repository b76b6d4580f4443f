"""Conformance of the registered environments with Gymnasium, in process and over HTTP."""

import copy
import json
import pickle
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

import steptool_env  # noqa: F401 - registers the environments
from agents.baselines.oracle import OracleAgent
from agents.evaluation.evaluate import Evaluation, evaluate
from steptool_env.env import ToolEnv
from steptool_env.episodes.observations import answer_in
from steptool_env.episodes.records import encode, trajectory_record
from steptool_env.errors import ConfigurationError
from steptool_env.stabletoolbench.sample import SAMPLE
from steptool_env.toolworld.suite import world_task_of
from steptool_env.vector import ToolVectorEnv
from toolserver.stabletoolbench import JudgedEpisode, read_judged_run
from toolserver.testing import ServerProcess

STABLETOOLBENCH = "StepTool/StableToolBench-v0"
TOOLWORLD = "StepTool/ToolWorld-v0"
COMPLEXFUNCBENCH = "StepTool/ComplexFuncBench-v0"
BFCL = "StepTool/BFCL-v0"
TAU2 = "StepTool/Tau2Telecom-v0"
DISCRETE = "StepTool/ToolWorldDiscrete-v0"
ANSWER = 'Action: Finish\nAction Input: {"return_type": "give_answer", "final_answer": "It is so."}'
GIVE_UP = 'Action: Finish\nAction Input: {"return_type": "give_up_and_restart"}'


class Kind(NamedTuple):
    """An environment, the arguments to make it with, and those of the server that has its tools."""

    id: str
    arguments: dict[str, Any]
    serve: tuple[str, ...]

    def make(self, **arguments: Any) -> ToolEnv:
        env = gym.make(self.id, **{**self.arguments, **arguments}).unwrapped
        assert isinstance(env, ToolEnv)
        return env


@pytest.fixture(scope="module")
def recorded(stabletoolbench_data: Path, stabletoolbench_cache: Path) -> Kind:
    """StableToolBench, with the recordings that the test session imported."""
    return recorded_kind(stabletoolbench_data, stabletoolbench_cache)


def recorded_kind(data: Path, cache: Path) -> Kind:
    queries = data / "solvable_queries" / "test_instruction"
    arguments = {"queries": str(queries), "cache": str(cache), "suite": "G1_instruction"}
    return Kind(STABLETOOLBENCH, arguments, ("--cache", str(cache), "--read-only"))


@pytest.fixture(scope="module", params=[STABLETOOLBENCH, TOOLWORLD, COMPLEXFUNCBENCH, BFCL, TAU2])
def kind(request: pytest.FixtureRequest, sample_cache: Path) -> Kind:
    if request.param == BFCL:
        request.getfixturevalue("bfcl")
        return Kind(BFCL, {"split": "test", "faults": "mild"}, ("--bfcl",))
    if request.param == TAU2:
        request.getfixturevalue("tau2")
        return Kind(TAU2, {"split": "test", "faults": "mild"}, ("--tau2",))
    if request.param == COMPLEXFUNCBENCH:
        cache = request.getfixturevalue("complexfuncbench_cache")
        return Kind(COMPLEXFUNCBENCH, {"split": "test"}, ("--cache", str(cache), "--read-only"))
    if request.param == STABLETOOLBENCH:
        return recorded_kind(SAMPLE, sample_cache)
    return Kind(TOOLWORLD, {"faults": "mild"}, ("--world", "0", "--world-level", "lite"))


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[Kind, int], str]]:
    """Gives the address of a server of a kind with so many workers; each is started once."""
    with ExitStack() as stack:
        running: dict[tuple[tuple[str, ...], int], str] = {}

        def serve(kind: Kind, workers: int = 1) -> str:
            if (kind.serve, workers) not in running:
                arguments = [*kind.serve, "--workers", str(workers)]
                running[kind.serve, workers] = stack.enter_context(ServerProcess(arguments)).url
            return running[kind.serve, workers]

        yield serve


@pytest.mark.parametrize("remote", [False, True], ids=["local", "http"])
def test_gymnasiums_checker_finds_nothing(remote: bool, kind: Kind, servers: Callable[[Kind], str]) -> None:
    env = kind.make(server_url=servers(kind) if remote else None)
    check_env(env)
    env.close()


def calls_of(info: dict[str, Any], rng: random.Random) -> Iterator[str]:
    """Yield calls of offered functions with random arguments, and some invalid texts."""
    for _ in range(5):
        function = rng.choice(info["functions"][:-1])
        names = function["parameters"]["properties"]
        arguments = {name: rng.choice(["London", "12", 7, "", None]) for name in names}
        yield rng.choice([f"Action: {function['name']}\nAction Input: {json.dumps(arguments)}"] * 5 + ["no call"])
    yield ANSWER


def play(env: ToolEnv, seed: int, interrupt: Callable[[ToolEnv], None] = lambda env: None) -> bytes:
    """The trajectory of one episode of such calls. `interrupt` is let at the environment before every step."""
    _, info = env.reset(seed=seed)
    for action in calls_of(info, random.Random(seed)):
        interrupt(env)
        *_, info = env.step(action)
    while "trajectory" not in info:  # turns of the user
        *_, info = env.step(ANSWER)
    return encode(trajectory_record(info["trajectory"]))


def there_and_back(env: ToolEnv) -> None:
    snapshot = env.snapshot()
    env.reset()
    env.step(ANSWER)
    env.restore(snapshot)


def test_episodes_are_the_same_bytes_by_every_way_to_the_tools(kind: Kind, servers: Callable[[Kind], str]) -> None:
    local, remote = kind.make(), kind.make(server_url=servers(kind))
    for seed in range(8):
        expected = play(local, seed)
        assert play(remote, seed) == expected
        assert play(remote, seed, there_and_back) == expected
        assert play(local, seed, there_and_back) == expected
        assert play(local.fork(), seed) == expected
    remote.close()


@pytest.fixture(scope="module")
def judged(judged_run: Path) -> list[JudgedEpisode]:
    return read_judged_run(judged_run / "G1_instruction.json")


def replay(env: ToolEnv, episodes: Sequence[JudgedEpisode]) -> list[bytes]:
    """The trajectories of recorded episodes, played again."""
    played = []
    for episode in episodes:
        env.reset(options={"task": episode.query_id, "episode_seed": 1})
        for step in episode.steps:
            *_, info = env.step(env.config.format.render(step.name, step.arguments))
            if "trajectory" in info:
                played.append(encode(trajectory_record(info["trajectory"])))
                break
    return played


@pytest.mark.parametrize("workers", [1, 4])
def test_a_judged_run_replays_to_the_same_bytes_over_http(
    workers: int, recorded: Kind, judged: list[JudgedEpisode], servers: Callable[[Kind, int], str]
) -> None:
    local = recorded.make(call_budget=17)
    remote = recorded.make(call_budget=17, server_url=servers(recorded, workers))
    expected = replay(local, judged)
    assert len(expected) > 0.9 * len(judged)
    assert replay(remote, judged) == expected
    remote.close()


def test_a_replay_answers_with_what_was_published(
    recorded: Kind, judged: list[JudgedEpisode], stabletoolbench_data: Path
) -> None:
    """Every recorded answer is one that some published run shows for the same call (their answers differ)."""
    published = published_answers(stabletoolbench_data)
    env = recorded.make(call_budget=17)
    answers = 0
    for episode in judged:
        env.reset(options={"task": episode.query_id})
        for step in episode.steps:
            observation, *_, info = env.step(env.config.format.render(step.name, step.arguments))
            if info["provenance"] in ("recorded", "generated"):
                answers += 1
                assert beginning(answer_in(observation)) in published[step.name, canonical(step.arguments)]
            if "trajectory" in info:
                break
    assert answers > 0.5 * sum(len(episode.steps) - 1 for episode in judged)


def beginning(answer: str) -> str:
    """The first letters and digits; answers that were cut when they were published have lost some escapes."""
    return re.sub(r"\W", "", answer)[:30]


def canonical(arguments: str) -> str:
    return json.dumps(json.loads(arguments or "{}"), sort_keys=True)


def published_answers(data: Path) -> dict[tuple[str, str], set[str]]:
    """The beginnings of all published answers, by function and arguments."""
    answers: dict[tuple[str, str], set[str]] = {}
    for path in (data / "judged_runs").rglob("*.json"):
        for episode in read_judged_run(path):
            for step in episode.steps:
                with suppress(ValueError):
                    answers.setdefault((step.name, canonical(step.arguments)), set()).add(beginning(step.response))
    return answers


def test_the_vector_environment_equals_single_ones_over_http(kind: Kind, servers: Callable[[Kind], str]) -> None:
    url = servers(kind)
    vector = gym.make_vec(kind.id, num_envs=4, autoreset_mode="SameStep", **kind.arguments, server_url=url)
    assert isinstance(vector, ToolVectorEnv)
    assert vector.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    single = [kind.make() for _ in range(4)]
    observations, infos = vector.reset(seed=11)
    assert list(observations) == [env.reset(seed=11 + index)[0] for index, env in enumerate(single)]
    for _ in range(3):
        actions = [f"Action: {functions[0]['name']}\nAction Input: {{}}" for functions in infos["functions"]]
        observations, rewards, *_ = vector.step(actions)
        steps = [env.step(action) for env, action in zip(single, actions, strict=True)]
        assert list(observations) == [step[0] for step in steps]
        assert rewards.tolist() == [step[1] for step in steps]
    vector.close()


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_gymnasiums_own_vector_environments_take_it_too(mode: str, kind: Kind) -> None:
    make = partial(gym.make, kind.id, **kind.arguments)
    envs = SyncVectorEnv([make] * 2) if mode == "sync" else AsyncVectorEnv([make] * 2, shared_memory=False)
    observations, infos = envs.reset(seed=3)
    assert len(observations) == 2
    assert infos["_task_id"].all()
    _, rewards, terminated, truncated, _ = envs.step(("no call", "Action: Finish\nAction Input: {}"))
    assert np.array_equal(terminated | truncated, [False, False])
    assert rewards.shape == (2,)
    envs.close()


def test_an_asynchronous_vector_environment_works_with_its_defaults(kind: Kind) -> None:
    """Its observations travel in shared memory, and each step shows those of that step."""
    envs = gym.make_vec(kind.id, num_envs=2, vectorization_mode="async", **kind.arguments)
    single = [kind.make() for _ in range(2)]
    seen = [envs.reset(seed=3)[0]]
    expected = [tuple(env.reset(seed=3 + index)[0] for index, env in enumerate(single))]
    for action in ("no call", "Action: nothing\nAction Input: {}", GIVE_UP):
        observations, rewards, terminated, _, infos = envs.step((action, action))
        steps = [env.step(action) for env in single]
        seen.append(observations)
        expected.append(tuple(step[0] for step in steps))
        assert rewards.tolist() == [step[1] for step in steps]
        assert terminated.tolist() == [step[2] for step in steps]
        assert infos["status"].tolist() == [step[4]["status"] for step in steps]
    assert seen == expected
    assert infos["trajectory"].tolist() == [step[4]["trajectory"] for step in steps]
    envs.close()


@pytest.mark.parametrize("env_id", [COMPLEXFUNCBENCH, BFCL])
def test_the_oracles_episodes_are_the_same_bytes_over_http_and_after_a_snapshot(
    env_id: str, request: pytest.FixtureRequest, servers: Callable[[Kind, int], str]
) -> None:
    """Four workers share no memory: a call has the calls before it, or the task of its episode, in its state alone."""
    if env_id == BFCL:
        request.getfixturevalue("bfcl")
        kind = Kind(BFCL, {"split": "test"}, ("--bfcl",))
    else:
        cache = request.getfixturevalue("complexfuncbench_cache")
        kind = Kind(COMPLEXFUNCBENCH, {"split": "test"}, ("--cache", str(cache), "--read-only"))
    played = []
    for settings in (kind.arguments, {**kind.arguments, "server_url": servers(kind, 4)}):
        episodes = evaluate(Evaluation(kind.id, settings, slots=8), OracleAgent())
        played.append([encode(trajectory_record(episode)) for episode in episodes])
    assert played[0] == played[1]
    assert len(played[0]) == 160
    env = kind.make()
    for episode in episodes[::8]:
        env.reset(options={"task": episode.task.id, "episode_seed": episode.metadata["episode_seed"]})
        for playing, interrupt in ((env.fork(), there_and_back), (env.fork(), lambda _: None)):
            for step in episode.steps:
                interrupt(playing)
                observation, *_, info = playing.step(step.action.text)
                assert observation == step.observation
            assert encode(trajectory_record(info["trajectory"])) == encode(trajectory_record(episode))


def test_a_task_travels_without_its_gold_and_is_graded_all_the_same() -> None:
    env = Kind(TOOLWORLD, {}, ()).make()
    env.reset(seed=0)
    trajectory = env.step(ANSWER)[4]["trajectory"]
    travelled = pickle.loads(pickle.dumps(trajectory))
    assert travelled == trajectory
    assert travelled.task.solution is None
    found, gold = world_task_of(travelled.task), world_task_of(trajectory.task)
    assert (found.id, found.query, found.plan.signature) == (gold.id, gold.query, gold.plan.signature)
    assert copy.deepcopy(trajectory.task) is trajectory.task


def test_environments_are_made_again_from_their_spec_and_from_pickle(kind: Kind) -> None:
    env = gym.make(kind.id, **kind.arguments, call_budget=3)
    assert env.spec is not None
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.reset(seed=5) == env.reset(seed=5)
    twin = pickle.loads(pickle.dumps(env))
    assert twin.step("no call") == env.step("no call")


@pytest.mark.parametrize("env_id", [STABLETOOLBENCH, TOOLWORLD, COMPLEXFUNCBENCH, BFCL, TAU2, DISCRETE])
def test_the_arguments_are_keywords_that_help_and_inspect_list(env_id: str) -> None:
    spec = gym.spec(env_id)
    single = signature(load_env_creator(str(spec.entry_point))).parameters
    assert {"server_url", "reward", "reward_options", "format", "call_budget", "render_mode"} <= single.keys()
    assert all(parameter.kind is Parameter.KEYWORD_ONLY for parameter in single.values())
    assert all(parameter.annotation is not Parameter.empty for parameter in single.values())
    if spec.vector_entry_point:
        vector = signature(load_env_creator(str(spec.vector_entry_point))).parameters
        assert vector.keys() - single.keys() == {"num_envs", "autoreset_mode"}
        assert all(vector[name].replace() == parameter for name, parameter in single.items())


def test_an_unknown_argument_is_named(kind: Kind) -> None:
    for make in (gym.make, gym.make_vec):
        with pytest.raises(TypeError, match="unexpected keyword argument 'call_buget'"):
            make(kind.id, **kind.arguments, call_buget=3)


@pytest.mark.parametrize("options", ["progress", 3, ["judge"], {1: 2}])
def test_reward_options_that_are_no_mapping_are_refused(options: Any, kind: Kind) -> None:
    with pytest.raises(ConfigurationError, match=r"reward_options=.*must map option names to values"):
        kind.make(reward_options=options)


def test_the_key_of_a_server_is_not_in_the_spec(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPTOOL_API_KEY", "a-secret-of-this-test")
    env = kind.make(server_url="http://127.0.0.1:9")
    assert env.spec is not None
    assert "a-secret" not in env.spec.to_json() + repr(env) + repr(vars(env))
    assert b"a-secret" not in pickle.dumps(env)
    env.close()

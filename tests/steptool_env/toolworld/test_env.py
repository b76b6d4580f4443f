"""ToolWorld as an environment: equal episodes in process and over HTTP, from every step, and prompts that fit."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from random import Random

import gymnasium as gym
import pytest

import steptool_env  # noqa: F401 - registers the environments
from agents.baselines.oracle import OracleAgent
from steptool_env.env import ToolEnv
from steptool_env.episodes.records import encode, trajectory_record
from steptool_env.errors import ConfigurationError
from steptool_env.toolworld.suite import load_suite
from toolserver.episodes.faults import is_down
from toolserver.episodes.state_token import StateCodec
from toolserver.testing import ServerProcess
from toolserver.world.vendors import Health

TOOLWORLD = "StepTool/ToolWorld-v0"


def make(**arguments: object) -> ToolEnv:
    env = gym.make(TOOLWORLD, disable_env_checker=True, **{"split": "G2_instruction", "call_budget": 20, **arguments})
    inner = env.unwrapped
    assert isinstance(inner, ToolEnv)
    return inner


def play(env: ToolEnv, index: int, interrupt: Callable[[ToolEnv], ToolEnv] = lambda env: env) -> bytes:
    """Return the trajectory of the oracle's episode; `interrupt` may replace the environment before every step."""
    agent = OracleAgent()
    observation, info = env.reset(seed=index, options={"task": index})
    agent.reset([0], [observation], [info])
    over = False
    while not over:
        (action,) = agent.act([0], [observation], [info])
        env = interrupt(env)
        observation, _, terminated, truncated, info = env.step(action)
        over = terminated or truncated
    return encode(trajectory_record(info["trajectory"]))


def moved(env: ToolEnv) -> ToolEnv:
    """Return another environment, restored from a snapshot of this one."""
    other = make(faults="mild")
    other.restore(env.snapshot())
    return other


def tasks_with_writes(count: int) -> list[int]:
    suite = make().suite
    return [index for index in range(80) if suite.task(index).solution.plan.writes][:count]


@pytest.fixture(scope="module")
def server() -> Iterator[Callable[[int], str]]:
    with ExitStack() as stack:
        yield (
            lambda workers: (
                stack.enter_context(
                    ServerProcess(["--world", "0", "--world-level", "lite", "--workers", str(workers)])
                ).url
            )
        )


@pytest.mark.parametrize("workers", [1, 2])
def test_episodes_with_changes_of_state_are_the_same_over_http(workers: int, server: Callable[[int], str]) -> None:
    local, remote = make(faults="mild"), make(faults="mild", server_url=server(workers))
    for index in [0, 1, 2, *tasks_with_writes(4)]:
        assert play(remote, index) == play(local, index)
    remote.close()


def test_an_episode_that_moves_to_another_environment_at_every_step_stays_the_same() -> None:
    for index in [0, 1, *tasks_with_writes(4)]:
        expected = play(make(faults="mild"), index)
        assert play(make(faults="mild"), index, moved) == expected
        assert play(make(faults="mild"), index, ToolEnv.fork) == expected


def test_a_changed_token_in_a_snapshot_is_refused_with_a_reason() -> None:
    env = make()
    agent = OracleAgent()
    observation, info = env.reset(seed=0)
    agent.reset([0], [observation], [info])
    env.step(agent.act([0], [observation], [info])[0])
    record = json.loads(env.snapshot())
    token = record["episode"]["state"]
    record["episode"]["state"] = token[:-8] + ("AAAAAAAA" if token[-8:] != "AAAAAAAA" else "BBBBBBBB")
    env.restore(json.dumps(record).encode())
    call = "Action: {}\nAction Input: {{}}".format(info["functions"][0]["name"])
    answer, *_ = env.step(call)
    assert "token" in answer.lower()


def test_lite_prompts_fit_into_256_tokens_of_a_tokenizer_that_was_trained_on_such_prompts() -> None:
    tokenizers = pytest.importorskip("agents.models.tokenizer")
    envs = [make(split=split) for split in ("train", "G1_category", "G2_instruction", "G3_instruction", "depth-3")]
    prompts = [[env.reset(options={"task": index})[0] for index in range(160)] for env in envs]
    tokenizer = tokenizers.train_tokenizer([text for texts in prompts[:2] for text in texts], 2048)
    assert max(len(tokenizer.encode(text)) for texts in prompts for text in texts) <= 256


_VALUES = [
    None,
    True,
    -1,
    3.5,
    1e300,
    10**30,
    "",
    "x",
    "C1234",
    [],
    {},
    [1, [2]],
    {"a": {"b": 1}},
    "2031-05-14",
    "\ud800",
]


@pytest.mark.parametrize("level", ["lite", "standard", "full"])
@pytest.mark.parametrize("reward", ["progress", "potential", "steptool", "final"])
def test_any_text_and_any_arguments_are_steps(level: str, reward: str) -> None:
    rng = Random(f"{level} {reward}")
    env = make(split="train", level=level, reward=reward, faults="harsh", call_budget=8)
    for seed in range(15):
        _, opening = env.reset(seed=seed)
        over = False
        while not over:
            function = rng.choice(opening["functions"])
            names = [*function["parameters"]["properties"], "page", "other"]
            arguments = {name: rng.choice(_VALUES) for name in names if rng.random() < 0.7}
            if function["name"] == "Finish" and rng.random() < 0.7:
                arguments["return_type"] = rng.choice(["give_answer", "give_up_and_restart"])
            texts = [f"Action: {function['name']}\nAction Input: {json.dumps(arguments)}"] * 9 + ["\ud800 no call"]
            _, _, terminated, truncated, info = env.step(rng.choice(texts))
            over = terminated or truncated
        assert 0.0 <= info["outcome"]["is_solved"] <= 1.0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"split": "G7"}, "G1_instruction"),
        ({"level": "tiny"}, "lite, standard, full|lite"),
        ({"reward": "bonus"}, "progress"),
        ({"faults": "wild"}, "none, mild, harsh"),
        ({"depths": {"7": 1}}, "depths"),
        ({"world_seed": -1}, "seed"),
        ({"world_version": 2}, "world_version: 2 is not a version of ToolWorld; use 1"),
        ({"world_version": True}, "world_version: True is not a version"),
    ],
)
def test_a_wrong_argument_lists_what_is_valid(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        make(**arguments)


@pytest.mark.parametrize("tools", [0, "x", True, 1.5])
def test_a_wrong_number_of_vendors_is_named(tools: object) -> None:
    with pytest.raises(ConfigurationError, match=f"tools: {tools!r} is not a number of vendors; use an integer"):
        make(tools=tools)


def test_a_server_can_have_another_number_of_vendors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLSERVER_WORLD_TOOLS", "100")
    with ServerProcess(["--world", "0", "--world-level", "lite"]) as process:
        remote = make(tools=100, server_url=process.url)
        assert play(remote, 0) == play(make(tools=100), 0)
        remote.close()


def test_permanent_faults_leave_a_working_api_for_every_needed_call() -> None:
    """A broken or stale API of the same operation does not count."""
    suite, codec, tried = load_suite("train", "standard", faults="harsh"), StateCodec(), 0
    for task in map(suite.task, range(160)):
        needed, offered = task.solution.needed, task.solution.toolset.apis
        if any(api.health is not Health.OK for api in offered if api not in needed):
            for episode_seed in range(0, 12_000, 640):
                seed, tried = codec.read(suite.initial_state(task, episode_seed)).seed, tried + 1
                down = [api for api in needed if is_down(seed, task.id, "harsh", *api.key[1:])]
                assert not down, (task.id, episode_seed)
    assert tried > 100

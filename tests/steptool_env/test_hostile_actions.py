"""Actions that no model should write: each is a typed step of its own episode, in process and over HTTP."""

import json
import random
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from steptool_env.envs.stabletoolbench import StableToolBenchEnv
from steptool_env.envs.toolworld import ToolWorldVectorEnv
from steptool_env.formats import FORMATS, make_format
from steptool_env.judges.success import body_succeeded
from steptool_env.types import FINISH
from toolserver.catalog.api_schema import StatusCode
from toolserver.testing import ServerProcess

WORLD = ["--world", "0", "--world-level", "lite"]
ENVS, DEPTHS = 4, (33, 100, 130, 700, *range(950, 1030, 4), 3000, 50_000)
ODD = ["\ud800", "\udfff end", "NaN", "1e400", 10**400, "\x00", "٣", "🤖" * 300, [], {}, None, True]


@pytest.fixture(scope="module")
def world() -> Iterator[str]:
    with ServerProcess(WORLD) as server:
        yield server.url


def written(format_name: str, name: str, arguments: str) -> list[str]:
    """A call in every spelling of a format, with the arguments as text and as a value."""
    texts = [make_format(format_name).render(name, arguments)]
    if format_name == "openai":
        texts.append(f'{{"name": {json.dumps(name)}, "arguments": {arguments}}}')
    return texts


def nested(depth: int) -> list[str]:
    """Arguments of that depth, of a tool and of `Finish`."""
    array, table = "[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth
    fields = ['{"city": %s}', '{"return_type": "give_answer", "final_answer": %s}', "%s", '{"city": %s']
    return [field % value for field in fields for value in (array, table)]


@pytest.mark.parametrize("format_name", FORMATS.names())
def test_deep_actions_cost_their_own_step_only(world: str, format_name: str) -> None:
    """The other episodes of the vector step go on, and both clients give the same transitions."""
    envs = [ToolWorldVectorEnv(num_envs=ENVS, format=format_name, server_url=url) for url in (None, world)]
    good = make_format(format_name)
    for depth in DEPTHS:
        for arguments in nested(depth):
            for name in (FINISH, ""):
                _, infos = envs[0].reset(seed=1)
                envs[1].reset(seed=1)
                offered = [functions[0]["name"] for functions in infos["functions"]]
                calls = [good.render(function, "{}") for function in offered]
                for text in written(format_name, name or offered[1], arguments):
                    both = [env.step([calls[0], text, *calls[2:]]) for env in envs]
                    for result in both:
                        assert "transport_error" not in result[4]
                        assert result[0] == both[0][0]
                    assert np.array_equal(both[0][4]["status"], both[1][4]["status"])
                    assert both[0][4]["status"][1] in set(StatusCode)
                    for env in envs:
                        env.reset(seed=1)
    for env in envs:
        env.close()


def odd_actions(seed: int, offered: list[dict[str, Any]], format_name: str) -> Iterator[str]:
    """Calls with arguments and answers that are odd JSON; every third one ends the episode."""
    random_ = random.Random(seed)
    while True:
        function = random_.choice(offered)
        names = [*function["parameters"]["properties"], "unknown \ud800"]
        values = {name: random_.choice(ODD) for name in random_.sample(names, min(len(names), 2))}
        if random_.random() < 0.3:
            function = {"name": FINISH}
            values = {"return_type": "give_answer", "final_answer": random_.choice(ODD)}
        text = json.dumps(values, ensure_ascii=random_.random() < 0.5)
        text = text.replace('"NaN"', "NaN").replace('"1e400"', "1e400")
        yield random_.choice(written(format_name, function["name"], text))


@pytest.mark.parametrize("format_name", FORMATS.names())
def test_odd_json_is_typed_where_misses_are_synthetic(format_name: str) -> None:
    """Answers repeat the arguments, lone surrogates among them, and `Finish` judges these answers."""
    with closing(StableToolBenchEnv(miss="synthetic", format=format_name)) as env:
        for seed in range(40):
            _, info = env.reset(seed=seed)
            for action in odd_actions(seed, info["functions"][:-1], format_name):
                _, reward, terminated, truncated, step_info = env.step(action)
                assert np.isfinite(reward)
                assert step_info["status"] in set(StatusCode)
                assert not truncated
                if terminated:
                    assert 0 <= step_info["outcome"]["is_solved"] <= 1
                    break


def test_odd_json_is_the_same_over_http(world: str) -> None:
    envs = [ToolWorldVectorEnv(num_envs=ENVS, server_url=url) for url in (None, world)]
    for seed in range(12):
        _, infos = envs[0].reset(seed=seed)
        envs[1].reset(seed=seed)
        played = [odd_actions(seed + i, infos["functions"][i][:-1], "react") for i in range(ENVS)]
        for _ in range(6):
            actions = [next(actions) for actions in played]
            first, second = (env.step(actions) for env in envs)
            assert first[0] == second[0]
            assert all(np.array_equal(a, b) for a, b in zip(first[1:4], second[1:4], strict=True))
            assert "transport_error" not in second[4]
    for env in envs:
        env.close()


def test_synthetic_answers_with_lone_surrogates_are_judged_like_others() -> None:
    """A field of the answer repeats an argument of that name."""
    judged = 0
    for name in ("G1_instruction", "G1_tool", "G2_category"):
        with closing(StableToolBenchEnv(miss="synthetic", suite=name)) as env:
            for task in range(len(env.suite)):
                _, info = env.reset(options={"task": task})
                for function in info["functions"][:-1]:
                    env.reset(options={"task": task})
                    arguments = dict.fromkeys(function["parameters"]["properties"], "\ud800")
                    env.step(f"Action: {function['name']}\nAction Input: {json.dumps(arguments)}")
                    body = env.episode.steps[0].body
                    if "\\ud800" not in body:
                        continue
                    judged += 1
                    answer = '{"return_type": "give_answer", "final_answer": "\ud800"}'
                    assert env.step(f"Action: {FINISH}\nAction Input: {answer}")[2]
                    assert body_succeeded(body) == body_succeeded(body.replace("\\ud800", "-"))
    assert judged > 10

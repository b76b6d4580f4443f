"""Texts of a model in every format: each is a typed step of its own episode, the same in process and over HTTP."""

import json
from collections.abc import Iterator
from contextlib import closing
from random import Random
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from steptool_env.envs.stabletoolbench import StableToolBenchVectorEnv
from steptool_env.envs.toolworld import ToolWorldVectorEnv
from steptool_env.formats import FORMATS, make_format
from steptool_env.types import FINISH
from tests.chaos import odd
from tests.chaos.campaign import Campaign, Scenario
from toolserver.catalog.api_schema import StatusCode
from toolserver.testing import ServerProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ENVS = 16
WORLD = ["--world", "0", "--world-level", "lite"]
MARKS = ("Thought:", "Action:", "Action Input:", "<tool_call>", "</tool_call>", "<|python_tag|>", "\n", "```json", "{}")
STATUSES = {int(each) for each in StatusCode}


@pytest.fixture(scope="module")
def world() -> Iterator[str]:
    with ServerProcess(WORLD) as server:
        yield server.url


def arguments(rng: Random, properties: dict[str, Any]) -> str:
    names = [*properties, "unknown \ud800"]
    chosen = rng.sample(names, rng.randrange(len(names) + 1))
    if rng.random() < 0.1:
        return odd.value(rng)
    return "{" + ", ".join(f"{json.dumps(name)}: {odd.value(rng, 2)}" for name in chosen) + "}"


def finish(rng: Random) -> str:
    answer = odd.value(rng, 2) if rng.random() < 0.5 else json.dumps("The answer is 42.")
    kind = rng.choice(('"give_answer"', '"give_answer"', '"give_up_and_restart"', odd.value(rng, 1)))
    return f'{{"return_type": {kind}, "final_answer": {answer}}}'


def text_of(rng: Random, format_name: str, offered: list[dict[str, Any]]) -> str:
    """A call, good or odd, in the format or in another; whole, changed, or of marks alone."""
    function = rng.choice(offered)
    name, written = function["name"], arguments(rng, function["parameters"]["properties"])
    if rng.random() < 0.15:
        name, written = FINISH, finish(rng)
    elif rng.random() < 0.1:
        name = rng.choice(("", "Finish ", "no such function", "\ud800", name.upper(), name + "\n"))
    chosen = format_name if rng.random() < 0.9 else rng.choice(FORMATS.names())
    text = make_format(chosen).render(name, written, rng.choice(("", "I call it.", "Action: x", "\ud800")))
    kind = rng.random()
    if kind < 0.3:
        return odd.changed(rng, text)
    if kind < 0.35:
        return "".join(rng.choice((*MARKS, name, written)) for _ in range(rng.randrange(8)))
    return text


def check_step(scenario: Scenario, result: tuple[Any, ...], actions: list[str]) -> None:
    """The outcome of every action is typed, and no episode is lost."""
    observations, rewards, _, truncated, infos = result
    scenario.trials += len(actions)
    for number, action in enumerate(actions):
        status = infos["status"][number] if infos.get("_status", [True] * len(actions))[number] else 0
        scenario.expect(int(status) in STATUSES, "exceptions", f"status {status} for {action!r:.300}")
        scenario.expect(bool(np.isfinite(rewards[number])), "wrong", f"reward {rewards[number]} for {action!r:.300}")
        scenario.expect(not truncated[number], "lost", f"{infos.get('transport_error')} for {action!r:.300}")
        scenario.expect(isinstance(observations[number], str), "wrong", f"{action!r:.300}")


def functions_of(infos: dict[str, Any], before: list[Any]) -> list[Any]:
    """Offered functions per environment; those that did not start again keep theirs."""
    mask = infos.get("_functions", np.zeros(ENVS, np.bool_))
    return [infos["functions"][i][:-1] if mask[i] else before[i] for i in range(ENVS)]


def same(first: tuple[Any, ...], second: tuple[Any, ...]) -> bool:
    """Observations, rewards, ends and statuses of two vector environments are equal."""
    columns = [np.array_equal(a, b) for a, b in zip(first[1:4], second[1:4], strict=True)]
    return first[0] == second[0] and all(columns) and np.array_equal(first[4]["status"], second[4]["status"])


@pytest.mark.parametrize("format_name", FORMATS.names())
def test_texts_are_typed_steps(campaign: Campaign, world: str, format_name: str) -> None:
    """A tenth is played over HTTP, too."""
    rng = campaign.rng
    with (
        campaign.scenario(f"texts of a model, {format_name}") as scenario,
        closing(ToolWorldVectorEnv(num_envs=ENVS, format=format_name)) as near,
        closing(ToolWorldVectorEnv(num_envs=ENVS, format=format_name, server_url=world)) as far,
        closing(StableToolBenchVectorEnv(num_envs=ENVS, format=format_name, miss="synthetic")) as recorded,
    ):
        for envs, goal in ((near, 15_000), (far, 17_500), (recorded, 25_000)):
            _, infos = envs.reset(seed=campaign.seed)
            near.reset(seed=campaign.seed)
            functions = functions_of(infos, [])
            while scenario.trials < campaign.count(goal):
                actions = [text_of(rng, format_name, functions[number]) for number in range(ENVS)]
                result = envs.step(actions)
                check_step(scenario, result, actions)
                if envs is far:
                    scenario.expect(same(result, near.step(actions)), "wrong", f"other results over HTTP: {actions}")
                functions = functions_of(result[4], functions)
        scenario.sample(psutil.Process().pid)
        scenario.expect(httpx.get(f"{world}/readyz").status_code == 200, "lost", "the server does not answer")

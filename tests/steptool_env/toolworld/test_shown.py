"""A task can be solved from the shown texts: no call and no answer needs a value that the policy has not read."""

import json
from collections.abc import Iterator

import gymnasium as gym
import pytest

import steptool_env  # noqa: F401 - registers the environments
from steptool_env.toolworld import Oracle, OracleCall
from steptool_env.toolworld.planning.toolset import _FEW_ROWS
from steptool_env.toolworld.suite import find_world_task
from tests.steptool_env.toolworld.shown import Shown
from tests.toolserver.world.worlds import LEVELS, vendors
from toolserver.catalog.api_schema import OBSERVATION_LENGTH, Provenance, StatusCode, encode_body
from toolserver.world import NO_CHANGES, SemanticType, ValueKind
from toolserver.world.samples import sample_arguments
from toolserver.world.vendors.api import PAGE_INPUT

SPLITS = ("train", "depth-1", "G3_instruction", "unsolvable")


def unseen(env: gym.Env[str, str], index: int) -> Iterator[str]:
    """Return the values that the oracle uses in one task of the environment without having read them."""
    _, info = env.reset(seed=index, options={"task": index})
    gold = find_world_task(info["task_id"])
    oracle, shown = Oracle(gold), Shown(gold.query)
    while (call := oracle.next_call()) is not None:
        yield from _unseen_arguments(call, shown)
        observation, _, terminated, truncated, info = env.step(
            f"Action: {call.api.spec.function_name}\nAction Input: {json.dumps(call.arguments)}"
        )
        assert not terminated
        assert not truncated
        shown.add(observation)
        body = info["status"] == StatusCode.OK and not observation.count("characters cut]")
        response = json.loads(observation.rpartition("\n")[0])["response"] if body else None
        oracle.observe(call, info["status"] == StatusCode.OK, response, Provenance(info["provenance"]))
    for asked in gold.plan.asked if gold.solvable else ():
        kind = gold.plan.results[asked.node].operation.outputs[asked.output].type
        for fact in gold.plan.asked_facts(asked):
            if not shown.holds(kind, fact.value):
                yield f"{gold.id}: answer {fact.value!r} of {gold.query!r}"


def _unseen_arguments(call: OracleCall, shown: Shown) -> Iterator[str]:
    spelled = {parameter: name for name, parameter in call.api.parameters.items()}
    for name, value in call.api.decode_arguments(call.arguments).items():
        if name != PAGE_INPUT and not shown.holds(call.api.slots[name].type, value):
            yield f"{call.api}: {name}={value!r}"
    assert set(call.arguments) <= set(spelled)


def _played(level: str, split: str, count: int) -> list[str]:
    env = gym.make("StepTool/ToolWorld-v0", split=split, level=level, call_budget=30, disable_env_checker=True)
    return [each for index in range(count) for each in unseen(env, index)]


@pytest.mark.parametrize("level", LEVELS)
def test_every_value_that_a_solution_needs_is_shown(level: str) -> None:
    for split, count in zip(SPLITS, (90, 20, 20, 20), strict=True):
        assert _played(level, split, count) == []


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_every_value_that_two_thousand_solutions_need_is_shown(level: str) -> None:
    for split, count in zip(SPLITS, (1400, 200, 200, 200), strict=True):
        assert _played(level, split, count) == []


def test_shown_reads_every_style_and_finds_a_value_that_is_missing() -> None:
    shown = Shown("What is the capacity of Bell Pavilion on March 9, 2031?")
    shown.add('{"error": "", "response": {"venue": "V1234", "open": "31.05.2031", "distance": 74.6, "at": "2:05 PM"}}')
    name, day = SemanticType("name", ValueKind.TEXT), SemanticType("date", ValueKind.DATE)
    clock, distance = SemanticType("time", ValueKind.TIME), SemanticType("distance", ValueKind.NUMBER, "km", decimals=1)
    seen = [(name, "BELL pavilion"), (name, "V1234"), (day, "2031-03-09"), (day, "2031-05-31"), (clock, "14:05")]
    assert all(shown.holds(*each) for each in [*seen, (distance, 120.1), (distance, 74.6)])
    hidden = [(name, "Light Theatre"), (name, "V123"), (day, "2031-05-30"), (clock, "02:05"), (distance, 121.0)]
    assert not any(shown.holds(*each) for each in hidden)


@pytest.mark.parametrize("level", LEVELS)
def test_a_few_rows_always_fit_into_an_observation(level: str) -> None:
    """`is_shown` renders longer responses alone."""
    world = vendors(level).world
    for api in list(vendors(level).apis())[::31]:
        answer = api.answer(world, api.encode_arguments(sample_arguments(api, world)), NO_CHANGES)
        if answer.result is not None and len(answer.result.rows) > 0:
            few = answer.result._replace(rows=answer.result.rows[:_FEW_ROWS])
            assert len(encode_body("", api.render(few))) < OBSERVATION_LENGTH / 2

"""Rewards: progress is paid once and never for padding; potentials do not change the best policy."""

import itertools
import json
import math
import re
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steptool_env.errors import ConfigurationError
from steptool_env.rewards import make_reward
from steptool_env.toolworld import gold_answer
from steptool_env.types import Step, Task
from tests.toolserver.world.worlds import Play, of_depth, rewards, solve, suite
from toolserver.catalog.api_schema import Provenance, StatusCode

PROGRESS = make_reward("progress")
STEPTOOL = make_reward("steptool", judge="world")


def total(reward: Any, task: Task, steps: list[Step], gamma: float = 1.0) -> float:
    return sum(gamma**index * each for index, each in enumerate(rewards(reward, task, steps)))


def some_task(seed: int) -> Task:
    split, level = [("train", "lite"), ("G2_instruction", "lite"), ("depth-3", "standard"), ("train", "full")][seed % 4]
    return suite(split, level).task(seed // 4 % 30)


def some_steps(task: Task, rng: Random) -> list[Step]:
    """Play some of the needed calls in random order, with a right or wrong answer."""
    play, solution = Play(task), solve(task)
    apis = {api.spec.function_name: api for api in play.solution.toolset.apis}
    for step in solution[:-1]:
        if rng.random() < 0.7:
            play.call(apis[step.action.name], json.loads(step.action.arguments))
    return play.finish(gold_answer(play.solution) if rng.random() < 0.5 else "nothing")


def junk(task: Task, rng: Random) -> list[Step]:
    """Return steps that are not needed: calls of distractors with random arguments, and texts without a call."""
    play = Play(task)
    distractors = [api for api in play.solution.toolset.apis if api not in play.solution.toolset.bound]
    for _ in range(rng.randrange(1, 5)):
        if distractors and rng.random() < 0.7:
            api = rng.choice(distractors)
            if api.operation.kind.writes:
                continue
            play.call(api, {name: rng.choice(["x", 3, None, "H1234"]) for name in api.parameters.values()})
        else:
            play.junk()
    return play.steps


@given(st.integers(0, 10_000))
def test_padding_never_raises_the_return_under_progress(seed: int) -> None:
    rng = Random(seed)
    task = some_task(seed)
    steps = some_steps(task, rng)
    place = rng.randrange(len(steps))
    padded = steps[:place] + junk(task, rng) + steps[place:]
    repeated = steps[: place + 1] + steps[place:] if place < len(steps) - 1 and not task.solution.plan.writes else steps
    assert total(PROGRESS, task, padded) <= total(PROGRESS, task, steps) + 1e-9
    assert total(PROGRESS, task, repeated) <= total(PROGRESS, task, steps) + 1e-9


def test_padding_raises_the_return_under_steptool() -> None:
    """The published formula gives 0.5 for every successful call, needed or not."""
    task = next(t for t in of_depth(suite(), 2, 40) if not t.solution.plan.writes)
    steps = solve(task)
    padded = [steps[0], steps[0], steps[0], *steps]
    assert total(STEPTOOL, task, padded) > total(STEPTOOL, task, steps) + 1.0
    assert total(PROGRESS, task, padded) < total(PROGRESS, task, steps)


@pytest.mark.parametrize("depth", range(1, 7))
def test_a_perfect_episode_is_worth_one_at_any_depth(depth: int) -> None:
    for index in range(6):
        task = suite(f"depth-{depth}", "standard").task(index)
        assert total(PROGRESS, task, solve(task)) == pytest.approx(1.0)


def test_all_calls_without_the_answer_are_worth_the_share() -> None:
    for task in of_depth(suite(), 2, 10):
        steps = solve(task)[:-1]
        expected = 0.5 if len(steps) == 2 else total(PROGRESS, task, steps)
        assert total(PROGRESS, task, steps) == pytest.approx(expected)
        assert total(make_reward("progress", share=0.8), task, steps) == pytest.approx(0.8)


def test_a_wrong_answer_keeps_only_the_progress() -> None:
    for task in of_depth(suite(), 2, 10):
        if not task.solution.plan.writes:
            steps = solve(task)
            wrong = replace(
                steps[-1],
                action=replace(steps[-1].action, arguments='{"return_type": "give_answer", "final_answer": "?"}'),
            )
            assert total(PROGRESS, task, [*steps[:-1], wrong]) == pytest.approx(0.5)


@given(st.integers(0, 10_000), st.sampled_from([0.9, 0.99, 1.0]), st.sampled_from([0.5, 1.0, 2.0]))
def test_the_shaping_of_an_episode_sums_to_nothing(seed: int, gamma: float, scale: float) -> None:
    rng = Random(seed)
    task = some_task(seed)
    steps = some_steps(task, rng)
    shaped = total(make_reward("potential", gamma=gamma, scale=scale), task, steps, gamma)
    plain = total(make_reward("final", judge="world"), task, steps, gamma)
    assert math.isclose(shaped, plain, abs_tol=1e-9)


@given(st.integers(0, 10_000), st.sampled_from([0.9, 1.0]))
def test_the_shaping_of_an_episode_that_ends_without_finish_sums_to_nothing(seed: int, gamma: float) -> None:
    task = some_task(seed)
    steps = some_steps(task, Random(seed))[:-1]
    assert math.isclose(total(make_reward("potential", gamma=gamma), task, steps, gamma), 0, abs_tol=1e-9)


def test_potential_leaves_the_order_of_policies_unchanged_on_a_task_that_can_be_enumerated() -> None:
    """Enumerate the open-loop policies of up to three calls out of three, each with a right and a wrong answer."""
    task = next(t for t in of_depth(suite(), 2, 80) if len(t.solution.plan.nodes) == 2 and not t.solution.plan.writes
                and not any(api.needs_token for api in t.solution.toolset.bound))  # fmt: skip
    solution = solve(task)
    apis = {api.spec.function_name: api for api in task.solution.toolset.apis}
    needed = [(apis[step.action.name], json.loads(step.action.arguments)) for step in solution[:-1]]
    needless = (next(api for api in task.solution.toolset.apis if api not in task.solution.toolset.bound), {})
    gamma = 0.95
    values: list[tuple[float, float]] = []
    for length in range(4):
        for calls in itertools.product([*needed, needless], repeat=length):
            for answer in (gold_answer(task.solution), "nothing"):
                play = Play(task)
                for call in calls:
                    play.call(*call)
                steps = play.finish(answer)
                values.append(
                    (
                        total(make_reward("final", judge="world"), task, steps, gamma),
                        total(make_reward("potential", gamma=gamma), task, steps, gamma),
                    )
                )
    assert len(values) == 80
    for (final, shaped), (other_final, other_shaped) in itertools.combinations(values, 2):
        assert (final > other_final + 1e-9) == (shaped > other_shaped + 1e-9)


def test_an_injected_failure_costs_nothing_and_junk_costs() -> None:
    task = suite().task(1)
    steps = solve(task)
    play = Play(task)
    cost = total(PROGRESS, task, [play.junk(), *steps])
    assert cost == pytest.approx(1.0 - 0.02)
    failed = replace(steps[0], provenance=Provenance.INJECTED, status=StatusCode.NOT_WORKING)
    assert total(PROGRESS, task, [failed, *steps]) == pytest.approx(1.0)


def test_the_outcome_tells_the_fraction_of_slots_apart() -> None:
    task = next(
        t for t in (suite().task(i) for i in range(300)) if len(t.solution.plan.asked) == 2 and t.solution.solvable
    )
    gold = gold_answer(task.solution).split("; ")
    play = Play(task)
    scorer = PROGRESS.start(play.task)
    for step in [*solve(task)[:-1], play.finish(gold[0])[-1]]:
        scorer.score(step)
    outcome = scorer.outcome()
    assert outcome["is_solved"] == 0.0
    assert outcome["slots_right"] == 0.5
    assert outcome["progress"] == 1.0


@pytest.mark.parametrize(
    ("name", "options"),
    [("progress", {"share": 2.0}), ("progress", {"cost": -1.0}), ("potential", {"gamma": 0.0}), ("progress", {"x": 1})],
)
def test_a_wrong_option_is_named(name: str, options: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="|".join(options)):
        make_reward(name, **options)


@pytest.mark.parametrize("value", ["x", None, True, [1], float("nan")])
@pytest.mark.parametrize(("name", "option"), [("progress", "share"), ("progress", "cost"), ("potential", "gamma"),
                                              ("potential", "scale")])  # fmt: skip
def test_an_option_that_is_no_number_is_shown(name: str, option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(f"{option}={value!r}: must be a ")):
        make_reward(name, **{option: value})


def test_a_task_of_another_suite_is_refused() -> None:
    task = Task("17", "G1_instruction", "What?", ())
    with pytest.raises(ConfigurationError, match="ToolWorld"):
        PROGRESS.start(task)

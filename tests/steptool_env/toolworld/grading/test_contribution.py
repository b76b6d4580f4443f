"""Contribution by provenance: the calls that supplied facts to the answer or to a contributing call."""

import json
from collections.abc import Iterator
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from steptool_env.rewards.graded import grade_episode
from steptool_env.toolworld import Oracle, gold_answer
from steptool_env.toolworld.grading.episode_grading import ToolWorldGrading
from steptool_env.types import Task
from tests.toolserver.world.worlds import Play, of_depth, solve, suite
from toolserver.world.schema import OperationKind


def some_tasks(count: int = 25) -> Iterator[Task]:
    for split, level in (("train", "lite"), ("G3_instruction", "lite"), ("train", "standard")):
        for index in range(count):
            yield suite(split, level).task(index)


def contribution(task: Task, play: Play) -> tuple[bool, ...]:
    return grade_episode(play.task, play.steps).contribution


def test_every_call_of_the_oracle_contributes_and_its_finish_does_not() -> None:
    for task in some_tasks():
        steps = solve(task)
        play = Play(task)
        assert grade_episode(play.task, steps).contribution == (True,) * (len(steps) - 1) + (False,), task.query


def test_without_an_accepted_answer_nothing_contributes() -> None:
    for task in some_tasks(10):
        if task.solution.solvable and not task.solution.plan.writes:
            play = Play(task)
            for call in calls_of(task):
                play.call(*call)
            play.finish("I do not know.")
            assert not any(contribution(task, play)), task.query


def calls_of(task: Task) -> list[tuple]:  # type: ignore[type-arg]
    """The oracle's calls, for a task whose vendors want no token."""
    play, oracle, calls = Play(task), Oracle(task.solution), []
    for step in solve(task)[:-1]:
        call = oracle.next_call()
        assert call is not None
        calls.append((call.api, call.arguments))
        made = play.call(call.api, call.arguments)
        response = json.loads(step.body)["response"]
        oracle.observe(call, made.status == 0, response, made.provenance)  # type: ignore[arg-type]
    return calls


def test_repeats_contribute_nothing() -> None:
    for task in some_tasks(10):
        if task.solution.plan.writes or not task.solution.solvable:
            continue
        play, calls = Play(task), calls_of(task)
        for call in calls:
            play.call(*call)
            play.call(*call)
        play.finish(gold_answer(task.solution))
        assert contribution(task, play) == (True, False) * len(calls) + (False,), task.query


@given(st.integers(0, 10_000))
def test_needless_calls_and_junk_contribute_nothing(seed: int) -> None:
    rng = Random(seed)
    task = suite("train", "lite").task(seed % 60)
    if task.solution.plan.writes or not task.solution.solvable:
        return
    play, expected = Play(task), []
    for call in calls_of(task):
        for _ in range(rng.randrange(3)):
            play.junk()
            expected.append(False)
        play.call(*call)
        expected.append(True)
    play.finish(gold_answer(task.solution))
    assert contribution(task, play) == (*expected, False)


def test_another_way_to_the_same_fact_contributes_as_well() -> None:
    """The price of a hotel by its details instead of its price look-up, found by the hotels of its city."""
    world = suite().vendors
    found = 0
    for task in of_depth(suite(), 2, 600):
        plan = task.solution.plan
        last = plan.results[-1].operation
        details = next(
            (api for api in task.solution.toolset.apis if api.operation.name == f"{last.subject}.details"), None
        )
        if last.kind is not OperationKind.LOOKUP or details is None or details.needs_token:
            continue
        if last.attribute not in details.operation.outputs or any(
            api.needs_token for api in task.solution.toolset.bound
        ):
            continue
        found += 1
        play = Play(task)
        play.call(*calls_of(task)[0])
        play.call(details, details.encode_arguments(plan.arguments(1)))
        play.finish(gold_answer(task.solution))
        episode = grade_episode(play.task, play.steps)
        assert episode.solved
        assert episode.contribution == (True, True, False)
    assert found > 0
    assert world is not None


def test_a_guessed_id_needs_no_supplier_and_gives_none_credit() -> None:
    """A call with a correctly guessed id contributes; the skipped search does not."""
    task = next(t for t in of_depth(suite(), 2, 60) if len(t.solution.plan.nodes) == 2 and not t.solution.plan.writes
                and not any(api.needs_token for api in t.solution.toolset.bound))  # fmt: skip
    play, calls = Play(task), calls_of(task)
    play.call(*calls[1])
    play.call(*calls[0])
    play.finish(gold_answer(task.solution))
    assert contribution(task, play) == (True, False, False)


def test_the_truth_of_an_episode_is_a_function_of_its_steps() -> None:
    for task in some_tasks(8):
        steps = solve(task)
        opened = Play(task).task
        one, other = ToolWorldGrading(opened), ToolWorldGrading(opened)
        for step in steps:
            assert one.observe(step) == other.observe(step)
        assert one.outcome() == other.outcome()

"""The truth about tasks agrees with answers that other code computes from the tables and puts into its own words."""

from collections.abc import Iterator
from functools import cache

import pytest

from steptool_env.toolworld import Tracker, WorldTask, gold_answer
from steptool_env.toolworld.answers.slots import Verdict
from steptool_env.toolworld.grading.grader import grader_of
from tests.steptool_env.toolworld.answers.answer_writer import spoiled, written
from tests.steptool_env.toolworld.grading.independent_oracle import FORMULAS, SALES, Effect, IndependentOracle, Values
from tests.steptool_env.toolworld.shown import Shown
from tests.toolserver.world.worlds import LEVELS, tasks, vendors
from toolserver.world import Changes
from toolserver.world.changes import Change

SPLITS = (("train", 90), ("G1_category", 60), ("G3_instruction", 30))
HALF = 0.500001


@cache
def oracle(level: str) -> IndependentOracle:
    return IndependentOracle(vendors(level).world)


def solvable(level: str) -> Iterator[WorldTask]:
    for split, count in SPLITS:
        yield from (task for task in tasks(split, level, count) if task.solvable)


def answers(task: WorldTask, level: str) -> list[list[object]]:
    """The values that each thing asked amounts to. Shape: (asked, 1 or the number of rows)."""
    results = oracle(level).results(task.plan)
    rows = [results[each.node] if each.every else results[each.node][:1] for each in task.plan.asked]
    return [[row[each.output] for row in found] for each, found in zip(task.plan.asked, rows, strict=True)]


@pytest.mark.parametrize("level", LEVELS)
def test_answers_from_the_tables_are_the_values_of_the_slots(level: str) -> None:
    for task in solvable(level):
        if task.plan.writes:
            continue
        for slot, values in zip(grader_of(task).verifier.slots, answers(task, level), strict=True):
            for own, value in zip(values, slot.values, strict=True):
                same = own == value if isinstance(value, str) else abs(own - value) <= HALF * 10**-slot.type.decimals  # type: ignore[operator]
                assert same, (task.id, task.query, slot.label, own, value)


@pytest.mark.parametrize("level", LEVELS)
def test_own_words_for_the_right_values_are_accepted_and_for_others_refused(level: str) -> None:
    for style, task in enumerate(solvable(level)):
        if task.plan.writes:
            continue
        verifier, found = grader_of(task).verifier, answers(task, level)
        kinds = [slot.type for slot in verifier.slots]
        right = [[written(kind, each, style) for each in values] for kind, values in zip(kinds, found, strict=True)]
        assert set(verifier.check(_sentence(task, right))) == {Verdict.RIGHT}, (task.query, right)
        for place, (slot, values) in enumerate(zip(verifier.slots, found, strict=True)):
            entity, _, column = slot.attribute.partition(".")
            known = task.columns.world.entities
            rows = oracle(level).table(entity).values() if slot.is_text and entity in known else ()
            wrong = spoiled(slot.type, values[-1], [row[column] for row in rows])
            if wrong in values:
                continue
            other = [*right]
            other[place] = [*right[place][:-1], written(slot.type, wrong, style)]
            assert verifier.check(_sentence(task, other))[place] is not Verdict.RIGHT, (task.query, other)


def _sentence(task: WorldTask, texts: list[list[str]]) -> str:
    labels = [slot.label for slot in grader_of(task).verifier.slots]
    return " ".join(f"The {label} is {' and '.join(each)}." for label, each in zip(labels, texts, strict=True))


@pytest.mark.parametrize("level", LEVELS)
def test_the_answer_that_vendors_write_says_the_values_from_the_tables(level: str) -> None:
    """Units and dates are read by code of the tests, so an error of a codec cannot cancel itself out."""
    for task in solvable(level):
        if task.plan.writes:
            continue
        shown = Shown(gold_answer(task))
        for asked, values in zip(task.plan.asked, answers(task, level), strict=True):
            kind = task.plan.results[asked.node].operation.outputs[asked.output].type
            assert all(shown.holds(kind, each) for each in values), (task.id, gold_answer(task), values)


@pytest.mark.parametrize("level", LEVELS)
def test_the_change_of_state_from_the_tables_solves_the_task_and_others_do_not(level: str) -> None:
    seen = 0
    for task in solvable(level):
        if not task.plan.writes:
            continue
        seen += 1
        effect = oracle(level).effect(task.plan)
        assert _is_solved(task, effect), (task.query, effect)
        assert not _is_solved(task, Effect([], {})), task.query
        for other in _others(effect):
            assert not _is_solved(task, other), (task.query, other)
    assert seen > 10


def _others(effect: Effect) -> Iterator[Effect]:
    """Effects that differ in one value, or lack one change."""
    for entity, row in effect.made:
        for name, value in row.items():
            yield Effect([(entity, row | {name: _different(value)})], effect.changed)
        yield Effect([*effect.made, (entity, row)], effect.changed)
    for key, values in effect.changed.items():
        for name, value in values.items():
            yield Effect(effect.made, effect.changed | {key: values | {name: _different(value)}})
        yield Effect(effect.made, {other: row for other, row in effect.changed.items() if other != key})


def _different(value: object) -> object:
    return value + 1 if isinstance(value, int | float) else f"{value}x"


def _is_solved(task: WorldTask, effect: Effect) -> bool:
    tracker = Tracker(task)
    made = [Change(entity, f"new-{place}", row) for place, (entity, row) in enumerate(effect.made)]
    changed = [Change(entity, row_id, row) for (entity, row_id), row in effect.changed.items()]
    tracker.changes = Changes([*made, *changed])
    return grader_of(task).grade(tracker, "Done.").solved


def test_the_tasks_of_this_test_use_every_kind_of_operation_that_tasks_have() -> None:
    counted: Values = {}
    for level in LEVELS:
        for task in solvable(level):
            for result in task.plan.results:
                counted[result.operation.kind.value] = counted.get(result.operation.kind.value, 0) + 1
    assert set(counted) == {
        "search", "details", "lookup", "list", "related", "rank", "compare", "aggregate", "compute",
        "create", "cancel", "update",
    }  # fmt: skip
    assert sum(counted.values()) > 1000


def test_the_independent_oracle_knows_every_computation_and_write() -> None:
    for name, operation in vendors("full").world.operations.items():
        if operation.kind.value == "compute" and not operation.many and name != "weather.rainy_days":
            assert name in FORMULAS
        assert (operation.kind.value == "create") == (name in SALES)

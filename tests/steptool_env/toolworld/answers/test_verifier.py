"""Answers are right in any words, and neither guesses nor lists nor copied responses pass."""

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steptool_env.toolworld import WorldTask, gold_answer
from steptool_env.toolworld.answers.mentions import Names, words_of
from steptool_env.toolworld.answers.parsing import fold, read
from steptool_env.toolworld.answers.slots import AnswerSlot, slots_of
from tests.steptool_env.toolworld.answers.verdicts import is_right, verifier
from tests.toolserver.world.worlds import suite, tasks
from toolserver.world.schema import ValueKind

SOLVABLE = [
    task
    for split, level in (
        ("train", "lite"),
        ("train", "standard"),
        ("train", "full"),
        ("depth-1", "standard"),
        ("depth-2", "standard"),
    )
    for task in tasks(split, level, 100)
    if task.solvable and not task.plan.writes
]


def single(kind: ValueKind) -> list[tuple[WorldTask, AnswerSlot]]:
    """Tasks that ask for one value of a kind."""
    found = [(task, slots_of(task)) for task in SOLVABLE]
    return [(task, slots[0]) for task, slots in found if len(slots) == 1 and slots[0].type.kind is kind]


def test_the_gold_answer_is_right_in_any_frame() -> None:
    for task in SOLVABLE:
        gold = gold_answer(task)
        for frame in (
            "{}",
            "The answer is: {}.",
            "**{}**",
            "{} (I looked it up with the tools.)",
            '{{"answer": "{}"}}',
        ):
            assert is_right(task, frame.format(gold)), (task.query, frame.format(gold))


def test_an_answer_may_repeat_the_query() -> None:
    for task in SOLVABLE:
        assert is_right(task, f"You asked: {task.query} - {gold_answer(task)}"), task.query


def test_an_empty_or_foreign_answer_is_wrong() -> None:
    for task, other in pairwise(SOLVABLE):
        assert not is_right(task, "")
        assert not is_right(task, "I could not find it.")
        if not set(map(str, slots_of(task)[0].values)) & set(map(str, slots_of(other)[0].values)):
            assert not is_right(task, gold_answer(other)), (task.query, gold_answer(other))


def test_names_are_folded() -> None:
    for task, slot in single(ValueKind.TEXT)[:20]:
        if len(slot.values) == 1:
            name = str(slot.values[0])
            assert is_right(task, f"it is {name.upper()}!")
            assert is_right(task, name.replace(" ", "-").lower())
            assert not is_right(task, name[:-2])


def test_a_list_of_candidates_is_no_answer() -> None:
    for task, slot in single(ValueKind.TEXT)[:20]:
        entity, _, column = slot.attribute.partition(".")
        rivals = [str(row[column]) for row in task.columns.world.table(entity).rows.values()]
        assert not is_right(task, ", ".join(rivals))


def test_one_missing_or_added_member_of_a_set_is_wrong() -> None:
    sets = [(task, slot) for task, slot in single(ValueKind.TEXT) if len(slot.values) > 1]
    assert sets
    for task, slot in sets[:15]:
        members = list(map(str, slot.values))
        assert is_right(task, " and ".join(reversed(members)))
        assert not is_right(task, ", ".join(members[1:]))
        entity, _, column = slot.attribute.partition(".")
        known = verifier(task).known.names
        rows = task.columns.world.table(entity).rows.values()
        others = (str(row[column]) for row in rows if fold(str(row[column])) not in known)
        assert not is_right(task, ", ".join([*members, next(others)]))


def test_numbers_may_be_grouped_and_must_be_exact() -> None:
    whole = [(task, slot) for task, slot in single(ValueKind.INTEGER) if not slot.type.unit]
    assert whole
    for task, slot in whole[:20]:
        value = int(str(slot.values[0]))
        assert is_right(task, f"{value:,}")
        assert is_right(task, f"{value}.0")
        assert not is_right(task, str(value + 1))
        assert not is_right(task, f"{value} or {value + 1}")


def test_a_quantity_may_be_stated_in_another_unit_that_is_named() -> None:
    metres = [
        (task, slot)
        for kind in (ValueKind.INTEGER, ValueKind.NUMBER)
        for task, slot in single(kind)
        if slot.type.unit == "m"
    ]
    assert metres
    for task, slot in metres[:10]:
        value = float(str(slot.values[0]))
        assert is_right(task, f"{value * 3.28084:.1f} feet")
        assert is_right(task, f"{value} m")
        assert not is_right(task, f"{value} feet")


def test_dates_are_read_in_any_style() -> None:
    dates = single(ValueKind.DATE)
    assert dates
    for task, slot in dates[:10]:
        year, month, day = str(slot.values[0]).split("-")
        for text in (
            f"{day}.{month}.{year}",
            f"{month}/{day}/{year}",
            f"{int(day)} May {year}" if month == "05" else f"{year}{month}{day}",
        ):
            assert is_right(task, f"on {text}"), text
        assert not is_right(task, f"{year}-{month}-{(int(day) % 28) + 1:02d}")
        assert not is_right(task, f"{year}-{month}-{day} or 2031-01-01")


def test_copying_a_whole_response_is_no_answer() -> None:
    numeric = [pair for kind in (ValueKind.INTEGER, ValueKind.NUMBER) for pair in single(kind)]
    copied = 0
    for task, slot in numeric:
        values = task.plan.results[slot.node].values
        asked = {slot.values[0]}
        others = {value for value in values.values() if type(value) in (int, float)} - asked
        if len(others) > 1:
            copied += 1
            assert not is_right(task, json.dumps(values)), task.query
    assert copied > 5


@given(st.text(max_size=200))
def test_any_text_can_be_checked_and_read(text: str) -> None:
    readings = read(text, compact_dates=True)
    assert all(re.fullmatch(r"\d\d:\d\d", value) for each in readings.times for value in each.values)
    assert len(verifier(SOLVABLE[0]).check(text)) == len(slots_of(SOLVABLE[0]))


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("$1,234.50 per night", [1234.5]),
        ("-3.5°C", [-3.5]),
        ("between 10 and 12 km", [10.0, 12.0]),
        ("H4821 and vendor2", []),
        ("on 2031-05-04 at 14:05", []),
        ("5 pm", []),
    ],
)
def test_numbers_are_distinguished_from_ids_dates_and_times(text: str, numbers: list[float]) -> None:
    assert [quantity.value for quantity in read(text).numbers] == numbers


def test_the_longest_name_wins() -> None:
    names = Names([("Haven", "city.name"), ("North Haven", "hotel.name")])
    found = names.find(words_of("The North Haven inn"))
    assert [dict(mention.names) for mention in found] == [{"north haven": {"hotel.name"}}]


def test_the_query_alone_is_no_answer() -> None:
    for task in SOLVABLE:
        assert not is_right(task, task.query), task.query


def test_a_suite_gives_the_golds_that_are_checked_here() -> None:
    assert suite().task(0).solution.query == tasks("train", count=1)[0].query

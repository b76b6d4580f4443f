"""An answer may tell how it was found: the numbers of its steps, in sentences, but not as candidates."""

from functools import cache
from time import process_time

import pytest

from benchmarks.toolworld.answers import read_questions
from steptool_env.toolworld import WorldTask, gold_answer
from steptool_env.toolworld.answers.parsing import fold
from steptool_env.toolworld.answers.slots import slots_of
from tests.steptool_env.toolworld.answers.verdicts import is_right, verifier
from tests.toolserver.world.worlds import LEVELS, tasks
from toolserver.world.schema import OperationKind, ValueKind

DRAWN = (("depth-3", "lite"), ("depth-2", "standard"), ("depth-3", "full"))


@cache
def stepped() -> tuple[tuple[WorldTask, str], ...]:
    """Tasks that ask for a number, each with a number that an earlier call gave and no later one used."""
    found = []
    for split, level in DRAWN:
        for task in tasks(split, level, 60):
            numbers = [slot for slot in slots_of(task) if slot.is_number]
            steps = verifier(task).known.steps.numbers
            if numbers and len(slots_of(task)) == 1 and steps:
                values = {each.value for each in verifier(task).known.values.numbers}
                values |= {float(str(slot.values[0])) for slot in numbers}
                found += [(task, f"{step.value:.10g}") for step in steps if step.value not in values]
    return tuple(found)


@pytest.mark.parametrize(
    "form",
    ["There are {0} of them. The answer is {1}.", "{1}. The first is ahead by {0}.", "With {0} points, it is {1}."],
)
def test_the_numbers_of_the_steps_may_be_stated(form: str) -> None:
    assert len(stepped()) >= 10
    judged = [is_right(task, form.format(step, gold_answer(task))) for task, step in stepped()]
    assert all(judged), [each for each, right in zip(stepped(), judged, strict=True) if not right][:3]


@pytest.mark.parametrize(
    "form", ["{0}, {1}", "{1} or {0}", "{1}; {0}", '{{"difference": {0}, "value": {1}}}', "count: {0}\nvalue: {1}",
             "- {0}\n- {1}", "It is {1}, though it might be {0}."]
)  # fmt: skip
def test_the_numbers_of_the_steps_are_no_candidates(form: str) -> None:
    for task, step in stepped():
        assert not is_right(task, form.format(step, gold_answer(task))), (task.query, step)


def test_a_calculation_from_given_values_may_tell_its_steps() -> None:
    question = next(each for each in read_questions() if "is split among 4 people" in each.task.query)
    assert is_right(question.task, "The tip is 22.50, the total is 210.00, and each of the 4 people pays 52.50 USD.")
    assert is_right(question.task, "0.12 x 187.5 = 22.5, so each pays $52.50.")
    assert not is_right(question.task, "Each pays 22.50 USD or 52.50 USD.")
    assert not is_right(question.task, "The tip is 23.50, so each of the 4 people pays 52.50 USD.")
    assert not is_right(question.task, '{"tip": 22.5, "sum": 210.0, "share": 52.5}')


def test_what_the_asked_call_gave_beside_the_answer_contradicts() -> None:
    tried = 0
    for task in (task for level in LEVELS for task in tasks("train", level, 400) if len(slots_of(task)) == 1):
        (slot,) = slots_of(task)
        result = task.plan.results[slot.node]
        if not slot.is_number or result.operation.kind is not OperationKind.DETAILS:
            continue
        known = {each.value for each in (*verifier(task).known.values.numbers, *verifier(task).known.steps.numbers)}
        for name, output in result.operation.outputs.items():
            value = result.values[name]
            if output.type.kind is ValueKind.INTEGER and output.attribute != slot.attribute and value not in known:
                tried += 1
                text = f"The {output.label} is {value}. The answer is {gold_answer(task)}."
                assert not is_right(task, text), task.query
    assert tried > 5


@cache
def counted() -> WorldTask:
    """Task that asks for a small count and for a mean."""
    (task,) = (each.task for each in read_questions() if each.task.query.startswith("How many cities does the country"))
    assert gold_answer(task) == "3; 755425.33"
    return task


def test_a_total_may_stand_beside_a_mean_whose_count_is_asked_too() -> None:
    assert is_right(counted(), "3 cities with a mean population of 755,425.33, so 2,266,276 people in total.")
    assert not is_right(counted(), "3 cities with a mean population of 755,425.33, so 2,366,276 people in total.")


@pytest.mark.parametrize(
    "hedge",
    ["Two or three", "Three or maybe four", "One, two, three or four", "Two cities or three", "Three, four",
     "The number is three. The number is four. There are", "Three cities, then four cities and five"],
)  # fmt: skip
def test_small_spelled_counts_are_alternatives_beside_a_right_number_in_digits(hedge: str) -> None:
    assert is_right(counted(), "Three cities, one of them large; their average population is 755,425.33.")
    assert not is_right(counted(), f"{hedge} cities; their average population is 755,425.33.")


def test_a_total_beside_a_mean_may_be_stated_but_not_offered() -> None:
    tried = 0
    for level in LEVELS:
        for task in tasks("train", level, 150):
            slots = slots_of(task)
            if len(slots) != 1 or task.plan.results[slots[0].node].operation.kind is not OperationKind.AGGREGATE:
                continue
            count, mean = task.plan.results[slots[0].node].values["count"], float(gold_answer(task))
            if count > 1:
                tried += 1
                total = f"{count * mean:.2f}"
                assert is_right(task, f"There are {count} with {total} in total, so {mean} each."), task.query
                assert not is_right(task, f"It is {mean} or {total}."), task.query
                assert not is_right(task, f"The mean is {total}."), task.query
                assert not is_right(task, f"They have {count * mean * 1.37:.2f} in total, so {mean} each."), task.query
    assert tried >= 5


def test_a_decimal_may_be_stated_with_fewer_digits_where_that_changes_little() -> None:
    tried = 0
    for level in ("standard", "full"):
        for task in tasks("train", level, 250):
            slots = slots_of(task)
            if (
                len(slots) != 1
                or slots[0].type.kind is not ValueKind.NUMBER
                or slots[0].type.unit
                or slots[0].is_difference
            ):
                continue
            value = float(str(slots[0].values[0]))
            shorter = round(value, slots[0].type.decimals - 1)
            step = 10.0 ** (1 - slots[0].type.decimals)
            if shorter != value and step <= 0.002 * abs(value):
                tried += 1
                assert is_right(task, f"It is {shorter}."), task.query
                more = f"{shorter + 2 * step:.{slots[0].type.decimals - 1}f}"  # 146965.0, for 146965 may be right
                assert not is_right(task, f"It is {more}."), task.query
            elif 2 * step > 0.01 * abs(value) and abs(shorter - value) > 0.11 * step:
                assert not is_right(task, f"It is {shorter}."), task.query
    assert tried >= 3


def test_an_amount_in_the_currency_that_was_compared_contradicts() -> None:
    tried = 0
    for level in ("standard", "full"):
        for task in tasks("train", level, 400):
            slots = slots_of(task)
            if len(slots) == 1 and slots[0].type.name == "foreign_money" and slots[0].currency_names:
                value, (own, *_) = slots[0].values[0], sorted(slots[0].currency_names)
                others = verifier(task).known.names & names_of_currencies(task) - slots[0].currency_names
                assert is_right(task, f"It is {value} {own}."), task.query
                for other in others:
                    tried += 1
                    assert not is_right(task, f"It is {value} {other}."), task.query
                    assert is_right(task, f"Of these, not {other}: it is {value} {own}."), task.query
    assert tried


def names_of_currencies(task: WorldTask) -> frozenset[str]:
    return frozenset(fold(str(row["name"])) for row in task.columns.world.table("currency").rows.values())


@pytest.mark.parametrize(
    ("start", "moment"), [("On what date does the event", "June 8, 2031 "), ("From what time can guests", "14:05 ")]
)
def test_a_moment_that_is_repeated_takes_time_in_proportion_to_the_answer(start: str, moment: str) -> None:
    task = next(each.task for each in read_questions() if each.task.query.startswith(start))
    begin = process_time()
    assert is_right(task, moment * 10_000)
    assert process_time() - begin < 5

"""An answer may tell how it was found: the numbers of its steps, in sentences, but not as candidates."""

from functools import cache

import pytest

from tests.world.answer_corpus import questions
from tests.world.worlds import tasks
from toolserver.world.schema import Kind, OperationKind
from toolserver.world.tasks import WorldTask, gold_answer
from toolserver.world.tasks.slots import slots_of
from toolserver.world.tasks.verify import Verdict, Verifier

DRAWN = (("depth-3", "lite"), ("depth-2", "standard"), ("depth-3", "full"))


@cache
def verifier(task: WorldTask) -> Verifier:
    return Verifier(task)


def is_right(task: WorldTask, answer: str) -> bool:
    return all(each is Verdict.RIGHT for each in verifier(task).check(answer))


@cache
def stepped() -> tuple[tuple[WorldTask, str], ...]:
    """Tasks that ask for a number, each with a number that an earlier call gave and no later one used."""
    found = []
    for split, level in DRAWN:
        for task in tasks(split, level, 60):
            numbers = [slot for slot in slots_of(task) if slot.is_number]
            steps = verifier(task).known.steps.numbers
            if numbers and len(slots_of(task)) == 1 and steps:
                values = {each.value for each in verifier(task).known.said.numbers}
                values |= {float(str(slot.values[0])) for slot in numbers}
                found += [(task, f"{step.value:.10g}") for step in steps if step.value not in values]
    return tuple(found)


@pytest.mark.parametrize(
    "form",
    ["There are {0} of them. The answer is {1}.", "{1}. The first is ahead by {0}.", "With {0} points, it is {1}."],
)
def test_the_numbers_of_the_steps_may_be_told(form: str) -> None:
    assert len(stepped()) >= 10
    told = [is_right(task, form.format(step, gold_answer(task))) for task, step in stepped()]
    assert all(told), [each for each, right in zip(stepped(), told, strict=True) if not right][:3]


@pytest.mark.parametrize(
    "form", ["{0}, {1}", "{1} or {0}", "{1}; {0}", '{{"difference": {0}, "value": {1}}}', "count: {0}\nvalue: {1}",
             "- {0}\n- {1}", "It is {1}, though it might be {0}."]
)  # fmt: skip
def test_the_numbers_of_the_steps_are_no_candidates(form: str) -> None:
    for task, step in stepped():
        assert not is_right(task, form.format(step, gold_answer(task))), (task.query, step)


def test_a_calculation_from_given_values_may_tell_its_steps() -> None:
    question = next(each for each in questions() if "is split among 4 people" in each.task.query)
    assert is_right(question.task, "The tip is 22.50, the total is 210.00, and each of the 4 people pays 52.50 USD.")
    assert is_right(question.task, "0.12 x 187.5 = 22.5, so each pays $52.50.")
    assert not is_right(question.task, "Each pays 22.50 USD or 52.50 USD.")
    assert not is_right(question.task, "The tip is 23.50, so each of the 4 people pays 52.50 USD.")
    assert not is_right(question.task, '{"tip": 22.5, "sum": 210.0, "share": 52.5}')


def test_what_the_asked_call_gave_beside_the_answer_contradicts() -> None:
    tried = 0
    for task in (task for split, level in DRAWN for task in tasks(split, level, 60) if len(slots_of(task)) == 1):
        (slot,) = slots_of(task)
        result = task.plan.results[slot.node]
        if not slot.is_number or result.operation.kind is not OperationKind.DETAILS:
            continue
        known = {each.value for each in (*verifier(task).known.said.numbers, *verifier(task).known.steps.numbers)}
        for name, output in result.operation.outputs.items():
            value = result.values[name]
            if output.type.kind is Kind.INTEGER and output.attribute != slot.attribute and value not in known:
                tried += 1
                told = f"The {output.label} is {value}. The answer is {gold_answer(task)}."
                assert not is_right(task, told), task.query
    assert tried > 5

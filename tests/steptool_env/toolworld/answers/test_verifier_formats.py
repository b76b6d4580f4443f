"""The right value passes however it is written, and in no other unit than its own."""

from collections.abc import Callable
from datetime import date, time
from functools import cache
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from benchmarks.toolworld.answers import Question, read_questions
from steptool_env.toolworld import WorldTask
from steptool_env.toolworld.answers.slots import AnswerSlot, Verdict, slots_of
from tests.steptool_env.toolworld.answers.adversaries import OWN, UNITS
from tests.steptool_env.toolworld.answers.verdicts import is_right, verifier
from tests.toolserver.world.worlds import tasks
from toolserver.world.schema import SemanticType, ValueKind

FRAMES = (
    "{}",
    "**{}**",
    "`{}`",
    "The answer is {}.",
    "Answer: {}",
    "- {}",
    "## Result\n\n{}",
    "1. I called the tools.\n2. The result is {}.",
    "```\n{}\n```",
    '{{"answer": "{}"}}',
    "| answer |\n|---|\n| {} |",
    "I believe it is {}",
    "Final answer: {}!",
    "\\boxed{{{}}}",
)
GROUPS = (",", " ", "\u00a0", "\u202f", "'", "’")

SPELLED = {
    "km": (("km", 1.0), ("kilometres", 1.0), ("kilometers", 1.0), ("miles", 0.6213712), ("m", 1000.0)),
    "m": (("m", 1.0), ("metres", 1.0), ("meters", 1.0), ("feet", 3.2808399), ("ft", 3.2808399), ("cm", 100.0)),
    "mm": (("mm", 1.0), ("millimetres", 1.0), ("inches", 0.0393701), ("cm", 0.1)),
    "kg": (("kg", 1.0), ("kilograms", 1.0), ("kilos", 1.0), ("g", 1000.0), ("pounds", 2.2046226), ("lb", 2.2046226)),
    "g": (("g", 1.0), ("grams", 1.0), ("mg", 1000.0), ("ounces", 0.0352740)),
    "min": (("min", 1.0), ("minutes", 1.0), ("seconds", 60.0), ("hours", 1 / 60)),
    "days": (("days", 1.0), ("hours", 24.0)),
    "km/h": (("km/h", 1.0), ("kilometres per hour", 1.0), ("mph", 0.6213712), ("m/s", 1 / 3.6), ("knots", 0.5399568)),
    "kcal": (("kcal", 1.0), ("kilocalories", 1.0), ("kJ", 4.184)),
    "USD": (("USD", 1.0), ("dollars", 1.0), ("US dollars", 1.0), ("cents", 100.0)),
    "%": (("%", 1.0), ("percent", 1.0), ("per cent", 1.0)),
}
"""Base unit -> the words for it and for units that it can be converted into, each with its factor."""


@cache
def single(*kinds: ValueKind) -> tuple[tuple[WorldTask, AnswerSlot], ...]:
    """Tasks that ask for one value of a kind: of training, and of the corpus, for few of training ask for a moment."""
    drawn = [task for level in ("lite", "standard") for task in tasks("train", level, 400)]
    found = [(task, slots_of(task)) for task in (*drawn, *(question.task for question in read_questions()))]
    return tuple(
        (task, slots[0])
        for task, slots in found
        if len(slots) == 1 and len(slots[0].values) == 1 and slots[0].type.kind in kinds
    )


def drawn(
    *kinds: ValueKind, where: Callable[[WorldTask, AnswerSlot], bool] | None = None
) -> st.SearchStrategy[tuple[WorldTask, AnswerSlot]]:
    """A task that asks for one value of a kind."""
    return st.deferred(lambda: st.sampled_from([each for each in single(*kinds) if where is None or where(*each)]))


def has_unit(task: WorldTask, slot: AnswerSlot) -> bool:
    return slot.type.unit in SPELLED


def takes_hours(task: WorldTask, slot: AnswerSlot) -> bool:
    return slot.type.unit == "min" and int(str(slot.values[0])) >= 60


def is_large(task: WorldTask, slot: AnswerSlot) -> bool:
    return isinstance(slot.values[0], int) and slot.values[0] >= 100_000


def is_out_of_five(task: WorldTask, slot: AnswerSlot) -> bool:
    """Return True for a rating of a column whose scale ends at 5."""
    entity, _, name = slot.attribute.partition(".")
    entities = task.columns.world.entities
    if slot.type.name != "rating" or entity not in entities or "." in name:
        return False
    return max(row[name] for row in task.columns.world.table(entity).rows.values()) <= 5


def grouped(value: Any, separator: str, mark: str = ".") -> str:
    """A number with its thousands set apart."""
    whole, _, decimals = f"{value:,}".partition(".")
    return whole.replace(",", separator) + (f"{mark}{decimals}" if decimals else "")


@given(
    drawn(ValueKind.TEXT, ValueKind.DATE, ValueKind.TIME, ValueKind.INTEGER, ValueKind.NUMBER), st.sampled_from(FRAMES)
)
def test_a_frame_changes_nothing(asked: tuple[WorldTask, AnswerSlot], frame: str) -> None:
    task, slot = asked
    assert is_right(task, frame.format(slot.values[0])), task.query


@given(drawn(ValueKind.TEXT), st.sampled_from((str.lower, str.upper, str.title)), st.sampled_from(FRAMES))
def test_a_name_may_be_written_in_any_case(
    asked: tuple[WorldTask, AnswerSlot], write: Callable[[str], str], frame: str
) -> None:
    task, slot = asked
    name = str(slot.values[0])
    assert is_right(task, frame.format(write(name))), task.query
    assert is_right(task, frame.format(f"“{name}”")), task.query
    assert is_right(task, frame.format(name.removeprefix("The "))), task.query


@given(drawn(ValueKind.INTEGER, ValueKind.NUMBER), st.sampled_from(GROUPS), st.sampled_from(FRAMES))
def test_digits_may_be_grouped_in_any_way(asked: tuple[WorldTask, AnswerSlot], separator: str, frame: str) -> None:
    task, slot = asked
    assert is_right(task, frame.format(grouped(slot.values[0], separator))), task.query


@given(drawn(ValueKind.NUMBER), st.sampled_from(FRAMES))
def test_a_decimal_comma_is_read(asked: tuple[WorldTask, AnswerSlot], frame: str) -> None:
    task, slot = asked
    value = slot.values[0]
    assume(len(str(value).partition(".")[2]) < 3)  # "1,234" is one thousand to most readers
    unit = OWN.get(slot.type.unit, slot.type.unit)
    assert is_right(task, frame.format(f"{str(value).replace('.', ',')} {unit}".strip())), task.query
    if abs(float(str(value))) >= 1000:
        assert is_right(task, frame.format(f"{grouped(value, '.', ',')} {unit}".strip())), task.query


@given(drawn(ValueKind.INTEGER, ValueKind.NUMBER, where=has_unit), st.sampled_from(FRAMES), st.data())
def test_a_unit_may_be_spelled_out_and_converted(
    asked: tuple[WorldTask, AnswerSlot], frame: str, data: st.DataObject
) -> None:
    task, slot = asked
    word, factor = data.draw(st.sampled_from(SPELLED[slot.type.unit]))
    stated = round(float(str(slot.values[0])) * factor, 6)
    assert is_right(task, frame.format(f"{stated:,} {word}")), (task.query, stated, word)


@given(drawn(ValueKind.INTEGER, where=takes_hours), st.sampled_from(FRAMES))
def test_minutes_may_be_stated_in_hours_and_minutes(asked: tuple[WorldTask, AnswerSlot], frame: str) -> None:
    task, slot = asked
    hours, minutes = divmod(int(str(slot.values[0])), 60)
    for text in (f"{hours} hours and {minutes} minutes", f"{hours} h {minutes} min", f"{hours}h {minutes:02d}m"):
        assert is_right(task, frame.format(text)), (task.query, text)


@given(drawn(ValueKind.INTEGER, where=is_large), st.sampled_from(FRAMES))
def test_a_large_number_may_be_stated_in_millions(asked: tuple[WorldTask, AnswerSlot], frame: str) -> None:
    task, slot = asked
    value = int(str(slot.values[0]))
    assert is_right(task, frame.format(f"{value / 1e6:.6f}".rstrip("0").rstrip(".") + " million")), task.query
    assert not is_right(task, frame.format(f"{value:,} million")), task.query


@given(drawn(ValueKind.NUMBER, where=is_out_of_five), st.sampled_from(FRAMES))
def test_a_rating_may_name_its_scale(asked: tuple[WorldTask, AnswerSlot], frame: str) -> None:
    task, slot = asked
    for text in ("{}/5", "{} / 5", "{} out of 5", "{} out of 5 stars", "{} stars"):
        assert is_right(task, frame.format(text.format(slot.values[0]))), (task.query, text)


DATES = (
    "%Y-%m-%d",
    "%d.%m.%Y",
    "%m/%d/%Y",
    "%Y/%m/%d",
    "%B %d, %Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%A, %B %d, %Y",
    "%a %d %b %Y",
    "%Y-%m-%dT00:00:00",
)


@given(drawn(ValueKind.DATE), st.sampled_from(DATES), st.sampled_from(FRAMES))
def test_a_date_may_be_written_in_any_style(asked: tuple[WorldTask, AnswerSlot], style: str, frame: str) -> None:
    task, slot = asked
    day = date.fromisoformat(str(slot.values[0]))
    assert is_right(task, frame.format(day.strftime(style))), (task.query, day.strftime(style))


TIMES = ("%H:%M", "%I:%M %p", "%H:%M:%S", "%Hh%M", "%H:%M Uhr")


@given(drawn(ValueKind.TIME), st.sampled_from(TIMES), st.sampled_from(FRAMES))
def test_a_time_may_be_written_in_any_style(asked: tuple[WorldTask, AnswerSlot], style: str, frame: str) -> None:
    task, slot = asked
    moment = time.fromisoformat(str(slot.values[0]))
    assert is_right(task, frame.format(moment.strftime(style))), (task.query, moment.strftime(style))


@given(drawn(ValueKind.INTEGER, ValueKind.NUMBER, where=has_unit), st.sampled_from(FRAMES))
def test_a_unit_of_another_dimension_contradicts(asked: tuple[WorldTask, AnswerSlot], frame: str) -> None:
    task, slot = asked
    assume(slot.values[0])  # nothing is nothing in any unit
    own = {word for word, _ in SPELLED[slot.type.unit]}
    dimension = next(name for name, units in DIMENSIONS.items() if slot.type.unit in units)
    foreign = [unit for unit in UNITS if unit not in own | set(DIMENSIONS[dimension])]
    for unit in foreign:
        assert not is_right(task, frame.format(f"{slot.values[0]} {unit}")), (task.query, unit)


DIMENSIONS = {
    "length": ("km", "m", "mm", "inches", "feet", "miles", "light years"),
    "mass": ("kg", "g", "tonnes", "ounces"),
    "time": ("min", "hours", "minutes", "seconds", "days", "weeks"),
    "money": ("USD",),
    "speed": ("km/h", "m/s", "knots"),
    "share": ("%",),
    "energy": ("kcal", "kJ"),
    "temperature": ("C", "°C", "°F"),
}


SIGNS = "0123456789.,'’ \u202f\n-−+×^/%$€£:;()°²eEkKmMhBs½⁴"


@given(st.sampled_from(read_questions()), st.text(alphabet=SIGNS, max_size=120))
def test_any_heap_of_digits_and_signs_gets_a_verdict(question: Question, text: str) -> None:
    assert len(verifier(question.task).check(text)) == len(slots_of(question.task))


@pytest.mark.parametrize(
    "text",
    [
        "1" + "0" * 320, "about 1" + "0" * 320, "1" + ",000" * 103, "9" * 5000,
        "1e99" + "0" * 400,
        *(f"{'9' * length} h 5" for length in (400, 5000)), f"5 out of {'9' * 400}", f"5 per {'9' * 400} g",
    ],
)  # fmt: skip
def test_a_number_beyond_floating_point_states_nothing(text: str) -> None:
    for question in read_questions():
        assert Verdict.RIGHT not in verifier(question.task).check(text)


def explained(task: WorldTask) -> str:
    """The reference solution written call by call, with what goes in and what comes out, and the answer at its end."""
    plan, lines = task.plan, []
    for number, (node, api, result) in enumerate(zip(plan.nodes, task.toolset.bound, plan.results, strict=True)):
        inputs = result.operation.inputs
        given = (f"{name} = {with_unit(plan.value(source), inputs[name].type)}" for name, source in node.inputs.items())
        used = plan.used_outputs(number)
        found = (f"{name} = {with_unit(result.values[name], result.operation.outputs[name].type)}" for name in used)
        lines.append(f"{number + 1}. {api.spec.function_name}({', '.join(given)}) gave {', '.join(found)}.")
    parts = (", ".join(with_unit(value, slot.type) for value in slot.values) for slot in slots_of(task))
    return "\n".join([*lines, "", f"So the answer is: {'; '.join(parts)}"])


def with_unit(value: Any, kind: SemanticType) -> str:
    return f"{value} {OWN.get(kind.unit, kind.unit)}".strip()


@pytest.mark.parametrize("level", ["lite", "standard"])
@pytest.mark.parametrize("split", ["train", "G3_instruction", "depth-4"])
def test_an_answer_may_explain_itself(split: str, level: str) -> None:
    for task in tasks(split, level, 40):
        if task.solvable and not task.plan.writes:
            assert is_right(task, explained(task)), (task.id, explained(task))


@pytest.mark.parametrize("kind", [ValueKind.TEXT, ValueKind.DATE, ValueKind.TIME, ValueKind.INTEGER, ValueKind.NUMBER])
def test_there_are_tasks_of_every_kind(kind: ValueKind) -> None:
    assert len(single(kind)) >= 4

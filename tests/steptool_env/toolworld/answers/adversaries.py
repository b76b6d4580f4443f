"""Agents that cheat by their answer alone: they know too little, or say too much, and must not be rewarded.

An adversary sees an honest run of the gold solution's calls, or a part of it, and then says what might pass. Some even
know the right value and state it so that no reader could tell: beside a rival, or in a wrong unit.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from steptool_env.toolworld import Oracle, Tracker, WorldTask, gold_answer, grader_of
from steptool_env.toolworld.answers.mentionable import MentionableFacts
from steptool_env.toolworld.answers.slots import AnswerSlot, slots_of
from steptool_env.toolworld.planning.plan import Asked
from toolserver.catalog.api_schema import Outcome, Provenance
from toolserver.world.schema import ValueKind
from toolserver.world.vendors.value_codecs import codec_of

NUMERIC = (ValueKind.INTEGER, ValueKind.NUMBER)
OPEN = (ValueKind.TEXT, ValueKind.INTEGER, ValueKind.NUMBER, ValueKind.DATE, ValueKind.TIME)

UNITS = (
    "km", "m", "mm", "inches", "feet", "miles", "light years", "kg", "g", "tonnes", "ounces", "hours", "minutes",
    "seconds", "days", "weeks", "USD", "EUR", "GBP", "yen", "°C", "°F", "km/h", "m/s", "knots", "%", "kcal", "kJ",
    "litres", "million", "billion",
)  # fmt: skip
"""Units and magnitude words that an answer may name."""

OWN = {"C": "°C", "min": "minutes"}
"""The words for the world's units, where they are not the symbols."""

_PAGING = frozenset({"total", "page", "totalpages"})


@dataclass(frozen=True)
class Run:
    """An honest run of calls of a task.

    Attributes:
        task: Task of the run.
        tracker: Tracker of the calls.
        responses: JSON values of the responses.
    """

    task: WorldTask
    tracker: Tracker
    responses: tuple[Any, ...]

    def solves(self, answer: str) -> bool:
        """Return True if the task is solved by this run and answer."""
        return grader_of(self.task).grade(self.tracker, answer).solved

    @cached_property
    def leaves(self) -> list[tuple[str, Any]]:
        """The keys and values of all responses, but for how many rows and pages there are."""
        found = (leaf for response in self.responses for leaf in _leaves("", response))
        return [(key, value) for key, value in found if key.lower().replace("-", "").replace("_", "") not in _PAGING]

    @cached_property
    def slots(self) -> tuple[AnswerSlot, ...]:
        """Slots of the task."""
        return slots_of(self.task)

    @cached_property
    def stated(self) -> frozenset[str]:
        """The values that pass between the calls, as text: an answer may explain itself by them."""
        plan = self.task.plan
        given = {str(value) for node in range(len(plan.nodes)) for value in plan.arguments(node).values()}
        shown = {
            str(self.shown(Asked(node, output)))
            for node in range(len(plan.nodes))
            for output in plan.used_outputs(node)
        }
        return frozenset(given | shown | set(gold_answer(self.task).split("; ")))

    def shown(self, asked: Asked) -> Any:
        """One output of the first row of a node, as the called vendor writes it."""
        plan = self.task.plan
        kind = plan.results[asked.node].operation.outputs[asked.output].type
        encode = codec_of(kind, self.task.toolset.bound[asked.node].vendor.style.values).encode
        value = plan.results[asked.node].rows[0].values[asked.output]
        return value if encode is None else encode(value)

    def is_rival(self, slot: AnswerSlot, value: Any) -> bool:
        """Return True if a reader takes a value for another answer to a slot.

        Numbers that pass between the calls are left out, and names in the query.
        """
        text = str(value)
        if any(text == str(right) for right in slot.values):
            return False
        if slot.type.kind in NUMERIC:
            number = _number(value)
            known = [_number(each) for each in (*self.stated, *slot.values, *self.task.query.split())]
            return number is not None and all(
                abs(number - each) > max(0.5, 0.005 * abs(each)) for each in known if each is not None
            )
        return text in map(str, self.column(slot)) and text not in self.task.query

    def is_foreign(self, slot: AnswerSlot, value: Any) -> bool:
        """Return True for a rival that no explanation needs: a number, or a name outside the gold solution."""
        return self.is_rival(slot, value) and (slot.type.kind in NUMERIC or str(value) not in self._met)

    @cached_property
    def _met(self) -> frozenset[str]:
        results = self.task.plan.results
        return frozenset(str(value) for result in results for value in result.rows[0].values.values())

    def column(self, slot: AnswerSlot) -> list[Any]:
        """The values of a slot's column, each once; none where it is of no table."""
        entity, _, name = slot.attribute.partition(".")
        world = self.task.columns.world
        if entity not in world.entities or "." in name:
            return []
        return list(dict.fromkeys(row[name] for row in world.table(entity).rows.values()))

    def with_slot(self, changed: AnswerSlot, text: str) -> str:
        """The right answer but for one slot."""
        return "; ".join(text if slot is changed else ", ".join(map(worded(slot), slot.values)) for slot in self.slots)


Adversary = Callable[[Run], Iterator[str]]
"""Answers to try after a run; empty if the task offers no occasion."""


def play(task: WorldTask, calls: int | None = None) -> Run:
    """The gold solution's calls: all, or the first ones."""
    world, tracker, oracle = task.columns.world, Tracker(task), Oracle(task)
    responses: list[Any] = []
    while calls is None or len(responses) < calls:
        call = oracle.next_call()
        if call is None:
            break
        answer = call.api.answer(world, call.arguments, tracker.changes)
        tracker.record_call(call.api, call.arguments)
        oracle.observe(call, answer.outcome is Outcome.OK, answer.response, Provenance.WORLD)
        responses.append(answer.response)
    return Run(task, tracker, tuple(responses))


def worded(slot: AnswerSlot) -> Callable[[Any], str]:
    """Writes a value of a slot with its unit."""
    unit = OWN.get(slot.type.unit, slot.type.unit)
    return lambda value: f"{value} {unit}".strip()


def says_nothing(run: Run) -> Iterator[str]:
    """Texts that answer no question."""
    yield from ("", "Yes and no.", "I could not find it.", "Done.", run.task.query)


def echoes_numbers(run: Run) -> Iterator[str]:
    """Every number that was seen, where one is not the answer's nor the query's."""
    numbers = [value for _, value in run.leaves if _number(value) is not None]
    if any(slot.type.kind in NUMERIC and run.is_rival(slot, each) for slot in run.slots for each in numbers):
        yield "; ".join(map(str, numbers))


def echoes_texts(run: Run) -> Iterator[str]:
    """Every text that was seen, where one is foreign."""
    texts = [value for _, value in run.leaves if isinstance(value, str)]
    if any(slot.type.kind is ValueKind.TEXT and run.is_foreign(slot, each) for slot in run.slots for each in texts):
        yield "; ".join(texts)


def copies_responses(run: Run) -> Iterator[str]:
    """All responses as they are, where they hold something foreign that no explanation needs."""
    foreign = [value for _, value in run.leaves if value not in _explaining(run)]
    if any(run.is_foreign(slot, value) for slot in run.slots if slot.type.kind in OPEN for value in foreign):
        yield "\n".join(map(json.dumps, run.responses))


def _explaining(run: Run) -> set[float]:
    """Numbers of the steps to the answer, which a right answer may tell."""
    known = MentionableFacts(run.task)
    return {each.value for each in (*known.values.numbers, *known.steps.numbers)}


def tells_responses(run: Run) -> Iterator[str]:
    """All that was seen, in sentences, where the asked call gave a number that no explanation needs."""
    seen = {str(value) for _, value in run.leaves}
    explained = _explaining(run)
    for slot in (slot for slot in run.slots if slot.type.kind in NUMERIC):
        given = [value for row in run.task.plan.results[slot.node].rows for value in row.values.values()]
        if any(run.is_rival(slot, value) and str(value) in seen and value not in explained for value in given):
            yield " ".join(f"The {key} is {value}." for key, value in run.leaves)


def hedges_between_seen(run: Run) -> Iterator[str]:
    """Two candidates that were seen for a slot, and all numbers beside them."""
    numbers = " ".join(str(value) for _, value in run.leaves if _number(value) is not None)
    for slot in run.slots:
        if slot.type.kind is not ValueKind.TEXT or len(slot.values) > 1:
            continue
        column = set(map(str, run.column(slot)))
        seen = list(dict.fromkeys(str(value) for _, value in run.leaves if str(value) in column))
        if len(seen) > 1:
            yield f"{seen[-1]} or {seen[-2]}; {numbers}"
            yield f"Either {seen[0]} or {seen[-1]}"


def lists_the_column(run: Run) -> Iterator[str]:
    """The right value among the others of its column."""
    for slot in run.slots:
        others = [value for value in run.column(slot) if slot.type.kind in OPEN and run.is_rival(slot, value)]
        if len(others) > 1:
            yield run.with_slot(slot, "; ".join(map(str, [*others[:12], *slot.values, *others[12:24]])))


def adds_a_second_row(run: Run) -> Iterator[str]:
    """The right value and another row's: one that was seen, if there is any."""
    seen = {str(value) for _, value in run.leaves}
    for slot in run.slots:
        if slot.type.kind not in OPEN:
            continue
        others = [value for value in run.column(slot) if run.is_rival(slot, value)]
        for other in sorted(others, key=lambda value: str(value) not in seen)[:3]:
            right, second = ", ".join(map(worded(slot), slot.values)), worded(slot)(other)
            yield run.with_slot(slot, f"{right} or {second}")
            yield run.with_slot(slot, f"{second} or {right}")
            yield run.with_slot(slot, f"It is {right}, though it might also be {second}.")
            if run.is_foreign(slot, other):
                yield from (
                    run.with_slot(slot, f"{right}{comma}{second}") for comma in (", ", "\n- ", " and ", " (", "; ")
                )


def swaps_units(run: Run) -> Iterator[str]:
    """The right number in every unit but its own."""
    for slot in run.slots:
        own = OWN.get(slot.type.unit, slot.type.unit)
        value = slot.values[0]
        if slot.type.kind not in NUMERIC or abs(float(str(value))) < _FAR_FROM_ZERO:
            continue
        if own or slot.type.name == "count":  # a rating or a factor has no unit, but may be written in several ways
            yield from (
                run.with_slot(slot, f"{value} {unit}") for unit in UNITS if unit not in (own, *slot.label.split())
            )


ADVERSARIES: tuple[Adversary, ...] = (
    says_nothing,
    echoes_numbers,
    echoes_texts,
    copies_responses,
    tells_responses,
    hedges_between_seen,
    lists_the_column,
    adds_a_second_row,
    swaps_units,
)

KNOWING: frozenset[Adversary] = frozenset({lists_the_column, adds_a_second_row, swaps_units})
"""Those that know the right value, whatever was called."""

_FAR_FROM_ZERO = 20  # below, half a digit of tolerance lets neighbouring units agree: 3 yards are 3 metres


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _leaves(name, each)
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(key, each)
    elif value is not None and not isinstance(value, bool):
        yield key, value


def _number(value: Any) -> float | None:
    try:
        return float(str(value).strip("?.,;:!%$()"))
    except ValueError:
        return None

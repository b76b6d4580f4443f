"""Whether an answer is right: every required slot stated, and nothing stated that contradicts one.

A slot is contradicted by a rival: another name of the same kind, another number, date or time. What the query says and
what the gold solution came across on its way is no rival, so an answer may explain itself; a list of candidates is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from functools import cached_property

from toolserver.world.schema import Kind, Row
from toolserver.world.tasks.gold import WorldTask
from toolserver.world.tasks.plan import Plan
from toolserver.world.tasks.reading import Quantity, Readings, fold, longest_first, names_in, read, without_names
from toolserver.world.tasks.slots import AnswerSlot, slots_of

_NAMING = (Kind.TEXT, Kind.ID)
_YES, _NO = frozenset({"yes", "true", "allowed"}), frozenset({"no", "false", "not"})


class Verdict(StrEnum):
    """What an answer does with one slot."""

    RIGHT = "right"
    MISSING = "missing"
    CONTRADICTED = "contradicted"


class Known:
    """What an answer to a task may mention beside its slots. Each part is found out when it is first asked for.

    It is what the query says, and what passed between the calls of the gold solution. Values that a call gave and
    nobody asked for are not known: an answer that copies whole responses is no answer.

    Args:
        task: The task.
    """

    def __init__(self, task: WorldTask) -> None:
        self._task = task

    @cached_property
    def _texts(self) -> dict[str, None]:
        return dict.fromkeys(_texts(self._task.plan))

    @cached_property
    def names(self) -> frozenset[str]:
        """The folded names."""
        return frozenset(map(fold, self._texts))

    @cached_property
    def texts(self) -> Sequence[str]:
        """The names as they are spelled, and ids, longest first; digits in them are not read as numbers."""
        return longest_first(text for text in self._texts if any(map(str.isalpha, text)))

    @cached_property
    def said(self) -> Readings:
        """The dates, times and numbers. A right answer states no others than its own, and does not ask for them."""
        spoken = [self._task.query, *_values(self._task.plan), *self._texts]
        return read(without_names(" ; ".join(spoken), self.texts))


class Verifier:
    """Checks the answers to one task. Holds no state of an episode.

    Args:
        task: The task.

    Attributes:
        slots: What an answer must state.
        known: What it may mention.
    """

    def __init__(self, task: WorldTask) -> None:
        self.slots = slots_of(task)
        self._columns = task.columns
        self.known = Known(task)
        self._numeric = [slot for slot in self.slots if slot.type.kind in (Kind.INTEGER, Kind.NUMBER)]
        self._dated = any(slot.type.kind is Kind.DATE for slot in self.slots)
        self._worded = all(slot.is_text for slot in self.slots)
        self._values = frozenset(fold(str(value)) for slot in self.slots for value in slot.values if slot.is_text)

    def check(self, answer: str) -> tuple[Verdict, ...]:
        """The verdict on each slot. Shape: (slots,)."""
        if self._worded:
            return tuple(self._text(slot, answer) for slot in self.slots)
        readings = read(without_names(answer, self.known.texts), compact_dates=self._dated)
        has_rival = self._has_rival(readings.numbers)
        return tuple(
            self._text(slot, answer) if slot.is_text else self._value(slot, answer, readings, has_rival)
            for slot in self.slots
        )

    def _text(self, slot: AnswerSlot, answer: str) -> Verdict:
        wanted = {fold(str(value)) for value in slot.values}
        enumerated = slot.type.kind is Kind.ENUM
        rivals = frozenset(map(fold, slot.type.values)) if enumerated else self._columns.folded(slot.attribute)
        # Known names are looked for, too, so that a rival inside a longer known name is not seen.
        others = self.known.names | self._values
        stated = names_in(answer, rivals, others)
        if (stated & rivals) - wanted - others:
            return Verdict.CONTRADICTED
        return Verdict.RIGHT if wanted <= stated else Verdict.MISSING

    def _value(self, slot: AnswerSlot, answer: str, readings: Readings, has_rival: bool) -> Verdict:
        """The verdict on a slot that is not of text. `has_rival`: the answer states a number that contradicts all."""
        kind, value = slot.type.kind, slot.values[0]
        if kind is Kind.DATE:
            others = [each for each in readings.dates if str(value) not in each]
            return _verdict(len(others) < len(readings.dates), any(self._is_new_date(each) for each in others))
        if kind is Kind.TIME:
            others_of_time = [each for each in readings.times if each != value]
            new = any(each not in self.known.said.times for each in others_of_time)
            return _verdict(len(others_of_time) < len(readings.times), new)
        if kind is Kind.BOOLEAN:
            return _flag(slot, fold(answer))
        if has_rival:
            return Verdict.CONTRADICTED
        return Verdict.RIGHT if any(slot.matches(each) for each in readings.numbers) else Verdict.MISSING

    def _has_rival(self, stated: Sequence[Quantity]) -> bool:
        """Numbers compete with each other: one that no slot, nor the query, accounts for contradicts them all."""
        others = [each.value for each in stated if not any(slot.matches(each) for slot in self._numeric)]
        return bool(others) and not {known.value for known in self.known.said.numbers}.issuperset(others)

    def _is_new_date(self, readings: frozenset[str]) -> bool:
        return not any(readings & known for known in self.known.said.dates)


def _verdict(found: bool, contradicted: bool) -> Verdict:
    if contradicted:
        return Verdict.CONTRADICTED
    return Verdict.RIGHT if found else Verdict.MISSING


def _flag(slot: AnswerSlot, folded: str) -> Verdict:
    words = set(folded.split())
    yes, no = bool(words & _YES), bool(words & _NO)
    if no:
        yes = False  # "not allowed"
    if not yes and not no:
        return Verdict.MISSING
    return Verdict.RIGHT if yes == slot.values[0] else Verdict.CONTRADICTED


def _texts(plan: Plan) -> Iterator[str]:
    """The names and ids that passed between the calls: texts among the arguments, in the rows that count, and of them.

    Node by node, as do `_values`, so that what is said is said in one order.
    """
    for node, result in enumerate(plan.results):
        outputs = result.operation.outputs
        for value in plan.arguments(node).values():
            if isinstance(value, str):
                yield value
        for row in _rows(plan, node):
            yield row.entity
            for name, value in row.values.items():
                if outputs[name].type.kind in _NAMING:
                    yield str(value)


def _values(plan: Plan) -> Iterator[str]:
    """The other values that passed between the calls."""
    for node, result in enumerate(plan.results):
        outputs, used = result.operation.outputs, plan.used_outputs(node)
        yield from (str(value) for value in plan.arguments(node).values() if not isinstance(value, str))
        for row in _rows(plan, node):
            for name, value in row.values.items():
                if name in used and outputs[name].type.kind not in _NAMING:
                    yield str(value)


def _rows(plan: Plan, node: int) -> Sequence[Row]:
    """The rows of a node's result that count: all where all are asked, else the first."""
    every = any(asked.node == node and asked.every for asked in plan.asked)
    return plan.results[node].rows if every else plan.results[node].rows[:1]

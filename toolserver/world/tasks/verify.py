"""Whether an answer is right: every required slot stated, and nothing stated that contradicts one.

A slot is contradicted by a rival: another name of the same kind, another number, date or time. What the query says and
what the gold solution came across on its way is no rival, so an answer may explain itself; a list of candidates is.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from toolserver.world.schema import Kind
from toolserver.world.tasks.gold import WorldTask
from toolserver.world.tasks.reading import Quantity, Readings, fold, longest_first, names_in, read, without_names
from toolserver.world.tasks.slots import AnswerSlot, slots_of

_YES, _NO = frozenset({"yes", "true", "allowed"}), frozenset({"no", "false", "not"})


class Verdict(StrEnum):
    """What an answer does with one slot."""

    RIGHT = "right"
    MISSING = "missing"
    CONTRADICTED = "contradicted"


class Known(NamedTuple):
    """What an answer may mention beside its slots.

    Attributes:
        names: Folded names of the query and of the gold solution's way.
        texts: The same as they are spelled, and ids, longest first; digits in them are not read as numbers.
        said: Dates, times and numbers of the query and of the gold solution's way.
    """

    names: frozenset[str]
    texts: Sequence[str]
    said: Readings


class Verifier:
    """Checks the answers to one task. Holds no state of an episode.

    Args:
        task: The task.
    """

    def __init__(self, task: WorldTask) -> None:
        self.slots = slots_of(task)
        self._columns = task.columns
        self._task = task
        self._known: Known | None = None
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

    @property
    def known(self) -> Known:
        """What an answer may mention; found out when the first answer is checked."""
        if self._known is None:
            self._known = _known(self._task)
        return self._known

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
        kind, value, said = slot.type.kind, slot.values[0], self.known.said
        if kind is Kind.DATE:
            rivals = [each for each in readings.dates if not each & _all(said.dates)]
            return _among([each for each in readings.dates if str(value) in each], rivals)
        if kind is Kind.TIME:
            rivals_of_time = [each for each in readings.times if each not in said.times]
            return _among([each for each in readings.times if each == value], rivals_of_time)
        if kind is Kind.BOOLEAN:
            return _flag(slot, fold(answer))
        if has_rival:
            return Verdict.CONTRADICTED
        return Verdict.RIGHT if any(slot.matches(each) for each in readings.numbers) else Verdict.MISSING

    def _has_rival(self, stated: Sequence[Quantity]) -> bool:
        """Numbers compete with each other: one that no slot, nor the query, accounts for contradicts them all."""
        said = self.known.said.numbers
        return any(
            not any(slot.matches(each) for slot in self._numeric) and all(each.value != known.value for known in said)
            for each in stated
        )


def _among(found: Sequence[object], rivals: Sequence[object]) -> Verdict:
    if any(each not in found for each in rivals):
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


def _all(dates: Sequence[frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*dates)


def _known(task: WorldTask) -> Known:
    """What the query says, and what passed between the calls of the gold solution.

    Values that a call gave and nobody asked for are not known: an answer that copies whole responses is no answer.
    """
    plan = task.plan
    texts: dict[str, None] = {}
    plain: list[str] = [task.query]
    for node, result in enumerate(plan.results):
        outputs = result.operation.outputs
        for value in plan.arguments(node).values():
            if isinstance(value, str):
                texts[value] = None
            else:
                plain.append(str(value))
        used = plan.used_outputs(node)
        every = any(asked.node == node and asked.every for asked in plan.asked)
        for row in result.rows if every else result.rows[:1]:
            texts[row.entity] = None
            for name, value in row.values.items():
                if outputs[name].type.kind in (Kind.TEXT, Kind.ID):
                    texts[str(value)] = None
                elif name in used:
                    plain.append(str(value))
    names = frozenset(fold(text) for text in texts)
    spelled = longest_first(text for text in texts if any(c.isalpha() for c in text))
    return Known(names, spelled, read(without_names(" ; ".join([*plain, *texts]), spelled)))

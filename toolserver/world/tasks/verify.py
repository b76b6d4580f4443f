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
from toolserver.world.tasks.reading import Quantity, Readings, fold, names_in, read, without_names
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
        texts: The same as they are spelled, and ids; digits in them are not read as numbers.
        said: Dates, times and numbers of the query and of the gold solution's way.
    """

    names: frozenset[str]
    texts: frozenset[str]
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

    def check(self, answer: str) -> tuple[Verdict, ...]:
        """The verdict on each slot. Shape: (slots,)."""
        known = self.known
        dated = any(slot.type.kind is Kind.DATE for slot in self.slots)
        readings = read(without_names(answer, known.texts), compact_dates=dated)
        verdicts = dict(self._numbers(readings.numbers, known.said.numbers))
        folded = fold(answer)
        for slot in self.slots:
            if slot.is_text:
                verdicts[slot] = self._text(slot, answer)
            elif slot.type.kind is Kind.DATE:
                rivals = [each for each in readings.dates if not each & _all(known.said.dates)]
                verdicts[slot] = _among([each for each in readings.dates if str(slot.values[0]) in each], rivals)
            elif slot.type.kind is Kind.TIME:
                rivals_of_time = [each for each in readings.times if each not in known.said.times]
                verdicts[slot] = _among([each for each in readings.times if each == slot.values[0]], rivals_of_time)
            elif slot.type.kind is Kind.BOOLEAN:
                verdicts[slot] = _flag(slot, folded)
        return tuple(verdicts[slot] for slot in self.slots)

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
        others = self.known.names | {fold(str(value)) for each in self.slots for value in each.values if each.is_text}
        stated = names_in(answer, rivals | wanted | others)
        if (stated & rivals) - wanted - others:
            return Verdict.CONTRADICTED
        return Verdict.RIGHT if wanted <= stated else Verdict.MISSING

    def _numbers(self, stated: Sequence[Quantity], said: Sequence[Quantity]) -> list[tuple[AnswerSlot, Verdict]]:
        """Numbers compete with each other: one that no slot, nor the query, accounts for contradicts them all."""
        slots = [slot for slot in self.slots if slot.type.kind in (Kind.INTEGER, Kind.NUMBER)]
        allowed = {quantity.value for quantity in said}
        rivals = [
            each for each in stated if each.value not in allowed and not any(slot.matches(each) for slot in slots)
        ]
        verdicts = []
        for slot in slots:
            found = any(slot.matches(each) for each in stated)
            verdicts.append((slot, Verdict.CONTRADICTED if rivals else Verdict.RIGHT if found else Verdict.MISSING))
        return verdicts


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
    spelled = frozenset(text for text in texts if any(c.isalpha() for c in text))
    return Known(names, spelled, read(without_names(" ; ".join([*plain, *texts]), spelled)))

"""Answer verifier: every slot must be stated and no competing value may be.

A competing value is another name of the slot's column, or another number, date or time. Values of the query and of the
gold solution's calls may be mentioned, but not as alternatives. `Grader.grade` combines these verdicts with the final
state.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

from steptool_env.toolworld.answers.mentionable import MentionableFacts, is_explained, is_in_sentence, is_same
from steptool_env.toolworld.answers.mentions import AnswerText, Mention, names_of
from steptool_env.toolworld.answers.name_check import NameCheck
from steptool_env.toolworld.answers.parsing import Readings, Stated, read, tidy
from steptool_env.toolworld.answers.quantities import Quantity, Reading, quantities
from steptool_env.toolworld.answers.slots import AnswerSlot, Verdict, slots_of
from steptool_env.toolworld.task import WorldTask
from toolserver.world.schema import ValueKind

_YES = frozenset({"yes", "true", "allowed", "available", "possible", "can"})
# "t" is the end of "isn't".
_NO = frozenset({"no", "false", "not", "t", "without", "cannot", "impossible", "unavailable", "never"})
_JOINS = re.compile(r"(?:[\s,;/&()\[\]-]|\band\b|\bor\b)*", re.IGNORECASE)
_DOUBT = re.compile(r"\b(?:or|maybe|perhaps|possibly|might|could|alternatively|otherwise|either|unless|probably)\b|/",
                    re.IGNORECASE)  # fmt: skip
_NEAR = 40
"""Largest number of characters between two numbers that a word of doubt makes alternatives."""
_COUNTED = 20
"""Largest count that may turn a value into a total or a share."""
_AMOUNT = re.compile(r"\d[\d.,' \u00a0\u202f]*$")
_FOREIGN = re.compile(
    r"[€£¥₹₽₩₺₴₫฿₪₦₱₿]|\b(?:EUR|GBP|JPY|CHF|INR|CNY|RMB|AUD|CAD)\b"
    r"|\b(?:euros?|yen|rupees?|yuan|renminbi|roubles?|rubles?|swiss francs?|pounds? sterling|british pounds?)\b",
)


class AnswerVerifier:
    """Verifier of the answers to one task, without state of an episode.

    Attributes:
        slots: Values that an answer must state.
        known: Other values that it may mention.
    """

    def __init__(self, task: WorldTask) -> None:
        self.slots = slots_of(task)
        self._names = names_of(task.columns.world)
        self._query = task.query.rstrip(" .?!").lower()
        self.known = MentionableFacts(task)
        self._numeric = [slot for slot in self.slots if slot.is_number]
        self._checks = [NameCheck(task, slot, self.known) if slot.is_text else None for slot in self.slots]
        self._worded = None not in self._checks
        kinds = [slot.type.kind for slot in self.slots]
        self._dated, self._timed = ValueKind.DATE in kinds, ValueKind.TIME in kinds
        self._year = task.columns.year(self.slots[kinds.index(ValueKind.DATE)].attribute) if self._dated else None
        units = [slot.unit for slot in self._numeric if slot.unit is not None]
        self._durations = any(unit.dimension == "time" for unit in units)
        self._paid = any(unit.code == "USD" for unit in units)
        self._money = self._paid or any(slot.currencies for slot in self._numeric)

    def check(self, answer: str) -> tuple[Verdict, ...]:
        """Return the verdict on each slot. Shape: (slots,)."""
        parsed = AnswerText(self._without_query(tidy(answer)), self._names)
        verdicts = [check(parsed) if check is not None else None for check in self._checks]
        if self._worded:
            return tuple([verdict for verdict in verdicts if verdict is not None])
        plain = parsed.plain
        readings = read(
            plain,
            compact_dates=self._dated,
            clock=self._timed,
            durations=self._durations,
            year=self._year,
            numbers=bool(self._numeric),
        )
        # Which number states which slot. Shape: (numeric slots, numbers).
        matches = [[self._matches(slot, each) for each in readings.numbers] for slot in self._numeric]
        is_right = [any(column) for column in zip(*matches, strict=True)]
        stating = [[each for each, states in zip(readings.numbers, row, strict=True) if states] for row in matches]
        is_spelled = any(each and all(number.passing for number in each) for each in stating)
        has_rival = self._has_rival(readings.numbers, is_right, is_spelled) or self._names_foreign_money(parsed, plain)
        found = [Verdict.RIGHT if any(row) else Verdict.MISSING for row in matches]
        numeric = iter([Verdict.CONTRADICTED] * len(found) if has_rival else found)
        return tuple(
            [
                verdict or (next(numeric) if slot.is_number else self._value(slot, parsed, readings))
                for slot, verdict in zip(self.slots, verdicts, strict=True)
            ]
        )

    def _without_query(self, answer: str) -> str:
        lower = answer.lower()
        start = lower.find(self._query) if len(lower) == len(answer) else -1
        return answer[:start] + " . " + answer[start + len(self._query) :] if start >= 0 else answer

    def _value(self, slot: AnswerSlot, parsed: AnswerText, readings: Readings) -> Verdict:
        """Return the verdict on a date, a time or a truth value."""
        kind = slot.type.kind
        if kind is ValueKind.DATE:
            known = (self.known.values.dates, self.known.steps.dates)
            return _moment(str(slot.values[0]), readings.dates, *known, parsed.plain)
        if kind is ValueKind.TIME:
            known = (self.known.values.times, self.known.steps.times)
            return _moment(str(slot.values[0]), readings.times, *known, parsed.plain)
        return _flag(slot, [word.text for word in parsed.words])

    def _has_rival(self, numbers: Sequence[Quantity], is_right: Sequence[bool], is_spelled: bool) -> bool:
        """Return True if some number is neither a slot's value nor known, or is an alternative to a right one.

        Args:
            numbers: Numbers in the answer, which contradict all slots if one is a rival.
            is_right: True for each number that states a slot.
            is_spelled: Some slot is stated by small spelled numbers alone.
        """
        if all(is_right):
            return False
        has_digits = any(right and not each.passing for each, right in zip(numbers, is_right, strict=True))
        for each, right in zip(numbers, is_right, strict=True):
            # Small spelled numbers contradict unless every stated slot is in digits.
            passes = each.passing and has_digits and not is_spelled
            if not right and not passes and not self._is_accounted_for(each):
                return True
        return any(
            first != second and self._are_alternatives(*pair, second)
            for pair, (first, second) in zip(pairwise(numbers), pairwise(is_right), strict=True)
        )

    def _matches(self, slot: AnswerSlot, stated: Quantity) -> bool:
        """Return True if a number states a slot: the value fits, and the next word is not in another slot's label."""
        if not slot.matches(stated):
            return False
        return stated.word in slot.words or not any(stated.word in other.words for other in self._numeric)

    def _are_alternatives(self, one: Quantity, other: Quantity, other_is_right: bool) -> bool:
        """Return True if a right number and a known one are alternatives: `12 or 45`, `12, 45`."""
        known, right = (one, other) if other_is_right else (other, one)
        # A small spelled number beside one in digits chooses nothing ("12, one of the largest"): "two or three" does.
        passes = known.passing and not right.passing
        if passes or any(slot.goes_with(each) for slot in self._numeric for each in (one, other)):
            return False
        if _DOUBT.search(other.gap) and len(other.gap) <= _NEAR:
            return True
        units = {reading.unit.dimension for reading in known.readings if reading.unit is not None}
        own = {slot.unit.dimension for slot in self._numeric if slot.unit is not None}
        return _JOINS.fullmatch(other.gap) is not None and (not units or bool(units & own))

    def _is_accounted_for(self, stated: Quantity) -> bool:
        if any(slot.goes_with(stated) for slot in self._numeric):
            return True
        # The number of a slot with a unit of another dimension is wrong, even if a known value is equal.
        misfits = {slot.number for slot in self._numeric}
        explained = is_explained(stated)
        return any(
            is_same(reading, each, stated.step) and (each.unit is not None or reading.value not in misfits)
            for reading in stated.readings
            for each in (self._explainable if explained else self._known_readings)
        ) or (explained and any(self._is_worked_out(slot, stated) for slot in self._numeric))

    @cached_property
    def _known_readings(self) -> frozenset[Reading]:
        counted = (each for each in self.known.values.numbers if not (each.passing and each.value == 1))  # "one thing"
        return frozenset(reading for known in counted for reading in known.readings)

    def _is_worked_out(self, slot: AnswerSlot, stated: Quantity) -> bool:
        """Return True if a number is a slot's value times or divided by a known count: a total beside a mean."""
        return any(slot.is_multiple(stated, factor) for count in self._counts for factor in (count, 1 / count))

    @cached_property
    def _counts(self) -> frozenset[float]:
        """Small whole numbers without a unit in the query, the steps or the answer's slots."""
        plain = [each.value for each in self._explainable if each.unit is None]
        plain += [slot.number for slot in self._numeric if slot.unit is None]
        return frozenset(value for value in plain if 1 < value <= _COUNTED and value.is_integer())

    @cached_property
    def _explainable(self) -> frozenset[Reading]:
        """Numbers that a sentence may mention: known values and those of the steps."""
        return self._known_readings.union(reading for known in self.known.steps.numbers for reading in known.readings)

    def _names_foreign_money(self, parsed: AnswerText, plain: str) -> bool:
        """Return True if an answer about money names a currency that is neither known nor a slot's."""
        if not self._money:
            return False
        for mention in parsed.mentions:
            names = mention.of("currency.name")
            if names and (not names & self._currencies or self._is_in_other_currency(names, parsed, mention, plain)):
                return True
        return self._paid and _FOREIGN.search(plain) is not None

    @cached_property
    def _currencies(self) -> frozenset[str]:
        return self.known.names.union(*(slot.currency_names for slot in self._numeric))

    def _is_in_other_currency(self, names: frozenset[str], parsed: AnswerText, mention: Mention, plain: str) -> bool:
        """Return True if a slot's number has another currency than the slot: `27,885.72 Lorian rand`."""
        start = parsed.words[mention.first].start
        amount = _AMOUNT.search(plain, max(0, start - 30), start)
        return amount is not None and any(
            slot.currency_names and not names & slot.currency_names and slot.matches(each)
            for slot in self._numeric
            for each in quantities(amount[0])[-1:]
        )


def _moment(
    value: str, stated: Sequence[Stated], known: Sequence[Stated], steps: Sequence[Stated], text: str
) -> Verdict:
    is_right = [value in each.values for each in stated]
    allowed, explainable = (frozenset[str]().union(*(each.values for each in some)) for some in (known, steps))
    for each, right in zip(stated, is_right, strict=True):
        in_sentence = is_in_sentence(text, each.start)
        if not right and not each.values & (allowed | explainable if in_sentence else allowed):
            return Verdict.CONTRADICTED
    for (one, other), (first, second) in zip(pairwise(stated), pairwise(is_right), strict=True):
        gap = text[one.end : other.start]
        if first != second and (_JOINS.fullmatch(gap) or (_DOUBT.search(gap) and len(gap) <= _NEAR)):
            return Verdict.CONTRADICTED
    return Verdict.RIGHT if any(is_right) else Verdict.MISSING


def _flag(slot: AnswerSlot, words: Sequence[str]) -> Verdict:
    unique = set(words)
    if {"yes", "no"} <= unique or {"true", "false"} <= unique:
        return Verdict.CONTRADICTED
    yes, no = bool(unique & _YES), bool(unique & _NO)
    if no:
        yes = False  # "not allowed"
    if not yes and not no:
        return Verdict.MISSING
    return Verdict.RIGHT if yes == slot.values[0] else Verdict.CONTRADICTED

"""What an answer must state, and whether a text states it: typed slots instead of a judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from toolserver.world.schema import Fact, Kind, Output, SemanticType
from toolserver.world.tasks.gold import WorldTask
from toolserver.world.tasks.plan import Asked
from toolserver.world.tasks.reading import Quantity
from toolserver.world.vendors.codecs import unit_of
from toolserver.world.vendors.skin import Values

_RELATIVE = 0.002
"""Relative tolerance of quantities with a unit: room for one conversion, not for rounding to two digits."""

_WORDS = {
    "km": ("km", "kms", "kilometre", "kilometres", "kilometer", "kilometers"), "mi": ("mi", "mile", "miles"),
    "m": ("m", "metre", "metres", "meter", "meters"), "ft": ("ft", "foot", "feet"),
    "kg": ("kg", "kgs", "kilo", "kilos", "kilogram", "kilograms"), "lb": ("lb", "lbs", "pound", "pounds"),
    "g": ("g", "gram", "grams"), "oz": ("oz", "ounce", "ounces"),
    "C": ("c", "°c", "celsius", "°", "degrees"), "F": ("f", "°f", "fahrenheit"),
    "km/h": ("km/h", "kmh", "kph"), "mph": ("mph",), "mm": ("mm", "millimetres", "millimeters"),
    "in": ("in", "inch", "inches"), "USD": ("usd", "dollar", "dollars", "us"), "cents": ("cent", "cents"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class AnswerSlot:
    """One thing that an answer must state.

    Attributes:
        label: What it is, in words.
        type: The semantic type of its values.
        attribute: The qualified name of what it states, e.g. `city.population`.
        values: One value, or all members of a set.
        facts: The facts behind the values, in the same order.
        node: The node of the plan that supplies it.
        values_shown: How the vendor that is asked writes quantities.
    """

    label: str
    type: SemanticType
    attribute: str
    values: tuple[object, ...]
    facts: tuple[Fact, ...]
    node: int
    values_shown: Values

    @property
    def is_text(self) -> bool:
        """Whether it is stated by words rather than by a number, date or time."""
        return self.type.kind in (Kind.TEXT, Kind.ENUM, Kind.ID)

    def matches(self, quantity: Quantity) -> bool:
        """Whether a number as written states the slot's value, in its unit or in one that it names."""
        named = _scales(self.type).get(quantity.unit)
        if named is not None:
            return self._close(quantity.value, *named)
        if self._close(quantity.value, 1.0, 0.0):
            return True
        unit = unit_of(self.type, self.values_shown)
        return self._close(quantity.value, unit.factor, unit.offset)

    def _close(self, stated: float, factor: float, offset: float) -> bool:
        value = float(str(self.values[0]))
        exact = self.type.kind is Kind.INTEGER and not self.type.unit
        if exact and factor == 1.0:
            return stated == value
        slack = max(abs(value) * _RELATIVE if self.type.unit else 0.0, 0.5 * 10.0**-self.type.decimals) * abs(factor)
        return abs(stated - (value * factor + offset)) <= slack * 1.000001


@cache
def _scales(kind: SemanticType) -> Mapping[str, tuple[float, float]]:
    """Unit word -> factor and offset from the base unit, for every unit that a quantity can be told in."""
    if not kind.unit:
        return {}
    units = {unit_of(kind, Values()), unit_of(kind, Values(imperial=True)), unit_of(kind, Values(cents=True))}
    return {
        word: (unit.factor, unit.offset) for unit in units for word in _WORDS.get(unit.symbol, (unit.symbol.lower(),))
    }


def slots_of(task: WorldTask) -> tuple[AnswerSlot, ...]:
    """The slots of a task's answer; none where the task ends in a change of state or in giving up."""
    if not task.solvable:
        return ()
    return tuple(_slot(task, asked) for asked in task.plan.asked)


def _slot(task: WorldTask, asked: Asked) -> AnswerSlot:
    output: Output = task.plan.results[asked.node].operation.outputs[asked.output]
    facts = task.plan.asked_facts(asked)
    values = tuple(fact.value for fact in facts)
    shown = task.offer.bound[asked.node].tool.skin.values
    return AnswerSlot(output.label, output.type, output.attribute, values, facts, asked.node, shown)

"""Answer slots: the typed values that an answer must state, and the comparison of a slot with parsed quantities."""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from steptool_env.toolworld.answers.parsing import fold
from steptool_env.toolworld.answers.quantities import Quantity, Reading
from steptool_env.toolworld.answers.units import Unit, meanings
from steptool_env.toolworld.planning.plan import Asked
from steptool_env.toolworld.task import WorldTask
from toolserver.world.schema import Fact, Output, Result, SemanticType, ValueKind
from toolserver.world.vendors.style import ValueStyle
from toolserver.world.vendors.value_codecs import unit_of

_RELATIVE = 0.002
"""Relative tolerance of quantities with a unit: allows one conversion, but not rounding to two digits."""
BASE_UNITS = {
    "m": "m", "km": "km", "cm": "cm", "mm": "mm", "kg": "kg", "g": "g", "C": "° C", "km/h": "km / h", "kcal": "kcal",
    "min": "min", "days": "days", "%": "%", "USD": "USD",
}  # fmt: skip
"""Unit of a semantic type -> its word in the lexicon."""
_IN_LABEL = re.compile(r".* in (.+)$")
_PER_LABEL = re.compile(r"\bper (?:(\d+) )?(\w+)$")
_ADVERBS = {"yearly": "year", "annual": "year", "monthly": "month", "weekly": "week", "daily": "day", "hourly": "hour"}


class Verdict(StrEnum):
    """Verdict on one slot of an answer, as `AnswerVerifier.check` decides it."""

    RIGHT = "right"
    MISSING = "missing"
    CONTRADICTED = "contradicted"


@dataclass(eq=False)
class AnswerSlot:
    """One value, or one set of values, that an answer must state.

    Attributes:
        label: Name of the slot in words.
        type: Semantic type of the values.
        attribute: Qualified attribute, e.g. `city.population`.
        values: One value, or all members of a set.
        facts: Facts of the values, in the same order.
        node: Node of the plan that supplies the values.
        values_shown: Number and unit style of the called vendor.
        scale: Upper end of a rating's scale (5 or 10); 0 for other types.
        currencies: ISO codes in the names of the currencies of a foreign amount or an exchange rate; else empty.
        currency_names: Folded names of these currencies.
    """

    label: str
    type: SemanticType
    attribute: str
    values: tuple[object, ...]
    facts: tuple[Fact, ...]
    node: int
    values_shown: ValueStyle
    scale: float = 0.0
    currencies: frozenset[str] = frozenset()
    currency_names: frozenset[str] = frozenset()

    @cached_property
    def number(self) -> float:
        """Value of a slot that is a number."""
        return float(str(self.values[0]))

    @cached_property
    def unit(self) -> Unit | None:
        """Unit, from the type or the label (`area in square kilometres`); `None` for a plain number."""
        word = BASE_UNITS.get(self.type.unit, "")
        if not word and self.type.name == "coordinate":
            word = "deg"
        if not word and (named := _IN_LABEL.match(self.label)) and self.type.kind is not ValueKind.TEXT:
            word = named[1]
        return next(iter(meanings(word)), None) if word else None

    @cached_property
    def per(self) -> tuple[float, str] | None:
        """Denominator in the label (`energy per 100 g`, `yearly tuition`)."""
        match = _PER_LABEL.search(self.label)
        if match is not None:
            return float(match[1] or 1), match[2]
        return next(((1.0, unit) for adverb, unit in _ADVERBS.items() if adverb in self.label), None)

    @property
    def is_text(self) -> bool:
        """True for names, ids and words of a list."""
        return self.type.kind in (ValueKind.TEXT, ValueKind.ENUM, ValueKind.ID)

    @property
    def is_number(self) -> bool:
        """True for numbers; False for dates and times of day."""
        return self.type.kind in (ValueKind.INTEGER, ValueKind.NUMBER)

    def matches(self, quantity: Quantity) -> bool:
        """Return True if a quantity states the slot's value under any meaning of its unit."""
        if quantity.bounded or not self._fits_scale(quantity) or not self._fits_per(quantity):
            return False
        own = self.unit.dimension if self.unit is not None else ""
        fitting = [
            reading for reading in quantity.readings if reading.unit is not None and reading.unit.dimension == own
        ]
        return any(map(self._is_stated, fitting or quantity.readings)) or self._is_shorter(quantity)

    def _is_shorter(self, quantity: Quantity) -> bool:
        """Return True if a quantity is the slot's decimal with fewer digits: 1,394,199 for 1394198.67."""
        if self.type.kind is not ValueKind.NUMBER or self.type.unit:
            return False
        value = abs(self.number)
        return 0 < quantity.last <= _RELATIVE * value and any(
            reading.unit is None and self._is_near(reading, quantity.last) for reading in quantity.readings
        )

    def is_multiple(self, quantity: Quantity, factor: float) -> bool:
        """Return True if a quantity is the slot's value times a factor: a total beside a mean."""
        value = abs(self.number * factor)
        slack = max(2 * _RELATIVE * value, 10.0**-self.type.decimals)
        return any(self._is_near(reading, slack, factor) for reading in quantity.readings)

    def _is_rounded(self, quantity: Quantity) -> bool:
        """Return True if a quantity is marked as rounded and equals the slot's value after rounding."""
        return bool(quantity.step) and any(self._is_near(reading, quantity.step) for reading in quantity.readings)

    def goes_with(self, quantity: Quantity) -> bool:
        """Return True if a quantity may accompany the value: 1 USD for a rate, 0.96 for 96 %, a rounded value."""
        if self.type.unit == "%" and any(
            unit is None and self._close(100 * v, 1.0, 0.0) for v, unit in quantity.readings
        ):
            return True
        units = [unit for value, unit in quantity.readings if unit is not None and value == 1]
        if self.currencies and any(unit.dimension == "currency" for unit in units):
            return True
        return self._is_rounded(quantity)

    def _is_near(self, reading: Reading, step: float, factor: float = 1.0) -> bool:
        value, (stated, unit), own = self.number * factor, reading, self.unit
        if unit is not None:
            if own is None or (own.dimension, own.code) != (unit.dimension, unit.code):
                return False
            value = (value * own.factor + own.offset - unit.offset) / unit.factor
        return abs(stated - value) <= step * 0.500001

    def _is_stated(self, reading: Reading) -> bool:
        value, unit = reading
        if unit is None:
            shown = unit_of(self.type, self.values_shown)
            return self._close(value, 1.0, 0.0) or self._close(value, shown.factor, shown.offset)
        if unit.dimension == "currency" and self.currencies:
            return unit.code in self.currencies and self._close(value, 1.0, 0.0)
        own = self.unit
        if own is None or (own.dimension, own.code) != (unit.dimension, unit.code):
            return False
        stated = (value * unit.factor + unit.offset - own.offset) / own.factor
        if self._close(stated, 1.0, 0.0, exact=unit.factor == own.factor):
            return True
        # A difference of temperatures has no zero point.
        return (
            self.is_difference and unit.offset != own.offset and self._close(value * unit.factor / own.factor, 1.0, 0.0)
        )

    def _fits_scale(self, quantity: Quantity) -> bool:
        return not quantity.scale or quantity.scale == self.scale

    def _fits_per(self, quantity: Quantity) -> bool:
        """Return True unless the denominators of the quantity and of the slot are known units that differ."""
        if quantity.per is None:
            return True
        stated_code, wanted_code = _code(quantity.per), _code(self.per)
        if stated_code and wanted_code and stated_code != wanted_code:
            return False  # "75.8 dinars per euro" for a rate per USD
        stated = _sized(quantity.per)
        if stated is None:
            return True
        if self.per is None and quantity.per[0] != 1:
            return True  # "31 g per 100 g"
        if self.per is None:  # "7 parcels a day", but not a length per time
            return self.unit is None or self.unit.dimension in ("currency", "ratio", "time")
        wanted = _sized(self.per)
        return wanted is not None and wanted[0] == stated[0] and abs(wanted[1] / stated[1] - 1) < 0.02

    def _close(self, stated: float, factor: float, offset: float, exact: bool = True) -> bool:
        value = self.number
        if self.type.kind is ValueKind.INTEGER and not self.type.unit and factor == 1.0 and exact:
            return round(stated, 6) == value
        has_unit = self.type.unit or not exact
        slack = max(abs(value) * _RELATIVE if has_unit else 0.0, 0.5 * 10.0**-self.type.decimals) * abs(factor)
        return abs(stated - (value * factor + offset)) <= slack * 1.000001

    @cached_property
    def words(self) -> frozenset[str]:
        """Words of the label with more than three letters."""
        return frozenset(word for word in re.findall(r"[a-z]+", self.label.lower()) if len(word) > 3)

    @property
    def is_difference(self) -> bool:
        """True for a difference of two values."""
        return self.attribute.endswith(".difference")


def _code(per: tuple[float, str] | None) -> str:
    """Return the ISO code of a denominator; empty if it is not a currency."""
    units = meanings(per[1]) if per is not None else ()
    return next((unit.code for unit in units if unit.code), "")


def _sized(per: tuple[float, str]) -> tuple[str, float] | None:
    """Return dimension and size of a denominator; `None` if it is not a unit."""
    count, word = per
    word = "day" if word in ("night", "nights") else word
    units = [unit for unit in meanings(word) if unit.dimension not in ("scale", "currency")]
    return (units[0].dimension, count * units[0].factor) if units else None


def slots_of(task: WorldTask) -> tuple[AnswerSlot, ...]:
    """Return the slots of a task's answer; empty if the task ends in a change of state or in giving up."""
    if not task.solvable:
        return ()
    return tuple([_slot(task, asked) for asked in task.plan.asked])


def _slot(task: WorldTask, asked: Asked) -> AnswerSlot:
    result = task.plan.results[asked.node]
    output: Output = result.operation.outputs[asked.output]
    facts = task.plan.asked_facts(asked)
    values = tuple([fact.value for fact in facts])
    shown = task.toolset.bound[asked.node].vendor.style.values
    scale, names = _scale(task, result, output), _currency_names(task, result, output)
    words = [word for name in names for word in name.split()]
    currencies = frozenset([unit.code for word in words for unit in meanings(word) if unit.code])
    return AnswerSlot(
        output.label, output.type, output.attribute, values, facts, asked.node, shown, scale, currencies, names
    )


def _scale(task: WorldTask, result: Result, output: Output) -> float:
    """Return the upper end of a rating's scale, from the highest rating of its column."""
    if output.type.name != "rating":
        return 0.0
    measured = f"{result.operation.subject}.{result.operation.attribute}" if output.derived else output.attribute
    return 5.0 if task.columns.highest(measured) <= 5 else 10.0


def _currency_names(task: WorldTask, result: Result, output: Output) -> frozenset[str]:
    """Return the folded names of the currencies of an amount or an exchange rate."""
    if output.type.name not in ("foreign_money", "factor") or result.operation.subject != "currency":
        return frozenset()
    ids = [*result.arguments.values(), *(row.entity for row in result.rows)]
    rows = [task.columns.world.row("currency", each, result.changes) for each in ids if isinstance(each, str)]
    return frozenset(fold(str(row["name"])) for row in rows if row is not None)

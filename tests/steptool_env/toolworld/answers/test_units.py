"""The lexicon of units has pint's sizes, and no ordinary word of an answer is a unit."""

import subprocess
import sys

import pytest
from pint import UnitRegistry

from steptool_env.toolworld.answers.unit_words import PREFIXED, PREFIXES, TABLE, TEMPERATURES
from steptool_env.toolworld.answers.units import meanings

REGISTRY = UnitRegistry()
BASE = {
    "length": "m", "time": "s", "mass": "kg", "speed": "m/s", "area": "m**2", "volume": "m**3", "energy": "J",
    "power": "W", "pressure": "Pa", "force": "N", "frequency": "Hz", "data": "bit", "angle": "rad", "ratio": "",
    "voltage": "V", "current": "A", "resistance": "ohm", "amount": "mol",
}  # fmt: skip


def rows() -> list[tuple[str, str, float]]:
    """Dimension, name in pint and factor of every row of the table."""
    lines = [(dimension, line.strip()) for dimension, text in TABLE.items() for line in text.strip().splitlines()]
    return [(dimension, *line.split("|")[:1], float(line.split("|")[1])) for dimension, line in lines]


@pytest.mark.parametrize(("dimension", "name", "factor"), rows())
def test_a_unit_has_the_size_that_pint_gives(dimension: str, name: str, factor: float) -> None:
    assert factor == pytest.approx(REGISTRY.Quantity(1, name).to(BASE[dimension]).magnitude, rel=1e-9)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefixed_unit_has_the_size_that_pint_gives(prefix: str) -> None:
    for dimension, _, _, spellings in PREFIXED:
        spelled = spellings.split()[0].replace("gramme", "gram").replace("watt_hour", "watthour")
        expected = REGISTRY.Quantity(1, prefix + spelled).to(BASE[dimension]).magnitude
        found = [unit.factor for unit in meanings(prefix + spelled.replace("_", " ")) or meanings(prefix + spelled)
                 if unit.dimension == dimension]  # fmt: skip
        assert min(abs(factor / expected - 1) for factor in found) < 1e-9, prefix + spelled


@pytest.mark.parametrize("name", TEMPERATURES)
@pytest.mark.parametrize("value", [-40.0, 0.0, 21.5])
def test_a_temperature_is_what_pint_makes_of_it(name: str, value: float) -> None:
    factor, offset, _ = TEMPERATURES[name]
    assert value * factor + offset == pytest.approx(REGISTRY.Quantity(value, name).to("kelvin").magnitude)


@pytest.mark.parametrize(
    ("phrase", "like"),
    [("square miles", "mile**2"), ("km²", "km**2"), ("sq . ft", "foot**2"), ("cubic metres", "m**3"), ("m / s", "m/s"),
     ("kilometres per hour", "km/hour"), ("ft / min", "foot/minute"), ("cm ^2", "cm**2"), ("yards", "yard"),
     ("light years", "light_year"), ("tonnes", "tonne"), ("knots", "knot"), ("Stunden", "hour"), ("jours", "day")],
)  # fmt: skip
def test_phrases_are_composed(phrase: str, like: str) -> None:
    (unit,) = meanings(phrase)
    assert unit.factor == pytest.approx(REGISTRY.Quantity(1, like).to_base_units().magnitude * (
        1e-3 if unit.dimension == "mass" and str(REGISTRY.Quantity(1, like).to_base_units().units) == "gram" else 1
    ))  # fmt: skip


ORDINARY = "a an as at is are was in on of it the he to has am pm per no not be by or and us all"


def test_no_ordinary_word_is_a_unit() -> None:
    assert not [word for word in ORDINARY.split() if meanings(word)]


def test_an_ambiguous_word_has_every_meaning() -> None:
    assert {unit.dimension for unit in meanings("pounds")} == {"mass", "currency"}
    assert {unit.dimension for unit in meanings("m")} == {"length", "scale"}
    assert {unit.dimension for unit in meanings("degrees")} == {"angle", "temperature"}
    assert {unit.dimension for unit in meanings("K")} == {"temperature", "scale"}
    assert len(meanings("tons")) == 2


def test_the_package_does_not_load_pint() -> None:
    code = "import steptool_env, steptool_env.toolworld, sys; assert 'pint' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

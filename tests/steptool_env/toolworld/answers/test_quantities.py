"""Numbers are read as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steptool_env.toolworld.answers.parsing import read, tidy
from steptool_env.toolworld.answers.quantities import Quantity, number_alone, quantities


def numbers(text: str, **settings: bool) -> tuple[Quantity, ...]:
    return read(tidy(text), **settings).numbers


def texts(text: str) -> list[str]:
    """Each number with its unit's dimension and code, by its first meaning."""
    firsts = [each.readings[0] for each in numbers(text, durations=True)]
    return [f"{value:.10g} {unit.code or unit.dimension if unit else ''}".strip() for value, unit in firsts]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,234.5", "1234.5"), ("1.234,5", "1234.5"), ("1.234.567", "1234567"), ("1 234 567", "1234567"),
        ("1\u202f234,5", "1234.5"), ("12,5 kg", "12.5 mass"), ("12'345", "12345"), ("1.2e6", "1200000"),
        ("1.08542 × 10^6", "1085420"), ("3 x 10⁵", "300000"), ("-3.5 °C", "-3.5 temperature"), ("minus 4", "-4"),
        ("265-267", "265 267"), ("between 10 and 12 km", "10 12 length"), ("1,2,3", "1 2 3"), ("12,34,567", "1234567"),
        ("5 in Talby", "5"), ("It is 5 in.", "5 length"), ("3 a day", "3"), ("5 per cent", "5 ratio"),
        ("$1.3 million", "1300000 USD"), ("12k EUR", "12000 EUR"), ("A$5", "5 AUD"), ("266 U.S. dollars", "266 USD"),
        ("120.1 (km)", "120.1 length"), ("**12** km", "12 length"), ("`12`km", "12 length"), ("_12_ km", "12 length"),
        ("$8{,}289{,}639$", "8289639"), ("$$12$$ km", "12 length"), ("$$\n\\boxed{12 \\text{ m}}\n$$", "12 length"),
        ("US$12 for $5$", "12 USD 5"), ("$$\\boxed{\\$12}$$", "12 USD"), ("\\boxed{12} \\text{ km}", "12 length"),
        ('{"price_per_kg": 12}', "12"), ('{"price_eur_per_kg": 12}', "12 EUR"), ('{"passengers_per_year": 12}', "12"),
        ('{"area_in_square_kilometres": 12}', "12 area"), ('{"energy_per_100_g": 12}', "12"),
        ('{"price_per_night_eur": 12}', "12 EUR"), ("wind_speed_km_h = 12", "12 speed"),
        ("Price (USD/kg): 12", "12 USD"), ("Speed (km/h): 12", "12 speed"),
        ("Tempo (beats per minute): 12", "12"), ("<b>12</b> kg", "12 mass"),
        ("Distance (miles): 12", "12 length"), ('{"price_eur": 12}', "12 EUR"), ("the 2nd of 3", "3"),
        ("not 12 but 13", "13"), ("1. Look\n2. Found 7", "7"), ("1) 7 2) 8", "7 8"), ("step 2 gives 7", "7"),
        ("two hundred and sixty-six", "266"), ("one million two hundred thousand", "1200000"),
        ("38.511° W", "-38.511 angle"),
        ("6 ft 2 in", "6.166666667 length"), ("2 days, 6 hours and 4 minutes", "2.252777778 time"),
        ("1 hour 47.5 minutes", "1.791666667 time"), ("1h 47.5 min (107.5 min)", "1.791666667 time 107.5 time"),
        ("4 lb 8 oz", "4.5 mass"), ("3 dollars and 50 cents", "3.5 USD"), ("154 working days", "154 time"),
        ("1.93M", "1930000"), ("$1.2M", "1200000 USD"), ("12k people", "12000"), ("154\u2011day", "154 time"),
        ("54 Stunden und 4 Minuten", "54.06666667 time"), ("H4821 and vendor2", ""), ("1843 BC", "-1843"),
        ("\u20133.5 °C", "-3.5 temperature"), ("$\u20135", "-5 USD"), ("5\u20137", "5 7"), ("it is \u2013 12", "12"),
        ("three point six km", "3.6 length"), ("minus one point zero five", "-1.05"), ("at this point two", "2"),
        ("two point five million dollars", "2500000 USD"), ("Zero point one", "0.1"),
        ("one point five of them", "1.5"), ("one of them", ""),
    ],
)  # fmt: skip
def test_what_a_text_states(text: str, expected: str) -> None:
    assert " ".join(texts(text)) == expected


@pytest.mark.parametrize("text", ["≈1.93M", "about 1.93 million"])
def test_a_number_with_a_magnitude_is_rounded_to_its_last_digit(text: str) -> None:
    (found,) = numbers(text)
    assert found.step == pytest.approx(10_000)


@pytest.mark.parametrize("hyphen", ["-", "\u2010", "\u2011"])
def test_a_date_may_have_hyphens_that_do_not_break(hyphen: str) -> None:
    (date,) = read(tidy(f"It is on 2031{hyphen}06{hyphen}08.")).dates
    assert date.values == {"2031-06-08"}


@pytest.mark.parametrize("text", ["1.234", "1,234"])
def test_three_digits_after_a_mark_can_be_either(text: str) -> None:
    (found,) = numbers(text)
    assert {reading.value for reading in found.readings} == {1.234, 1234.0}


def test_a_scale_and_a_rate_belong_to_their_number() -> None:
    (rated,) = numbers("2.3 out of 5 stars")
    assert (rated.value, rated.scale) == (2.3, 5.0)
    (priced,) = numbers("5.46 USD per kg")
    assert priced.per == (1.0, "kg")
    (energy,) = numbers("279 kcal/100 g")
    assert energy.per == (100.0, "g")


@pytest.mark.parametrize("text", ["more than 12", "at least 12", "< 12", "12 or more", "12+"])
def test_a_bound_is_no_statement(text: str) -> None:
    assert numbers(text)[0].bounded


@given(st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{1,12})?", fullmatch=True))
def test_a_number_alone_is_read_as_in_any_text(text: str) -> None:
    assert (number_alone(text),) == quantities(text) == numbers(text)
    assert numbers(f"{text} ")[0].readings == number_alone(text).readings


@given(st.integers(1, 10**9), st.sampled_from([" ", "\u00a0", "\u202f", "'", ","]))
def test_grouping_changes_nothing(value: int, gap: str) -> None:
    (found,) = numbers(f"It is {value:,}.".replace(",", gap))
    assert float(value) in {reading.value for reading in found.readings}


@given(st.integers(1, 10**6), st.integers(0, 59), st.integers(0, 59))
def test_parts_of_a_duration_are_one(hours: int, minutes: int, seconds: int) -> None:
    (found,) = numbers(f"{hours} hours, {minutes} minutes and {seconds} seconds")
    assert found.readings[0].value * 3600 == pytest.approx(hours * 3600 + minutes * 60 + seconds)


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    for each in numbers(text, durations=True, clock=True, compact_dates=True):
        assert each.readings

"""Equal calls of ComplexFuncBench: other writings of one call, and nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolserver.catalog.api_schema import ApiSpec, Parameter
from toolserver.complexfuncbench import canonical_call, canonical_value

HOTELS = ApiSpec(
    "ComplexFuncBench",
    "booking",
    "Search_Hotels",
    required=(Parameter("dest_id", "NUMBER"), Parameter("arrival_date")),
    optional=(
        Parameter("adults", "NUMBER", default=1),
        Parameter("children_age"),
        Parameter("categories_filter"),
        Parameter("latitude"),
    ),
)
LEGS = ApiSpec("ComplexFuncBench", "booking", "Search_Flights_Multi_Stops", required=(Parameter("legs", "ARRAY"),))
PLACE = ApiSpec("ComplexFuncBench", "booking", "Search_Flight_Location", required=(Parameter("query"),))
FLIGHTS = ApiSpec("ComplexFuncBench", "booking", "Search_Flights", required=(Parameter("toId"), Parameter("id")))

ONE_LEG = [{"fromId": "MSY.AIRPORT", "toId": "BNA.AIRPORT", "date": "2024-12-04"}]

EQUAL: list[tuple[ApiSpec, dict[str, Any], dict[str, Any]]] = [
    (FLIGHTS, {"toId": "A", "id": "B"}, {"is_id": "B", "toid": "A"}),
    (HOTELS, {"dest_id": -246227}, {"dest_id": "-246227"}),
    (HOTELS, {"dest_id": 2}, {"dest_id": 2.0}),
    (HOTELS, {"latitude": "48.850"}, {"latitude": 48.85}),
    (HOTELS, {"dest_id": 2, "adults": 1}, {"dest_id": 2}),
    (HOTELS, {"dest_id": 2, "adults": "1"}, {"dest_id": 2, "adults": None}),
    (HOTELS, {"dest_id": 2, "children_age": ""}, {"dest_id": 2}),
    (HOTELS, {"children_age": "4, 6"}, {"children_age": [4, 6]}),
    (HOTELS, {"children_age": 5}, {"children_age": "5"}),
    (HOTELS, {"categories_filter": "class::3, price::1"}, {"categories_filter": "price::1,class::3"}),
    (LEGS, {"legs": ONE_LEG}, {"legs": json.dumps(ONE_LEG)}),
    (LEGS, {"legs": ONE_LEG}, {"legs": [{"toid": "BNA.AIRPORT", "date": "2024-12-04", "fromid": "MSY.AIRPORT"}]}),
    (PLACE, {"query": "New  York "}, {"query": "new york"}),
]
DIFFERENT: list[tuple[ApiSpec, dict[str, Any], dict[str, Any]]] = [
    (PLACE, {"query": "New York"}, {"query": "New York City"}),
    (FLIGHTS, {"toId": "LAX.CITY"}, {"toId": "lax.city"}),
    (FLIGHTS, {"toId": "A"}, {"fromId": "A"}),
    (HOTELS, {"dest_id": 2, "adults": 2}, {"dest_id": 2}),
    (HOTELS, {"dest_id": 1}, {"dest_id": True}),
    (HOTELS, {"dest_id": 2, "latitude": 1}, {"dest_id": 2}),  # the default of another parameter
    (HOTELS, {"children_age": "4,6"}, {"children_age": "6,4"}),
    (HOTELS, {"arrival_date": "2024-12-04"}, {"arrival_date": "2024-12-05"}),
    (HOTELS, {"arrival_date": "08"}, {"arrival_date": "8"}),  # no JSON number
    (LEGS, {"legs": ONE_LEG * 2}, {"legs": ONE_LEG}),
    (HOTELS, {"dest_id": 2, "price": 3}, {"dest_id": 2}),
]


@pytest.mark.parametrize(("spec", "one", "other"), EQUAL)
def test_other_writings_of_a_call_are_equal(spec: ApiSpec, one: dict[str, Any], other: dict[str, Any]) -> None:
    assert canonical_call(spec, one) == canonical_call(spec, other)


@pytest.mark.parametrize(("spec", "one", "other"), DIFFERENT)
def test_other_calls_differ(spec: ApiSpec, one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = canonical_call(spec, one), canonical_call(spec, other)
    assert first != second or repr(first) != repr(second)  # True == 1 in Python


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(["query", "legs", "dest_id", "categories_filter", "toId", "x"]), JSON))
def test_the_canonical_form_of_a_canonical_call_is_itself(arguments: dict[str, Any]) -> None:
    for spec in (HOTELS, LEGS, PLACE, FLIGHTS):
        once = canonical_call(spec, arguments)
        assert repr(canonical_call(spec, once)) == repr(once)


@pytest.mark.parametrize("text", ["9" * 5000, "[" * 900 + "]" * 900, "[" * 5000, "1" + "0" * 400 + ".5"])
def test_hostile_texts_are_texts(text: str) -> None:
    for name in ("query", "legs", "dest_id", "categories_filter"):
        for spec in (HOTELS, LEGS):
            assert canonical_call(spec, {name: text}) == {name: text}


def test_long_digits_keep_their_value() -> None:
    assert canonical_value("9007199254740993") == 9007199254740993
    assert canonical_value(1e300) == 1e300
    assert canonical_value("1e5") == "1e5"

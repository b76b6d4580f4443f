"""Arguments against documentation."""

from typing import Any

import pytest

from toolserver.catalog.api_schema import ApiSpec, Parameter
from toolserver.service.validation import argument_problem

SPEC = ApiSpec(
    "Data",
    "tool",
    "api",
    required=(Parameter("City Name", "STRING"), Parameter("id", "NUMBER")),
    optional=(
        Parameter("flag", "BOOLEAN"),
        Parameter("kind", "ENUM"),
        Parameter("tags", "ARRAY"),
        Parameter("filter", "OBJECT"),
        Parameter("day", "DATE (YYYY-MM-DD)"),
        Parameter("file", "BINARY"),
    ),
)
GOOD = {"city_name": "Oslo", "is_id": 5}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"is_id": "5.5"},
        {"city_name": 7},
        {"flag": True, "kind": "a", "tags": [], "filter": {}, "day": "2024-01-01"},
        {"flag": "False"},
        {"file": None},
    ],
)
def test_what_fits(more: dict[str, Any]) -> None:
    assert argument_problem(SPEC, {**GOOD, **more}) == ""


def test_published_and_offered_spellings_are_the_same_name() -> None:
    assert argument_problem(SPEC, {"City Name": "Oslo", "id": 5}) == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"city_name": "Oslo"}, ["Missing", "id", "NUMBER"]),
        ({**GOOD, "town": 1}, ["Unknown", "town", "city_name"]),
        ({**GOOD, "is_id": "five"}, ["id", "NUMBER", "five"]),
        ({**GOOD, "is_id": True}, ["id", "NUMBER"]),
        ({**GOOD, "city_name": ["Oslo"]}, ["City Name", "STRING"]),
        ({**GOOD, "city_name": None}, ["City Name", "STRING"]),
        ({**GOOD, "flag": "yes"}, ["flag", "BOOLEAN", "yes"]),
        ({**GOOD, "tags": "a,b"}, ["tags", "ARRAY"]),
        ({**GOOD, "filter": []}, ["filter", "OBJECT"]),
        ({**GOOD, "day": 20240101}, ["day", "DATE"]),
    ],
)
def test_what_does_not_fit_is_named(arguments: dict[str, Any], words: list[str]) -> None:
    problem = argument_problem(SPEC, arguments)
    assert all(word in problem for word in words), problem

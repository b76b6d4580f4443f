import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.toolserver.apis import APIS, CARDS, WEATHER
from toolserver.cache.catalog_store import load_catalog
from toolserver.catalog.api_schema import ApiSpec
from toolserver.catalog.views import arguments_schema, documentation, openai_function, read_documentation
from toolserver.errors import DataError
from toolserver.stabletoolbench import read_answer, read_queries

DOCUMENTED = documentation(WEATHER)


def test_a_function_is_offered_in_toolbenchs_words() -> None:
    assert openai_function(WEATHER) == {
        "name": "getforecast_for_sky_watch",
        "description": 'This is the subfunction for tool "sky_watch", you can use this tool.'
        'The description of this function is: "The forecast for a city."',
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Name of the city", "example_value": "Oslo"},
                "days": {"type": "number", "description": "How many days", "example_value": 3},
                "is_id": {"type": "boolean", "description": ""},
                "on": {"type": "string", "description": ""},
            },
            "required": ["city"],
            "optional": ["days", "is_id", "on"],
        },
    }


def test_an_api_without_required_parameters_keeps_its_optional_ones() -> None:
    assert list(openai_function(CARDS)["parameters"]["properties"]) == ["match"]


def as_published(api: ApiSpec) -> dict[str, Any]:
    """Our function with those three slips of ToolBench's that we leave out."""
    renamed = replace(
        api,
        description=api.description.strip().replace(api.name, api.function_name),
        optional=api.optional if api.required else (),
    )
    function: dict[str, Any] = json.loads(json.dumps(openai_function(renamed)).replace('"number"', '"integer"'))
    return function


def test_functions_are_offered_as_in_toolbenchs_own_files(stabletoolbench_data: Path) -> None:
    queries = read_queries(stabletoolbench_data / "solvable_queries" / "test_instruction" / "G1_instruction.json")
    by_id = {query.query_id: query for query in queries}
    files = list((stabletoolbench_data / "toolbench_answer_examples" / "answer").rglob("*.json"))
    assert files
    for file in files:
        answer = read_answer(file)
        ours = [as_published(api) for api in by_id[answer.query_id].apis]
        assert ours == list(answer.functions[:-1])


def test_the_schema_of_arguments_is_plain_json_schema() -> None:
    assert arguments_schema(WEATHER) == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Name of the city", "examples": ["Oslo"]},
            "days": {"type": "number", "description": "How many days", "default": 3},
            "is_id": {"type": "boolean", "description": ""},
            "on": {"type": "string", "description": ""},
        },
        "required": ["city"],
    }


@pytest.mark.parametrize("spec", APIS)
def test_documentation_reads_back(spec: ApiSpec) -> None:
    read_back = read_documentation(json.loads(json.dumps(documentation(spec))))
    assert (read_back, read_back.template_response) == (spec, spec.template_response)


def test_all_real_documentation_reads_back(stabletoolbench_cache: Path) -> None:
    for spec in load_catalog(stabletoolbench_cache):
        assert read_documentation(documentation(spec)) == spec
        names = openai_function(spec)["parameters"]
        assert set(names["required"]) | set(names["optional"]) == set(names["properties"])


def test_what_is_missing_has_a_default() -> None:
    bare = read_documentation({"category_name": "C", "tool_name": "T", "api_name": "a", "method": None})
    assert bare == ApiSpec("C", "T", "a")


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ([], "must be an object"),
        (DOCUMENTED | {"api_name": ""}, "api_name must be a name, not ''"),
        (DOCUMENTED | {"category_name": 3}, "category_name must be a name, not 3"),
        (DOCUMENTED | {"api_description": ["x"]}, "api_description must be text"),
        (DOCUMENTED | {"required_parameters": "city"}, "required_parameters must be a list"),
        (DOCUMENTED | {"optional_parameters": [3]}, "optional_parameters must list objects"),
        (DOCUMENTED | {"optional_parameters": [{"type": "NUMBER"}]}, "name must be a name"),
        (DOCUMENTED | {"api_description": "\ud800"}, "plain JSON"),
        (DOCUMENTED | {"template_response": 2**70}, "plain JSON"),
    ],
)
def test_damaged_documentation_is_refused_with_field_and_value(item: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        read_documentation(item)

"""Formats of an API's documentation: OpenAI function, JSON Schema, StableToolBench's `api_list`."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import orjson

from toolserver.calls.naming import parameter_name, standardize
from toolserver.catalog.api_schema import ApiSpec, FunctionSpec, Parameter
from toolserver.errors import DataError

_DESCRIPTION_LENGTH = 256  # ToolBench cuts here, for functions and for parameters
_JSON_TYPES = {
    "NUMBER": "number",
    "INTEGER": "integer",
    "BOOLEAN": "boolean",
    "ARRAY": "array",
    "LIST": "array",
    "OBJECT": "object",
}


def openai_function(spec: ApiSpec) -> dict[str, Any]:
    """Return the function for a model: `{"name", "description", "parameters"}`.

    Names, text and fields are ToolBench's (`api_json_to_openai_json` of its `rapidapi.py`), as models were trained on
    them. Three of its errors are corrected: a NUMBER is not an "integer", an API without required parameters keeps its
    optional ones, and an API's name is not replaced inside the words of its description. A `FunctionSpec` has its own.
    """
    if isinstance(spec, FunctionSpec):
        published: dict[str, Any] = orjson.loads(orjson.dumps(spec.function))
        return published
    properties = {
        parameter_name(parameter.name): _offered_parameter(parameter) for parameter in (*spec.required, *spec.optional)
    }
    return {
        "name": spec.function_name,
        "description": _offered_description(spec),
        "parameters": {
            "type": "object",
            "properties": properties,
            "required": [parameter_name(parameter.name) for parameter in spec.required],
            "optional": [parameter_name(parameter.name) for parameter in spec.optional],
        },
    }


def arguments_schema(spec: ApiSpec) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the arguments, with the parameter names of `openai_function`.

    A service without `strict_arguments` accepts more than this schema: numeric text, and parameters that are not
    documented.
    """
    if isinstance(spec, FunctionSpec):
        schema: dict[str, Any] = openai_function(spec)["parameters"]
        return schema
    properties = {parameter_name(parameter.name): _schema(parameter, "examples") for parameter in spec.required}
    for parameter in spec.optional:
        properties.setdefault(parameter_name(parameter.name), _schema(parameter, "default"))
    required = list(dict.fromkeys(parameter_name(parameter.name) for parameter in spec.required))
    return {"type": "object", "properties": properties, "required": required}


def documentation(spec: ApiSpec) -> dict[str, Any]:
    """Return the API as an item of a StableToolBench query's `api_list`; `read_documentation` is the inverse."""
    item: dict[str, Any] = {
        "category_name": spec.category,
        "tool_name": spec.tool,
        "api_name": spec.name,
        "api_description": spec.description,
        "required_parameters": [asdict(parameter) for parameter in spec.required],
        "optional_parameters": [asdict(parameter) for parameter in spec.optional],
        "method": spec.method,
    }
    if spec.tool_description:
        item["tool_description"] = spec.tool_description
    if spec.template_response is not None:
        item["template_response"] = spec.template_response
    return item


def read_documentation(item: Mapping[str, Any]) -> ApiSpec:
    """Read an item of an `api_list`. Raises `DataError` for a missing name or a field of the wrong type."""
    if not isinstance(item, Mapping):
        raise DataError(f"an API must be an object, not {item!r:.100}")
    try:
        orjson.dumps(item)  # values that are not UTF-8 JSON cannot be stored
    except TypeError as error:
        raise DataError(f"an API must be plain JSON: {error}") from None
    return ApiSpec(
        category=_name(item, "category_name"),
        tool=_name(item, "tool_name"),
        name=_name(item, "api_name"),
        description=_text(item, "api_description"),
        required=_parameters(item, "required_parameters"),
        optional=_parameters(item, "optional_parameters"),
        method=_text(item, "method") or "GET",
        template_response=item.get("template_response"),
        tool_description=_text(item, "tool_description"),
    )


def _offered_description(spec: ApiSpec) -> str:
    text = f'This is the subfunction for tool "{standardize(spec.tool)}", you can use this tool.'
    description = spec.description.strip()[:_DESCRIPTION_LENGTH]
    return f'{text}The description of this function is: "{description}"' if description else text


def _offered_parameter(parameter: Parameter) -> dict[str, Any]:
    offered = {"type": _json_type(parameter), "description": parameter.description[:_DESCRIPTION_LENGTH]}
    return offered if parameter.default == "" else {**offered, "example_value": parameter.default}


def _schema(parameter: Parameter, example: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": _json_type(parameter), "description": parameter.description}
    if parameter.default != "":
        schema[example] = [parameter.default] if example == "examples" else parameter.default
    return schema


def _json_type(parameter: Parameter) -> str:
    return _JSON_TYPES.get(parameter.type.upper(), "string")


def _parameters(item: Mapping[str, Any], field: str) -> tuple[Parameter, ...]:
    listed = item.get(field) or ()
    if not isinstance(listed, Iterable) or isinstance(listed, str | Mapping):
        raise DataError(f"{field} must be a list, not {listed!r:.100}")
    return tuple(_parameter(entry, field) for entry in listed)


def _parameter(entry: Any, field: str) -> Parameter:
    if not isinstance(entry, Mapping):
        raise DataError(f"{field} must list objects, not {entry!r:.100}")
    default = entry.get("default", "")
    return Parameter(
        name=_name(entry, "name"),
        type=_text(entry, "type") or "STRING",
        description=_text(entry, "description"),
        default="" if default is None else default,
    )


def _name(item: Mapping[str, Any], field: str) -> str:
    name = item.get(field)
    if not isinstance(name, str) or not name:
        raise DataError(f"{field} must be a name, not {name!r:.100}")
    return name


def _text(item: Mapping[str, Any], field: str) -> str:
    text = item.get(field)
    if text is None:
        return ""
    if not isinstance(text, str):
        raise DataError(f"{field} must be text, not {text!r:.100}")
    return text

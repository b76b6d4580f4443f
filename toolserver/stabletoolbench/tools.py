"""Reader and writer of StableToolBench's `tools/<Category>/<tool>.json`: the documentation of tools."""

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from toolserver.cache import StoreProblem
from toolserver.calls.naming import standardize
from toolserver.catalog.api_schema import ApiSpec
from toolserver.catalog.views import documentation, read_documentation
from toolserver.errors import DataError
from toolserver.new_file import new_file
from toolserver.stabletoolbench.problems import ImportProblems, read_json
from toolserver.stabletoolbench.sources import folder_name


def read_tool(path: Path, problems: ImportProblems) -> Iterator[ApiSpec]:
    """Read the APIs of one tool's file. The category is the folder's name."""
    content = read_json(path, problems)
    if content is None:
        return
    if not isinstance(content, dict) or not isinstance(content.get("api_list"), list):
        problems.add(path, "", 'a tool must be {"tool_name": ..., "api_list": [...]}')
        return
    for position, api in enumerate(content["api_list"]):
        try:
            yield read_documentation(_as_item(api, content, path.parent.name))
        except DataError as error:
            problems.add(path, f"api_list[{position}]", error)


def write_tools(folder: Path, specs: Iterable[ApiSpec], left_out: list[StoreProblem] | None = None) -> int:
    """Write every tool's file below `folder`. Return their number.

    Args:
        folder: Folder to write; files of the same names are replaced.
        specs: APIs.
        left_out: List that gets the tools whose names cannot be those of a file and its folder. Without it, the first
            one raises.

    Raises:
        ConfigurationError: A file cannot be written.
        DataError: A name cannot be that of a file or folder.
    """
    tools = 0
    ordered = sorted(specs, key=lambda spec: spec.key)
    for (category, tool), apis in groupby(ordered, key=lambda spec: spec.key[:2]):
        try:
            target = folder / folder_name(category) / f"{folder_name(tool)}.json"
        except DataError as error:
            if left_out is None:
                raise
            left_out.append(StoreProblem("", f"the tool {tool!r:.80}: {error}"))
            continue
        with new_file(target) as file:
            file.write(json.dumps(_tool(list(apis)), indent=2).encode())
        tools += 1
    return tools


def _as_item(api: Any, tool: dict[str, Any], category: str) -> dict[str, Any]:
    """Convert one API of a tool's file into an item of a query's `api_list`."""
    if not isinstance(api, dict):
        raise DataError(f"an API must be an object, not {api!r:.100}")
    template = api["template_response"] if "template_response" in api else api.get("schema")
    return {
        **api,
        "category_name": category,
        "tool_name": tool.get("tool_name") or tool.get("standardized_name"),
        "api_name": api.get("name"),
        "api_description": api.get("description"),
        "tool_description": tool.get("tool_description"),
        "template_response": template or None,
    }


def _tool(specs: list[ApiSpec]) -> dict[str, Any]:
    first = specs[0]
    return {
        "tool_name": first.tool,
        "tool_description": next((spec.tool_description for spec in specs if spec.tool_description), ""),
        "title": first.tool,
        "standardized_name": standardize(first.tool),
        "api_list": [_api(spec) for spec in specs],
    }


def _api(spec: ApiSpec) -> dict[str, Any]:
    item = documentation(spec)
    api = {
        "name": spec.name,
        "description": spec.description,
        "method": spec.method,
        "required_parameters": item["required_parameters"],
        "optional_parameters": item["optional_parameters"],
    }
    return api if spec.template_response is None else {**api, "template_response": spec.template_response}

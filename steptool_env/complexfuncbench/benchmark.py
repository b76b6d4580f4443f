"""ComplexFuncBench on this machine: tasks, API documentation and recordings, compiled at the first use."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from steptool_env.complexfuncbench.data_flow import data_flows
from steptool_env.complexfuncbench.task import GoldTask, NeededCall, task_from_json, task_to_json
from steptool_env.suites.imported import import_once
from toolserver.cache import ResponseCache
from toolserver.cache.catalog_store import load_catalog, save_catalog
from toolserver.calls.call_key import canonical_key
from toolserver.calls.naming import parameter_name
from toolserver.catalog.api_schema import ApiSpec
from toolserver.catalog.catalog import Catalog
from toolserver.complexfuncbench import (
    RecordedTask,
    canonical_call,
    find_data,
    import_recordings,
    is_lookup,
    read_apis,
    read_tasks,
)
from toolserver.complexfuncbench.data import data_files

_FILE = "complexfuncbench-tasks.json"
_FORMAT = 2  # of what is compiled
_FIELD = re.compile(r"EndPoint: /api/v1/(\w+)/")
_ALWAYS = "meta"  # look-up of coordinates, which belongs to every field


@dataclass(frozen=True)
class CompiledBenchmark:
    """The compiled benchmark.

    Attributes:
        cache: Directory of the recorded answers and the catalog.
        apis: Documented APIs by function name, in the order of the documentation.
        tasks: Tasks by id, in the benchmark's order.
    """

    cache: Path
    apis: Mapping[str, ApiSpec]
    tasks: Mapping[str, GoldTask]


def load_benchmark(data: str | Path | None = None) -> CompiledBenchmark:
    """Return the benchmark in `data`, by default the installed one. Raises `ConfigurationError` without it."""
    return _load(find_data(data))


@lru_cache(maxsize=2)
def _load(folder: Path) -> CompiledBenchmark:
    kind, files = f"complexfuncbench-{_FORMAT}", data_files(folder)
    place = import_once(kind, folder, files, partial(_compile, folder))
    content = orjson.loads((place / _FILE).read_bytes())
    documented = {spec.function_name: spec for spec in load_catalog(place)}
    tasks = (task_from_json(record) for record in content["tasks"])
    return CompiledBenchmark(
        place, {name: documented[name] for name in content["functions"]}, {task.id: task for task in tasks}
    )


def _compile(folder: Path, draft: Path) -> None:
    """Write recordings, catalog and tasks into the directory `draft`."""
    apis, catalog = read_apis(folder), Catalog()
    tasks = list(read_tasks(folder))
    with ResponseCache(draft) as cache:
        import_recordings(tasks, apis, cache, catalog)
    save_catalog(catalog, draft)
    content = {
        "functions": [spec.function_name for spec in apis.values()],
        "tasks": [task_to_json(gold_task(task, apis)) for task in tasks],
    }
    (draft / _FILE).write_bytes(orjson.dumps(content))


def gold_task(task: RecordedTask, apis: Mapping[str, ApiSpec]) -> GoldTask:
    """Return the reference solution of a recorded task, with the data flow between its calls."""
    flows = data_flows(task.query, task.calls, apis)
    calls = []
    for call, flow in zip(task.calls, flows, strict=True):
        spec = apis[call.api]
        lookup = is_lookup(spec)
        calls.append(
            NeededCall(
                spec.function_name,
                {parameter_name(name): value for name, value in call.arguments.items()},
                call_key(spec, call.arguments),
                lookup,
                digest_of(call.response) if lookup else "",
                tuple(dict.fromkeys(each.holders for each in flow.inputs)),
            )
        )
    fields = {_field(apis[call.api]) for call in task.calls} | {_ALWAYS}
    offered = tuple(spec.function_name for spec in apis.values() if _field(spec) in fields)
    grounded = not any(flow.unknown for flow in flows)
    return GoldTask(task.id, task.group, task.pattern, task.query, offered, tuple(calls), grounded)


def call_key(spec: ApiSpec, arguments: dict[str, Any]) -> str:
    """Return the key of a call in canonical form. Raises `DataError` if the arguments are not JSON data."""
    return canonical_key(*spec.key, canonical_call(spec, arguments)).hex()


def digest_of(response: Any) -> str:
    """Return a digest of an answer that does not depend on the order of names."""
    return blake2b(orjson.dumps(response, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def _field(spec: ApiSpec) -> str:
    match = _FIELD.search(spec.description)
    return match[1] if match else ""

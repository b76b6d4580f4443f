"""Import of ComplexFuncBench's recorded answers into a cache."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import orjson

from toolserver.cache import PutResult, ResponseCache
from toolserver.calls.call_key import canonical_key
from toolserver.catalog.api_schema import ApiSpec, ToolCall, encode_body
from toolserver.catalog.catalog import AddResult, Catalog
from toolserver.complexfuncbench.data import CATEGORY, TOOL, GoldStep, RecordedTask
from toolserver.complexfuncbench.equivalence import canonical_call

SOURCE = "nestful-wrapper/complexfuncbench"


@dataclass(frozen=True, slots=True)
class RecordingReport:
    """Result of an import.

    Attributes:
        apis: Numbers of APIs by the result in the catalog.
        calls: Numbers of calls of all reference solutions by the result in the cache: `kept` are those whose call has
            an earlier recording with another answer.
        own: Numbers of answers that are kept for their own task alone, by the result in the cache.
    """

    apis: Counter[AddResult] = field(default_factory=Counter)
    calls: Counter[PutResult] = field(default_factory=Counter)
    own: Counter[PutResult] = field(default_factory=Counter)


def arguments_of_task(task_id: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments under which the cache holds the answer to a call that belongs to one task alone.

    They differ from those of every other call: the canonical form of an argument's name has no `@`.
    """
    return {**arguments, "@task": task_id}


def import_recordings(
    tasks: Iterable[RecordedTask], apis: dict[str, ApiSpec], cache: ResponseCache, catalog: Catalog
) -> RecordingReport:
    """Record the calls of all reference solutions in the order of the file, under their canonical arguments.

    Some calls were recorded twice with different answers. The first answer stays; a later one is kept for its own task,
    because that task's next calls hold values of it. A second import changes nothing.

    Raises:
        CacheError: The cache cannot be written.
    """
    report = RecordingReport()
    for spec in apis.values():
        report.apis[catalog.add(spec)] += 1
    recorder = _Recorder(apis, cache, report)
    with cache.transaction():
        for task in tasks:
            for call in task.calls:
                recorder.record(task.id, call)
    return report


class _Recorder:
    """Records calls, and compares the answers to equal calls by value: their order of names differs."""

    def __init__(self, apis: dict[str, ApiSpec], cache: ResponseCache, report: RecordingReport) -> None:
        self._apis = apis
        self._cache = cache
        self._report = report
        self._first: dict[bytes, bytes] = {}

    def record(self, task_id: str, call: GoldStep) -> None:
        spec = self._apis[call.api]
        arguments = canonical_call(spec, call.arguments)
        source, body = f"{SOURCE} {task_id}", encode_body("", call.response)
        digest = blake2b(orjson.dumps(call.response, option=orjson.OPT_SORT_KEYS)).digest()
        key = canonical_key(*spec.key, arguments)
        if key in self._first:
            result = PutResult.UNCHANGED if self._first[key] == digest else PutResult.KEPT
        else:
            self._first[key] = digest
            result = self._cache.put(ToolCall(CATEGORY, TOOL, call.api, arguments), body, source=source)
        self._report.calls[result] += 1
        if result is PutResult.KEPT:
            own = ToolCall(CATEGORY, TOOL, call.api, arguments_of_task(task_id, arguments))
            self._report.own[self._cache.put(own, body, source=source)] += 1

"""Resolver of ComplexFuncBench: recordings of equal calls, and of the episode's own task first."""

from collections.abc import Iterable

from toolserver.cache import ResponseCache
from toolserver.calls.call_key import canonical_key
from toolserver.calls.episode_state import EpisodeState
from toolserver.catalog.api_schema import ApiSpec, ToolResponse
from toolserver.complexfuncbench import CATEGORY, arguments_of_task, canonical_call
from toolserver.resolvers.base import Resolver, ValidatedCall


class TaskRecordingsResolver(Resolver):
    """Answers a call of ComplexFuncBench by the recording of an equal call, byte for byte.

    Some calls were recorded twice with different answers. A call whose episode state names a task gets that task's own
    recording; every other call gets the first one. Equal calls are those of `toolserver.complexfuncbench.equivalence`.
    """

    def __init__(self, cache: ResponseCache) -> None:
        """`cache` was written by `import_recordings`; the `RecordedResolver` closes it."""
        self._cache = cache
        self.blocking = cache.remote

    def resolve(self, call: ValidatedCall) -> ToolResponse | None:
        """Return the recorded answer; `None` for a call that was not recorded, and for APIs of other benchmarks."""
        if call.category != CATEGORY or call.spec is None:
            return None
        arguments = canonical_call(call.spec, call.arguments)
        task = call.state.task if isinstance(call.state, EpisodeState) else ""
        entry = None
        if task:
            own = arguments_of_task(task, arguments)
            entry = self._cache.get(canonical_key(CATEGORY, call.tool, call.api, own))
        if entry is None:
            entry = self._cache.get(canonical_key(CATEGORY, call.tool, call.api, arguments))
        return None if entry is None else entry.response


def has_task_recordings(catalog: Iterable[ApiSpec]) -> bool:
    """Return True for a catalog with APIs of ComplexFuncBench."""
    return any(spec.category == CATEGORY for spec in catalog)

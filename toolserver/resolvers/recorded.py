"""Resolvers that read and write the cache of recorded responses."""

from collections.abc import Callable
from datetime import UTC, datetime

from toolserver.cache import PutResult, ResponseCache
from toolserver.catalog.api_schema import Outcome, ToolCall, ToolResponse
from toolserver.resolvers.base import Resolver, ValidatedCall


def now_text() -> str:
    """Return the current time for a recording: ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class MemoryCacheResolver(Resolver):
    """Answers recorded calls that are in memory. It precedes the `RecordedResolver`, which closes the cache."""

    blocking = False

    def __init__(self, cache: ResponseCache) -> None:
        self._cache = cache

    def resolve(self, call: ValidatedCall) -> ToolResponse | None:
        """Return the recorded answer, or `None` when it is not in memory."""
        entry = self._cache.get_from_memory(call.key)
        return None if entry is None else entry.response


class RecordedResolver:
    """Answers recorded calls, byte for byte. It never uses the answer of a similar call.

    It blocks when the store is on another machine.
    """

    def __init__(self, cache: ResponseCache) -> None:
        self._cache = cache
        self.blocking = cache.remote

    def resolve(self, call: ValidatedCall) -> ToolResponse | None:
        """Return the recorded answer, or `None` when the call is not recorded."""
        entry = self._cache.get(call.key)
        return None if entry is None else entry.response

    def close(self) -> None:
        """Close the cache."""
        self._cache.close()


class WriteThroughResolver:
    """Calls another resolver and records its answers, so that each call goes upstream once.

    Only successes are recorded. Identical concurrent calls go upstream once.

    Args:
        inner: Resolver that answers.
        cache: Cache for the answers; a read-only one is not written.
        source: Source that the entries name.
        clock: Function that returns the time of a recording as text.
    """

    blocking = True

    def __init__(self, inner: Resolver, cache: ResponseCache, source: str, clock: Callable[[], str] = now_text) -> None:
        self._inner = inner
        self._cache = cache
        self._source = source
        self._clock = clock

    def resolve(self, call: ValidatedCall) -> ToolResponse | None:
        """Return the recorded answer or the inner resolver's; `None` when that is `None`."""
        try:
            return self._cache.resolve_once(call.key, lambda: self._ask_and_keep(call))
        except _NoAnswer:
            return None

    def close(self) -> None:
        """Close the inner resolver; the `RecordedResolver` closes the cache."""
        self._inner.close()

    def _ask_and_keep(self, call: ValidatedCall) -> ToolResponse:
        answer = self._inner.resolve(call)
        if answer is None:
            raise _NoAnswer
        if answer.outcome is not Outcome.OK or self._cache.read_only:
            return answer
        result = self._cache.put(
            ToolCall(call.category, call.tool, call.api, call.arguments),
            answer.body,
            answer.outcome,
            answer.provenance,
            source=self._source,
            recorded_at=self._clock(),
        )
        entry = self._cache.get(call.key) if result is PutResult.KEPT else None
        return answer if entry is None else entry.response  # another process recorded it first


class _NoAnswer(Exception):  # noqa: N818 - not an error, and caught in this module
    """The inner resolver has no answer."""

"""Answers from the record, and additions to it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from toolserver.cache import PutResult, ResponseCache
from toolserver.catalog.api_schema import Outcome, ToolCall, ToolResponse
from toolserver.resolvers.base import Resolver, ValidatedCall


def now_text() -> str:
    """The time of a recording: ISO 8601, UTC, whole seconds. It is kept with the entry and shown to no policy."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class MemoryCacheResolver:
    """Answers what was recorded, as far as it is in memory: stands before the `RecordedResolver` of a remote store."""

    blocking = False

    def __init__(self, cache: ResponseCache) -> None:
        self._cache = cache

    def resolve(self, call: ValidatedCall) -> ToolResponse | None:
        """The recorded answer, or `None` when it is not in memory."""
        entry = self._cache.recall(call.key)
        return None if entry is None else entry.response

    def close(self) -> None:
        """Nothing: the cache belongs to the `RecordedResolver`."""


class RecordedResolver:
    """Answers what was recorded, byte for byte. It never answers from a similar call.

    It blocks when the store is on another machine, which may be slow or away.
    """

    def __init__(self, cache: ResponseCache) -> None:
        self._cache = cache
        self.blocking = cache.remote

    def resolve(self, call: ValidatedCall) -> ToolResponse | None:
        """The recorded answer, or `None` when the call was never recorded."""
        entry = self._cache.get(call.key)
        return None if entry is None else entry.response

    def close(self) -> None:
        """Close the cache."""
        self._cache.close()


class WriteThroughResolver:
    """Asks another resolver and keeps what it answers, so that the same call costs once.

    Only successes are kept: a failure of an upstream server is an answer for now, never for ever. Identical calls that
    come at the same time go upstream once.

    Args:
        inner: Who is asked.
        cache: Where the answers go; one that is open for reading only is left as it is.
        source: What is noted as the source of the entries.
        clock: Gives the time that is noted with them.
    """

    blocking = True

    def __init__(self, inner: Resolver, cache: ResponseCache, source: str, clock: Callable[[], str] = now_text) -> None:
        self._inner = inner
        self._cache = cache
        self._source = source
        self._clock = clock

    def resolve(self, call: ValidatedCall) -> ToolResponse | None:
        """The inner resolver's answer, or the one that was recorded meanwhile; `None` when the inner one has none."""
        try:
            return self._cache.resolve_once(call.key, lambda: self._ask_and_keep(call))
        except _NoAnswer:
            return None

    def close(self) -> None:
        """Close the inner resolver. The cache belongs to the `RecordedResolver` that reads it."""
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
        return answer if entry is None else entry.response  # another process was first: everyone gets its answer


class _NoAnswer(Exception):  # noqa: N818 - it says that there is none, and never leaves this module
    """The inner resolver has no answer."""

"""Between the event loop and the service: instant answers at once, slow ones on threads, everything counted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Generic, TypeVar

from toolserver.calls.episode_state import EpisodeState
from toolserver.catalog.api_schema import Outcome, Provenance, ToolCall, ToolResponse
from toolserver.errors import CacheError
from toolserver.http.codec import malformed
from toolserver.http.metrics import Metrics
from toolserver.resolvers.base import refuse
from toolserver.resolvers.recorded import RecordedResolver
from toolserver.service.service import PendingAnswer, ToolService

T = TypeVar("T")
U = TypeVar("U")


class Deferred(Generic[T]):
    """What is not there at once. Nothing is under way until it is awaited, so it can be dropped.

    Args:
        get: Does what is left to do.
    """

    def __init__(self, get: Callable[[], Awaitable[T]]) -> None:
        self.get = get

    def then(self, convert: Callable[[T], U]) -> Deferred[U]:
        """The same, with `convert` to be applied to it."""

        async def converted() -> U:
            return convert(await self.get())

        return Deferred(converted)


class CallExecutor:
    """Answers calls without holding up the event loop.

    A recorded, synthetic or world answer takes microseconds and is given inline; a thread would cost more than it.
    Upstream answers, and records on another machine, are awaited, at most `timeout` seconds: then the call's outcome is
    `TIMEOUT`, while the upstream answer, when it comes after all, is still recorded for the next time.

    Args:
        service: Who answers.
        metrics: Counts every call.
        timeout: Seconds to wait for one answer.
        workers: Upstream calls at a time.
    """

    def __init__(self, service: ToolService, metrics: Metrics, *, timeout: float, workers: int) -> None:
        self.service = service
        self._codec = service.codec
        self._metrics = metrics
        self._timeout = timeout
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="upstream")
        self._asks_upstream = any(
            resolver.blocking and not isinstance(resolver, RecordedResolver) for resolver in service.resolvers
        )

    def start(self, call: ToolCall, route: str) -> ToolResponse | Deferred[ToolResponse]:
        """Answer one call that came by `route` if that takes no waiting. A call is counted when it is answered."""
        answer = self._begin(call)
        if isinstance(answer, ToolResponse):
            self._metrics.count_call(route, answer, True)
            return answer
        return Deferred(partial(self._wait, answer, call, route))

    def start_many(
        self, calls: Sequence[ToolCall | str], route: str
    ) -> list[ToolResponse] | Deferred[list[ToolResponse]]:
        """Answer a batch, in order. A text in place of a call says what is wrong with that element."""
        started = [malformed(call) if isinstance(call, str) else self._start_in_batch(call) for call in calls]
        answers = [answer for answer in started if isinstance(answer, ToolResponse)]
        if len(answers) < len(started):
            return Deferred(partial(self._wait_for_all, started, calls, route))
        for answer in answers:
            self._metrics.count_call(route, answer, True)
        return answers

    def close(self) -> None:
        """Take no more calls. Upstream calls under way end by their own time-out."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.service.close()

    def _begin(self, call: ToolCall) -> ToolResponse | PendingAnswer:
        """`ToolService.start` between state tokens: decode the call's, encode the answer's."""
        if not call.state or self._codec is None:
            return self.service.start(call)
        decoded = self._codec.decode_call(call)
        answer = decoded if isinstance(decoded, ToolResponse) else self.service.start(decoded)
        return self._with_token(answer) if isinstance(answer, ToolResponse) else answer

    def _with_token(self, answer: ToolResponse) -> ToolResponse:
        if self._codec is None or not isinstance(answer.state, EpisodeState):
            return answer
        body, outcome, provenance, state, latency, _ = answer
        return ToolResponse(body, outcome, provenance, self._codec.token_of(state), latency)

    def _start_in_batch(self, call: ToolCall) -> ToolResponse | PendingAnswer:
        """`ToolService.start`, where a defect of a resolver is the outcome of its call and leaves the batch alone.

        A broken store is no defect of a call: `CacheError` is raised, and the request is answered with 503.
        """
        try:
            return self._begin(call)
        except CacheError:
            raise
        except Exception:
            return _defect(call)

    async def _wait_for_all(
        self, started: Sequence[ToolResponse | PendingAnswer], calls: Sequence[ToolCall | str], route: str
    ) -> list[ToolResponse]:
        waiting: list[Awaitable[ToolResponse]] = []
        for answer, call in zip(started, calls, strict=True):
            if isinstance(answer, ToolResponse):
                self._metrics.count_call(route, answer, True)
            else:
                assert isinstance(call, ToolCall)
                waiting.append(self._wait_in_batch(answer, call, route))
        late = iter(await asyncio.gather(*waiting))
        return [answer if isinstance(answer, ToolResponse) else next(late) for answer in started]

    async def _wait_in_batch(self, pending: PendingAnswer, call: ToolCall, route: str) -> ToolResponse:
        try:
            return await self._wait(pending, call, route)
        except CacheError:
            raise
        except Exception:
            answer = _defect(call)
            self._metrics.count_call(route, answer, False)
            return answer

    async def _wait(self, pending: PendingAnswer, call: ToolCall, route: str) -> ToolResponse:
        running = asyncio.get_running_loop().run_in_executor(self._pool, pending)
        try:
            answer = self._with_token(await asyncio.wait_for(asyncio.shield(running), self._timeout))
        except TimeoutError:
            running.add_done_callback(_forget)
            answer = _TIMED_OUT._replace(state=call.state)
        # From a thread, but perhaps no miss: a record on another machine is looked up there, too. What an upstream
        # server once said may come from either; it counts as a hit when it is in memory.
        recorded = not self._asks_upstream or answer.provenance is Provenance.RECORDED
        self._metrics.count_call(route, answer, recorded)
        return answer


_TIMED_OUT = refuse(Outcome.TIMEOUT, "The tool did not answer in time.")
_FAILED = refuse(Outcome.FAILED, "Internal error.")
_log = logging.getLogger(__name__)


def _defect(call: ToolCall) -> ToolResponse:
    """The answer to a call at which a resolver raised; the traceback is logged."""
    _log.exception("a resolver raised at %s/%s/%s", call.category[:80], call.tool[:80], call.api[:80])
    return _FAILED._replace(state=call.state)


def _forget(running: asyncio.Future[ToolResponse]) -> None:
    """Retrieve the exception of a late answer, so that asyncio does not warn of it."""
    if not running.cancelled():
        running.exception()

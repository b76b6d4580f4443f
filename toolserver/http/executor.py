"""Execution of calls: instant answers on the event loop, slow ones on threads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Generic, TypeVar

from toolserver.calls.episode_state import EpisodeState
from toolserver.catalog.api_schema import Outcome, Provenance, ToolCall, ToolResponse
from toolserver.errors import CacheError, DamagedEntryError
from toolserver.http.metrics import Metrics
from toolserver.resolvers.base import refuse, refuse_damaged
from toolserver.resolvers.recorded import RecordedResolver
from toolserver.service.service import PendingAnswer, ToolService

T = TypeVar("T")
U = TypeVar("U")


class Deferred(Generic[T]):
    """A result that has to be awaited. Nothing runs before that."""

    def __init__(self, get: Callable[[], Awaitable[T]]) -> None:
        self.get = get

    def then(self, convert: Callable[[T], U]) -> Deferred[U]:
        """The result with `convert` applied to it."""

        async def converted() -> U:
            return convert(await self.get())

        return Deferred(converted)


class CallExecutor:
    """Answers calls without blocking the event loop.

    A recorded, synthetic or world answer takes microseconds and is computed inline; a thread would cost more.
    Upstream answers, and records on another machine, are awaited for at most `timeout` seconds. After that the call's
    outcome is `TIMEOUT`. A call that waits for a thread is dropped then; the late answer to any other one is recorded.

    Args:
        service: Answers calls.
        metrics: Counts every call.
        timeout: Seconds to wait for one answer.
        workers: Maximum number of simultaneous upstream calls.
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
        """Answer one call of `route` if that needs no waiting. A call is counted when it is answered."""
        answer = self._begin(call)
        if isinstance(answer, ToolResponse):
            self._metrics.count_call(route, answer, True)
            return answer
        return Deferred(partial(self._wait, answer, call, route))

    def start_many(
        self, calls: Sequence[ToolCall | str], route: str
    ) -> list[ToolResponse] | Deferred[list[ToolResponse]]:
        """Answer a batch, in order. A text in place of a call is the error of that element."""
        started = [_malformed(call) if isinstance(call, str) else self._start_in_batch(call) for call in calls]
        answers = [answer for answer in started if isinstance(answer, ToolResponse)]
        if len(answers) < len(started):
            return Deferred(partial(self._wait_for_all, started, calls, route))
        self._metrics.count_calls(route, answers)
        return answers

    def close(self) -> None:
        """Accept no more calls. Running upstream calls end by their own time-out."""
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
        """`ToolService.start`, where an exception of a resolver becomes the outcome `failed` of its call.

        So does a damaged recording. A broken store fails the whole request: `CacheError` is raised.
        """
        try:
            return self._begin(call)
        except DamagedEntryError as error:
            return refuse_damaged(call, error)
        except CacheError:
            raise
        except Exception:
            return _defect(call)

    async def _wait_for_all(
        self, started: Sequence[ToolResponse | PendingAnswer], calls: Sequence[ToolCall | str], route: str
    ) -> list[ToolResponse]:
        self._metrics.count_calls(route, [answer for answer in started if isinstance(answer, ToolResponse)])
        waiting: list[Awaitable[ToolResponse]] = []
        for answer, call in zip(started, calls, strict=True):
            if not isinstance(answer, ToolResponse):
                assert isinstance(call, ToolCall)
                waiting.append(self._wait_in_batch(answer, call, route))
        late = iter(await asyncio.gather(*waiting))
        return [answer if isinstance(answer, ToolResponse) else next(late) for answer in started]

    async def _wait_in_batch(self, pending: PendingAnswer, call: ToolCall, route: str) -> ToolResponse:
        try:
            return await self._wait(pending, call, route)
        except DamagedEntryError as error:
            answer = refuse_damaged(call, error)
        except CacheError:
            raise
        except Exception:
            answer = _defect(call)
        self._metrics.count_call(route, answer, False)
        return answer

    async def _wait(self, pending: PendingAnswer, call: ToolCall, route: str) -> ToolResponse:
        running = asyncio.get_running_loop().run_in_executor(self._pool, pending)
        try:
            # At the time-out, `wait_for` cancels a call that waits for a thread: calls would pile up while the upstream
            # server hangs, and others wait for them when it is back. One that runs cannot be cancelled.
            answer = self._with_token(await asyncio.wait_for(running, self._timeout))
        except TimeoutError:
            answer = _TIMED_OUT._replace(state=call.state)
        # Not every answer from a thread is a miss: a thread also reads records on another machine. A recorded upstream
        # answer counts as a hit if it comes from memory.
        recorded = not self._asks_upstream or answer.provenance is Provenance.RECORDED
        self._metrics.count_call(route, answer, recorded)
        return answer


_TIMED_OUT = refuse(Outcome.TIMEOUT, "The tool did not answer in time.")
_FAILED = refuse(Outcome.FAILED, "Internal error.")
_log = logging.getLogger(__name__)


def _malformed(problem: str) -> ToolResponse:
    return refuse(Outcome.INVALID_ARGUMENTS, f"Malformed call: {problem}.")


def _defect(call: ToolCall) -> ToolResponse:
    """The answer to a call on which a resolver raised; the traceback is logged."""
    _log.exception("a resolver raised at %s/%s/%s", call.category[:80], call.tool[:80], call.api[:80])
    return _FAILED._replace(state=call.state)

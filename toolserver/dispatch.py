"""Between the event loop and the service: instant answers at once, slow ones on threads, everything counted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from toolserver.metrics import Meter
from toolserver.resolvers.base import refuse
from toolserver.resolvers.recorded import RecordedResolver
from toolserver.schemas import Outcome, Provenance, ToolCall, ToolResponse
from toolserver.service import PendingAnswer, ToolService
from toolserver.wire import malformed


class Dispatcher:
    """Answers calls without holding up the event loop.

    A recorded, synthetic or world answer takes microseconds and is given inline; a thread would cost more than it.
    Upstream answers, and records on another machine, are awaited, at most `timeout` seconds: then the call's outcome is
    `TIMEOUT`, while the upstream answer, when it comes after all, is still recorded for the next time.

    Args:
        service: Who answers.
        meter: Counts every call.
        timeout: Seconds to wait for one answer.
        workers: Upstream calls at a time.
    """

    def __init__(self, service: ToolService, meter: Meter, *, timeout: float, workers: int) -> None:
        self.service = service
        self._meter = meter
        self._timeout = timeout
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="upstream")
        self._asks_upstream = any(
            resolver.blocking and not isinstance(resolver, RecordedResolver) for resolver in service.resolvers
        )

    async def answer(self, call: ToolCall, route: str) -> ToolResponse:
        """Answer one call that came by `route`."""
        answer = self.service.start(call)
        if isinstance(answer, ToolResponse):
            self._meter.count_call(route, answer, True)
            return answer
        return await self._wait(answer, call, route)

    async def answer_many(self, calls: Sequence[ToolCall | str], route: str) -> list[ToolResponse]:
        """Answer a batch, in order. A text in place of a call says what is wrong with that element."""
        answers: list[ToolResponse] = []
        waiting: list[tuple[int, asyncio.Task[ToolResponse]]] = []
        for position, call in enumerate(calls):
            answer = malformed(call) if isinstance(call, str) else self.service.start(call)
            if isinstance(answer, ToolResponse):
                self._meter.count_call(route, answer, True)
            else:
                assert isinstance(call, ToolCall)
                waiting.append((position, asyncio.create_task(self._wait(answer, call, route))))
                answer = _TIMED_OUT  # keeps the place
            answers.append(answer)
        if not waiting:
            return answers
        late = await asyncio.gather(*(task for _, task in waiting))
        for (position, _), answer in zip(waiting, late, strict=True):
            answers[position] = answer
        return answers

    def close(self) -> None:
        """Take no more calls. Upstream calls under way end by their own time-out."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.service.close()

    async def _wait(self, pending: PendingAnswer, call: ToolCall, route: str) -> ToolResponse:
        running = asyncio.get_running_loop().run_in_executor(self._pool, pending)
        try:
            answer = await asyncio.wait_for(asyncio.shield(running), self._timeout)
        except TimeoutError:
            running.add_done_callback(_forget)
            answer = _TIMED_OUT._replace(state=call.state)
        # From a thread, but perhaps no miss: a record on another machine is looked up there, too. What an upstream
        # server once said may come from either; it counts as a hit when it is in memory.
        recorded = not self._asks_upstream or answer.provenance is Provenance.RECORDED
        self._meter.count_call(route, answer, recorded)
        return answer


_TIMED_OUT = refuse(Outcome.TIMEOUT, "The tool did not answer in time.")


def _forget(running: asyncio.Future[ToolResponse]) -> None:
    """Take note of a late answer's exception, so that nobody warns that it was never looked at."""
    if not running.cancelled():
        running.exception()

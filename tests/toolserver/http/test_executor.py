"""Calls that wait for another server."""

import asyncio
from threading import Event

from tests.toolserver.apis import APIS
from tests.toolserver.serving import OSLO
from toolserver.catalog.api_schema import Outcome, Provenance, ToolCall, ToolResponse, encode_body
from toolserver.catalog.catalog import Catalog
from toolserver.http.executor import CallExecutor, Deferred
from toolserver.http.metrics import Metrics
from toolserver.resolvers.base import Resolver, ValidatedCall
from toolserver.service.service import ToolService

LIVE = ToolResponse(encode_body("", "fresh"), Outcome.OK, Provenance.LIVE)


class Hanging(Resolver):
    """Answers no call before its gate is open, and lists the cities that it was asked for."""

    blocking = True

    def __init__(self) -> None:
        self.gate = Event()
        self.asked: list[str] = []

    def resolve(self, call: ValidatedCall) -> ToolResponse:
        self.asked.append(call.arguments["city"])
        self.gate.wait()
        return LIVE


def test_a_call_that_timed_out_before_it_went_upstream_never_goes_there() -> None:
    upstream = Hanging()
    executor = CallExecutor(ToolService(Catalog(APIS), [upstream]), Metrics(), timeout=0.05, workers=1)

    async def answer(city: str) -> ToolResponse:
        started = executor.start(ToolCall(*OSLO[:3], {"city": city}), "/v1/call")
        assert isinstance(started, Deferred)
        return await started.get()

    async def play() -> None:
        late = await asyncio.gather(answer("Oslo"), *(answer("Bergen") for _ in range(20)))
        assert {each.outcome for each in late} == {Outcome.TIMEOUT}
        upstream.gate.set()  # the upstream server is back
        while (await answer("Tromsø")).outcome is not Outcome.OK:
            pass  # the one thread ends the first call; what waited for it comes before this one

    try:
        asyncio.run(play())
    finally:
        upstream.gate.set()
        executor.close()
    assert set(upstream.asked) == {"Oslo", "Tromsø"}

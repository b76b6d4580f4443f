"""HTTP transports of the environment's client: time of an exchange with a tool server.

python -m benchmarks.speed.transports
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from time import perf_counter

from benchmarks.harness.command import run_command
from benchmarks.harness.report import Result, Row
from benchmarks.harness.timing import Lap, Pace, race
from steptool_env.client.http import HttpToolClient
from steptool_env.client.transport import HttpxTransport, MakeTransport, PlainTransport
from toolserver.catalog.api_schema import ToolCall
from toolserver.testing import ServerProcess

TRANSPORTS: Mapping[str, MakeTransport] = {"http.client": PlainTransport, "httpx": HttpxTransport}

_SIZES = (1, 256)  # calls of an exchange
_TIMES = 50  # exchanges of a lap
_CALL = ToolCall("Data", "chat", "chat_with_user", "{}")  # answered without a look-up


@dataclass(frozen=True)
class Options:
    """Measure the transports. Example: python -m benchmarks.speed.transports --quick."""

    quick: bool = False
    """Fewer laps."""


def run(options: Options) -> Result:
    """Measure exchanges of 1 call and of 256, as of a vector environment of that size."""
    with ExitStack() as stack:
        url = stack.enter_context(ServerProcess(["--world", "0"])).url
        contestants = {}
        for name, make in TRANSPORTS.items():
            client = HttpToolClient(url, transport=make)
            stack.callback(client.close)
            for size in _SIZES:
                contestants[name, size] = partial(_exchange, client, size)
        laps = race(contestants, rounds=3 if options.quick else 9)
    rows: list[Row] = [
        {"transport": name, "calls": size, "us of an exchange": Pace.of(own).microseconds}
        for (name, size), own in laps.items()
    ]
    return Result("transports", "HTTP transports of the client", {"Exchanges": rows})


def _exchange(client: HttpToolClient, calls: int) -> Lap:
    batch = [_CALL] * calls
    begin = perf_counter()
    for _ in range(_TIMES):
        client.call_many(batch)
    return Lap(_TIMES, perf_counter() - begin)


if __name__ == "__main__":
    run_command("speed.transports", Options, run)

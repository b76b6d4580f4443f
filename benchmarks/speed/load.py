"""Closed-loop HTTP load generator: each connection sends its next request after a complete response.

It implements a minimum of HTTP/1.1 (keep-alive, `Content-Length`) to cost little compared with the server under test:
requests are prepared bytes, and of responses only length and status are parsed.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import cycle, islice
from time import perf_counter
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

import numpy as np
import uvloop

_PATIENCE = 60.0  # maximum seconds until the first response


class Load(NamedTuple):
    """Result of a load run. Latencies are in seconds; `answered` includes the warm-up."""

    requests: int
    answered: int
    seconds: float
    p50: float
    p99: float
    failures: int

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def post_bytes(url: str, path: str, value: Any) -> bytes:
    """Return a complete POST request with `value` as its JSON body."""
    body = json.dumps(value).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nAccept: */*\r\nConnection: keep-alive\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def run_load(url: str, requests: Sequence[bytes], *, clients: int, seconds: float) -> Load:
    """Send `requests` cyclically from `clients` connections for some seconds, after a warm-up of a tenth of them."""
    return uvloop.run(_run(url, requests, clients, seconds))


class _Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self._requests = requests
        self._buffer = b""
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None
        self.latencies: list[float] = []
        self.answered = 0
        self.failures = 0
        self.counting = False
        self.stopping = False
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transport is duck-typed
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._buffer[:head_end].lower()
        length_at = head.find(b"content-length:")
        if length_at < 0:
            raise RuntimeError(f"an answer without Content-Length: {head[:200]!r}")
        length = int(head[length_at + 15 :].split(b"\r\n", 1)[0])
        if len(self._buffer) < head_end + 4 + length:
            return
        self._note(head)
        self._buffer = b""
        if self.stopping:
            self._finish()
        else:
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server closed the connection"))

    def _note(self, head: bytes) -> None:
        self.answered += 1
        if self.counting:
            self.latencies.append(perf_counter() - self._sent)
            self.failures += not head.startswith(b"http/1.1 200")

    def _send(self) -> None:
        assert self._transport is not None
        self._sent = perf_counter()
        self._transport.write(next(self._requests))

    def _finish(self) -> None:
        assert self._transport is not None
        if not self.done.done():
            self.done.set_result(None)
        self._transport.close()


async def _run(url: str, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    connected = []
    for index in range(clients):
        offset = index * len(requests) // clients
        own = cycle([*islice(requests, offset, None), *islice(requests, offset)])
        _, client = await loop.create_connection(partial(_Client, own), parts.hostname or "", parts.port or 80)
        connected.append(client)
    await asyncio.sleep(seconds / 10)
    for client in connected:
        client.counting = True
    started = perf_counter()
    await asyncio.sleep(seconds)
    while not any(client.latencies for client in connected) and perf_counter() - started < _PATIENCE:
        await asyncio.sleep(seconds)  # the first response of a slow server can take longer: count the whole time
    elapsed = perf_counter() - started
    for client in connected:
        client.counting, client.stopping = False, True
    await asyncio.gather(*(client.done for client in connected))
    latencies = np.concatenate([client.latencies for client in connected])
    if not latencies.size:
        raise RuntimeError(f"{url} answered nothing within {elapsed:.0f} seconds")
    p50, p99 = np.percentile(latencies, [50, 99])
    failures = sum(client.failures for client in connected)
    answered = sum(client.answered for client in connected)
    return Load(len(latencies), answered, elapsed, float(p50), float(p99), failures)

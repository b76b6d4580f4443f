"""HTTP client of the resolvers that call another server, with a timeout and bounded retries."""

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from math import inf
from typing import Any, TypeVar

import httpx

from toolserver.calls.json_parsing import check_nesting
from toolserver.catalog.api_schema import Outcome, ToolResponse
from toolserver.resolvers.base import refuse

T = TypeVar("T")

_OK, _BAD_REQUEST = 200, 400
_LARGEST = 2**24  # bytes of an answer, unpacked
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


class UnusableResponseError(Exception):
    """The upstream server's answer has the wrong form. A retry may succeed."""


class UpstreamError(Exception):
    """No attempt gave a usable answer.

    Attributes:
        outcome: `TIMEOUT` or `UNAVAILABLE`.
        retries: Number of retries allowed.
        status: HTTP status of the answer; 200 for an unusable one, 0 without one, 400 for a request that cannot be
            encoded.
        body: Body of the answer. It may hold secrets, and is not part of the message.
    """

    def __init__(
        self, outcome: Outcome, message: str, retries: float = inf, *, status: int = 0, body: str = ""
    ) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.retries = retries
        self.status = status
        self.body = body


class UnreachableError(UpstreamError):
    """The last attempt could not connect to the server."""


class Upstream:
    """Posts JSON to one URL and parses the answer. An answer of more than 16 MiB is an unusable one.

    Thread-safe, and usable after a fork.

    Args:
        url: URL of the endpoint.
        headers: Headers of every request. They are never logged.
        timeout: Timeout in seconds to connect, to send, to wait for the head of the answer, and to receive its body.
        retries: Maximum number of retries after a transient failure: no connection, a timeout, HTTP 408, 425, 429 and
            5xx, or an unusable answer.
        backoff: Seconds to wait before the first retry; doubled before each further one.
        connect_timeout: Seconds to connect, for a server that is to be reported as unreachable soon: a connection that
            times out is not retried, a refused one once. By default `timeout`, with all retries.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        timeout: float,
        retries: int,
        backoff: float = 0.0,
        connect_timeout: float | None = None,
    ) -> None:
        self._url = url
        self._backoff = backoff
        self._timeout, self._connect_timeout = timeout, connect_timeout
        self._headers = dict(headers)
        self._clients = {os.getpid(): self._connect()}
        self._attempts = 1 + retries

    def ask(self, payload: Mapping[str, Any], read: Callable[[Any], ToolResponse]) -> ToolResponse:
        """Post `payload` and `read` the parsed answer; a failure becomes a response with the reason."""
        try:
            return self.fetch(payload, read)
        except UpstreamError as error:
            return refuse(error.outcome, str(error))

    def fetch(self, payload: Mapping[str, Any], read: Callable[[Any], T]) -> T:
        """Post `payload` and `read` the parsed answer.

        `read` raises `UnusableResponseError` for an answer of the wrong form. An `UpstreamError` that it raises itself
        is retried in the same way, and comes back unchanged.

        Raises:
            UpstreamError: No attempt succeeded. The message has the reason and no secret.
        """
        failure = UpstreamError(Outcome.UNAVAILABLE, "Upstream server unavailable.")
        for attempt in range(self._attempts):
            if attempt and self._backoff:
                time.sleep(self._backoff * 2 ** (attempt - 1))
            try:
                return self._post(payload, read)
            except UpstreamError as error:
                failure = error
                if attempt >= error.retries:
                    break
        raise failure

    def _post(self, payload: Mapping[str, Any], read: Callable[[Any], T]) -> T:
        """One attempt of `fetch`."""
        try:
            request = self._client().build_request("POST", self._url, json=payload)
        except ValueError as error:  # such as a lone surrogate
            message = f"The request cannot be encoded: {error}"
            raise UpstreamError(Outcome.UNAVAILABLE, message, 0, status=_BAD_REQUEST) from None
        body = ""
        try:
            response, content = self._receive(request)
            body = content.decode(errors="replace")
            response.raise_for_status()
            # JSON has its own encodings. Python has some that the header may name and that are not of text.
            text = content.decode(json.detect_encoding(content), "surrogatepass")
            check_nesting(text)
            return read(json.loads(text))
        except httpx.ConnectTimeout:
            retries = 0 if self._connect_timeout else inf
            raise UnreachableError(Outcome.TIMEOUT, "Upstream server timed out.", retries) from None
        except httpx.TimeoutException:
            raise UpstreamError(Outcome.TIMEOUT, "Upstream server timed out.") from None
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            retries = inf if status in _RETRIED else 0
            message = f"Upstream server answered HTTP {status}."
            raise UpstreamError(Outcome.UNAVAILABLE, message, retries, status=status, body=body) from None
        except httpx.HTTPError as error:
            message = f"Upstream server unavailable ({type(error).__name__})."
            if isinstance(error, httpx.ConnectError):
                raise UnreachableError(Outcome.UNAVAILABLE, message, 1 if self._connect_timeout else inf) from None
            raise UpstreamError(Outcome.UNAVAILABLE, message) from None
        except (UnusableResponseError, ValueError) as error:
            message = f"Upstream server gave no usable answer: {error}"
            raise UpstreamError(Outcome.UNAVAILABLE, message, status=_OK, body=body) from None

    def _receive(self, request: httpx.Request) -> tuple[httpx.Response, bytes]:
        """Send a request. Return the answer and its body, of which no more is read than is taken."""
        content = bytearray()
        with closing(self._client().send(request, stream=True)) as response:
            end = time.monotonic() + self._timeout  # httpx limits the wait for each part
            for part in response.iter_bytes():
                content += part
                if len(content) > _LARGEST:
                    raise UnusableResponseError(f"it has more than {_LARGEST:,} bytes")
                if time.monotonic() > end:
                    raise httpx.ReadTimeout("the body is not complete in time")
        return response, bytes(content)

    def _client(self) -> httpx.Client:
        """Client of this process: after a fork, the parent process uses its connections."""
        found = self._clients.get(os.getpid())
        return found or self._clients.setdefault(os.getpid(), self._connect())

    def _connect(self) -> httpx.Client:
        times = httpx.Timeout(self._timeout, connect=self._connect_timeout or self._timeout)
        # The callers bound the number of requests. httpx would let them wait for one of 100 connections.
        return httpx.Client(headers=self._headers, timeout=times, limits=httpx.Limits())

    def close(self) -> None:
        """Close the connections."""
        self._client().close()

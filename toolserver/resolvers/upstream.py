"""What the resolvers that ask another server have in common: one HTTP client, a time-out, bounded retries."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import httpx

from toolserver.catalog.api_schema import Outcome, ToolResponse
from toolserver.resolvers.base import refuse

T = TypeVar("T")

_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


class UnusableAnswerError(Exception):
    """The upstream server answered, but not with what was asked for. Asking again may help."""


class UpstreamError(Exception):
    """No attempt brought a usable answer; `outcome` is `TIMEOUT` or `UNAVAILABLE`."""

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


class UnreachableError(UpstreamError):
    """The last attempt found no server to connect to."""


class Upstream:
    """Posts JSON to one URL and reads the answer. Safe to use from several threads.

    Args:
        url: Where to post.
        headers: Sent with every request; a secret in them is never logged.
        timeout: Seconds to connect, to send and to wait for each part of the answer.
        retries: How many more times to ask after a failure that may pass: no connection, a time-out, HTTP 408, 425,
            429 and 5xx, or an answer that is unusable.
        backoff: Seconds to wait before the first retry; twice as long before each further one.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], *, timeout: float, retries: int, backoff: float = 0.0
    ) -> None:
        self._url = url
        self._backoff = backoff
        self._client = httpx.Client(headers=dict(headers), timeout=timeout)
        self._attempts = 1 + retries

    def ask(self, payload: Mapping[str, Any], read: Callable[[Any], ToolResponse]) -> ToolResponse:
        """Post `payload` and `read` the parsed answer; a failure becomes a response that says why."""
        try:
            return self.fetch(payload, read)
        except UpstreamError as error:
            return refuse(error.outcome, str(error))

    def fetch(self, payload: Mapping[str, Any], read: Callable[[Any], T]) -> T:
        """Post `payload` and `read` the parsed answer.

        `read` raises `UnusableAnswerError` for what it cannot use.

        Raises:
            UpstreamError: No attempt succeeded. It says why and nothing that is secret.
        """
        failure = UpstreamError(Outcome.UNAVAILABLE, "Upstream server unavailable.")
        for attempt in range(self._attempts):
            if attempt and self._backoff:
                time.sleep(self._backoff * 2 ** (attempt - 1))
            try:
                response = self._client.post(self._url, json=payload)
                response.raise_for_status()
                return read(response.json())
            except httpx.TimeoutException:
                failure = UpstreamError(Outcome.TIMEOUT, "Upstream server timed out.")
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                failure = UpstreamError(Outcome.UNAVAILABLE, f"Upstream server answered HTTP {status}.")
                if status not in _RETRIED:
                    break
            except httpx.ConnectError:
                failure = UnreachableError(Outcome.UNAVAILABLE, "Upstream server unavailable (ConnectError).")
            except httpx.HTTPError as error:
                failure = UpstreamError(Outcome.UNAVAILABLE, f"Upstream server unavailable ({type(error).__name__}).")
            except (UnusableAnswerError, ValueError) as error:
                failure = UpstreamError(Outcome.UNAVAILABLE, f"Upstream server gave no usable answer: {error}")
        raise failure

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

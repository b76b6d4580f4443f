"""What the resolvers that ask another server have in common: one HTTP client, a time-out, bounded retries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import httpx

from toolserver.resolvers.base import refuse
from toolserver.schemas import Outcome, ToolResponse

_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


class UnusableAnswerError(Exception):
    """The upstream server answered, but not with what was asked for. Asking again may help."""


class Upstream:
    """Posts JSON to one URL and reads the answer. Safe to use from several threads.

    Args:
        url: Where to post.
        headers: Sent with every request; a secret in them is never logged.
        timeout: Seconds to connect, to send and to wait for each part of the answer.
        retries: How many more times to ask after a failure that may pass: no connection, a time-out, HTTP 408, 425,
            429 and 5xx, or an answer that is unusable.
    """

    def __init__(self, url: str, headers: Mapping[str, str], *, timeout: float, retries: int) -> None:
        self._url = url
        self._client = httpx.Client(headers=dict(headers), timeout=timeout)
        self._attempts = 1 + retries

    def ask(self, payload: Mapping[str, Any], read: Callable[[Any], ToolResponse]) -> ToolResponse:
        """Post `payload` and `read` the parsed answer.

        `read` raises `UnusableAnswerError` for what it cannot use. When no attempt succeeds the result is a failure
        (`TIMEOUT` or `UNAVAILABLE`), which says why and nothing that is secret.
        """
        failure = refuse(Outcome.UNAVAILABLE, "Upstream server unavailable.")
        for _ in range(self._attempts):
            try:
                response = self._client.post(self._url, json=payload)
                response.raise_for_status()
                return read(response.json())
            except httpx.TimeoutException:
                failure = refuse(Outcome.TIMEOUT, "Upstream server timed out.")
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                failure = refuse(Outcome.UNAVAILABLE, f"Upstream server answered HTTP {status}.")
                if status not in _RETRIED:
                    break
            except httpx.HTTPError as error:
                failure = refuse(Outcome.UNAVAILABLE, f"Upstream server unavailable ({type(error).__name__}).")
            except (UnusableAnswerError, ValueError) as error:
                failure = refuse(Outcome.UNAVAILABLE, f"Upstream server gave no usable answer: {error}")
        return failure

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

"""Retry of lost calls: the failures that are tried again, the waits between tries, and their limits.

Broken connections, time-outs, wrong answers and HTTP 408, 429, 500 and 504 are retried with exponential backoff of at
most 5 seconds, also where `Retry-After` asks for more. A server that accepts no connection (or a proxy's HTTP 502 and
503) is waited for by time, so that its restart loses nothing; after a wait without success the next ones are as short
as the other retries, until the server answers again.
"""

from collections.abc import Callable
from typing import TypeVar

from steptool_env.client.transport import NoServerError, Reply, ReplyTooLargeError, TransportError
from steptool_env.errors import ToolTransportError

T = TypeVar("T")

API_KEY_VARIABLE = "STEPTOOL_API_KEY"
"""Environment variable of the API key; an environment's arguments do not hold it, because its spec shows them."""

OK, UNAUTHORIZED = 200, 401
_TOO_LARGE = 413
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_UNREACHABLE = frozenset({502, 503})  # what a proxy answers while no server accepts its connection
_FIRST_WAIT = 0.1  # seconds; doubled with every further try
_LONGEST_WAIT = 5.0
_LONGEST_CONNECT_WAIT = 1.0  # between two tries to connect


class TooLargeError(ToolTransportError):
    """The calls are too many or too long for one request, or their answers for one reply."""


class _FailedError(ToolTransportError):
    """One try failed.

    Attributes:
        unreachable: No server accepted the request.
        final: A further try cannot succeed.
        wait: Seconds that the server asks to wait; 0 if it does not say.
    """

    def __init__(self, message: str, *, unreachable: bool = False, final: bool = False, wait: float = 0.0) -> None:
        super().__init__(message)
        self.unreachable = unreachable
        self.final = final
        self.wait = wait


class Retries:
    """Repeats requests to one server. Safe to use from several threads.

    Args:
        url: Address of the server, for messages.
        retries: Number of further tries.
        reconnect: Seconds of waiting for a server that accepts no connection.
        sleep: Waits between tries.
    """

    def __init__(self, url: str, retries: int, reconnect: float, sleep: Callable[[float], None]) -> None:
        self._url = url
        self._retries = retries
        self._reconnect = reconnect
        self._sleep = sleep
        self._waited_in_vain = False

    def send(
        self,
        request: Callable[[], Reply],
        read: Callable[[Reply], T],
        accepted: frozenset[int] = frozenset({OK}),
        on_unreachable: Callable[[], None] = lambda: None,
    ) -> T:
        """Return `read` of the reply to a request.

        Args:
            request: Sends the request.
            read: Reads the reply; `ValueError`, `KeyError` and `TypeError` are a wrong answer.
            accepted: HTTP statuses of a reply that is read.
            on_unreachable: Called for each try that no server accepted.

        Raises:
            TooLargeError: The request or its reply is too large.
            ToolTransportError: The last try failed.
        """
        failures, waits, waited = 0, 0, 0.0
        while True:
            try:
                return self._try_once(request, read, accepted)
            except _FailedError as failed:
                if failed.unreachable:
                    on_unreachable()
                limit = 0.0 if self._waited_in_vain else self._reconnect
                if failed.unreachable and waited < limit:
                    wait = min(failed.wait or min(_FIRST_WAIT * 2**waits, _LONGEST_CONNECT_WAIT), _LONGEST_WAIT)
                    wait = min(wait, limit - waited)
                    waits, waited = waits + 1, waited + wait
                elif failed.final or failures >= self._retries:
                    self._waited_in_vain |= failed.unreachable
                    raise ToolTransportError(f"{self._url}: {failed}") from failed
                else:
                    wait = min(failed.wait or _FIRST_WAIT * 2**failures, _LONGEST_WAIT)
                    failures += 1
            self._sleep(wait)

    def _try_once(self, request: Callable[[], Reply], read: Callable[[Reply], T], accepted: frozenset[int]) -> T:
        try:
            reply = request()
        except ReplyTooLargeError as error:
            raise TooLargeError(f"{self._url}: {error}; lower max_batch") from error
        except TransportError as error:
            raise _FailedError(str(error), unreachable=isinstance(error, NoServerError)) from error
        if reply.status == _TOO_LARGE:
            raise TooLargeError(f"{self._url}: {complaint(reply)}")
        unreachable = reply.status in _UNREACHABLE
        if not unreachable:
            self._waited_in_vain = False
        if reply.status not in accepted:
            final = reply.status not in _TRANSIENT
            raise _FailedError(complaint(reply), unreachable=unreachable, final=final, wait=_asked_wait(reply))
        try:
            return read(reply)
        except (ValueError, KeyError, TypeError) as error:
            raise _FailedError(f"did not answer as a tool server does: {error}") from error


def complaint(reply: Reply) -> str:
    """Return the status and the text of a refusal, with the remedy for a missing key."""
    remedy = f"; set {API_KEY_VARIABLE} to one of its keys" if reply.status == UNAUTHORIZED else ""
    return f"HTTP {reply.status}: {reply.content[:800].decode(errors='replace')[:200]}{remedy}"


def _asked_wait(reply: Reply) -> float:
    """Seconds of the header `Retry-After`, 0 without one."""
    asked = reply.retry_after
    return float(asked) if asked.isascii() and asked.isdigit() else 0.0

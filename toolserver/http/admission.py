"""Who may come in, and how much they may bring. Asked before any request body is read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from toolserver.http.auth import ApiKeys, Headers
from toolserver.http.rate_limit import RateLimiter

_OPEN = frozenset({"/healthz", "/readyz", "/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"})


class Rejection(NamedTuple):
    """Why a request is not taken: HTTP status, detail, and extra headers."""

    status: int
    detail: str
    headers: Iterable[tuple[bytes, bytes]] = ()


class AccessControl:
    """Checks API key and rate of a request. Health and documentation are open to everybody.

    Args:
        keys: The accepted keys; `None` takes everybody in.
        limiter: The rate limit per key (one for all without keys); `None` for no limit.
    """

    def __init__(self, keys: ApiKeys | None = None, limiter: RateLimiter | None = None) -> None:
        self._keys = keys
        self._limiter = limiter
        self.is_open = keys is None and limiter is None

    def admit(self, path: str, headers: Headers) -> int | Rejection:
        """The caller's number (the position of the key), or why the request is not taken."""
        if path in _OPEN:
            return 0
        caller = 0
        if self._keys is not None:
            found = self._keys.find(headers)
            if found is None:
                return Rejection(401, "missing or unknown API key", [(b"www-authenticate", b"Bearer")])
            caller = found
        if self._limiter is not None:
            wait = self._limiter.take(caller)
            if wait > 0:
                return Rejection(429, "rate limit exceeded", [(b"retry-after", b"%d" % max(1, round(wait)))])
        return caller

    def charge(self, caller: int, calls: int) -> None:
        """Count the calls of an admitted batch beyond its first."""
        if self._limiter is not None and calls > 1:
            self._limiter.charge(caller, calls - 1)

"""API-key authentication and rate limiting, applied before a request body is read."""

import hmac
from base64 import b64decode
from collections.abc import Iterable
from hashlib import sha256
from math import ceil
from pathlib import Path
from typing import Any, Self

import orjson
from starlette.types import Send

from toolserver.errors import ConfigurationError
from toolserver.http.codec import json_headers
from toolserver.http.rate_limit import RateLimiter

MIN_KEY_LENGTH = 16

Headers = Iterable[tuple[bytes, bytes]]
"""Header names in lower case, and values, as ASGI gives them."""

PAGES_PATH = "/ui"
"""Path of the pages of tools and tasks. A browser asks its user for the key there, as the password of a login."""
_PAGES_FILES = f"{PAGES_PATH}/static/"  # style and scripts, the same on every server

_OPEN = frozenset({"/healthz", "/readyz", "/docs", "/openapi.json"})

_SCHEMES: dict[str, dict[str, str]] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "x_api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "toolbench_key": {"type": "apiKey", "in": "header", "name": "toolbench_key"},
}


def describe_keys(document: dict[str, Any]) -> None:
    """Add to an OpenAPI document that every route but the open ones takes a key, in one of three headers."""
    document.setdefault("components", {})["securitySchemes"] = _SCHEMES
    document["security"] = [{name: []} for name in _SCHEMES]
    for path, operations in document["paths"].items():
        if path in _OPEN:
            for operation in operations.values():
                operation["security"] = []


class Rejection(Exception):  # noqa: N818 - an answer to the client, not a defect
    """A request that is answered with an error status.

    Args:
        status: HTTP status.
        detail: JSON value of the answer's field `detail`.
        headers: Extra response headers.
    """

    def __init__(self, status: int, detail: Any, headers: Headers = ()) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.headers = headers


async def refuse(send: Send, rejection: Rejection) -> int:
    """Answer a request with a rejection. Return the status."""
    body = orjson.dumps({"detail": rejection.detail})
    headers = [*json_headers(body), *rejection.headers]
    await send({"type": "http.response.start", "status": rejection.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    return rejection.status


class ApiKeys:
    """The accepted keys. Only their hashes are held, and each comparison takes the same time.

    A key comes as `Authorization: Bearer KEY`, `X-API-Key: KEY`, or in the `toolbench_key` header that
    StableToolBench's client sends. For the pages it may be the password of an HTTP login with any name.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [sha256(key.encode()).digest() for key in keys]

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read keys from a file, one per line; blank lines and lines that begin with `#` are ignored.

        Raises:
            ConfigurationError: The file cannot be read, has no key or one that is too short to be secret.
        """
        try:
            lines = [line.strip() for line in path.read_text().splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"api_key_file: cannot read {path} ({error}); give a text file") from None
        keys = [line for line in lines if line and not line.startswith("#")]
        if not keys:
            raise ConfigurationError(f"api_key_file: {path} has no key; write one per line")
        for number, key in enumerate(keys, 1):
            if len(key) < MIN_KEY_LENGTH:
                raise ConfigurationError(
                    f"api_key_file: key {number} of {path} has {len(key)} characters; use {MIN_KEY_LENGTH} or more, "
                    'e.g. of `python -c "import secrets; print(secrets.token_urlsafe(24))"`'
                )
        return cls(keys)

    def __len__(self) -> int:
        return len(self._digests)

    def find(self, headers: Headers, *, login: bool = False) -> int | None:
        """Position of the key that the headers carry; `None` if they carry no accepted key.

        `login` takes the password of an HTTP login, too. A browser sends it along with requests that other sites make,
        so it is for pages alone, which change nothing.
        """
        digest = sha256(_presented_key(headers, login=login)).digest()
        found = None
        for position, known in enumerate(self._digests):  # compares with every key: the time depends on none
            if hmac.compare_digest(digest, known):
                found = position
        return found


class AccessControl:
    """Checks API key and rate of a request. Health and documentation need no key.

    Args:
        keys: The accepted keys; `None` accepts every caller.
        limiter: The rate limit per key (one for all without keys); `None` for no limit.

    Attributes:
        is_open: True if no request can be refused.
        needs_key: True if callers need a key.
    """

    def __init__(self, keys: ApiKeys | None = None, limiter: RateLimiter | None = None) -> None:
        self._keys = keys
        self._limiter = limiter
        self.is_open = keys is None and limiter is None
        self.needs_key = keys is not None

    def admit(self, path: str, headers: Headers) -> int:
        """Caller number: the position of the key, 0 without keys.

        Raises:
            Rejection: 401 for a missing or unknown key, 429 above the rate limit.
        """
        if path in _OPEN or path.startswith(_PAGES_FILES):
            return 0
        caller = 0
        if self._keys is not None:
            page = path == PAGES_PATH or path.startswith(PAGES_PATH + "/")
            found = self._keys.find(headers, login=page)
            if found is None:
                scheme = b'Basic realm="toolserver: any name, and an API key as the password"' if page else b"Bearer"
                raise Rejection(401, "missing or unknown API key", [(b"www-authenticate", scheme)])
            caller = found
        if self._limiter is not None:
            _reject_after(self._limiter.take(caller))
        return caller

    def charge(self, caller: int, calls: int) -> None:
        """Charge an admitted batch for its calls beyond the first.

        Raises:
            Rejection: 429 if other batches used up the rate since this one was admitted.
        """
        if self._limiter is not None and calls > 1:
            _reject_after(self._limiter.charge(caller, calls - 1))


def _reject_after(wait: float) -> None:
    if wait > 0:
        raise Rejection(429, "rate limit exceeded", [(b"retry-after", b"%d" % ceil(wait))])


def _presented_key(headers: Headers, *, login: bool) -> bytes:
    for name, value in headers:
        if login and name == b"authorization" and value[:6].lower() == b"basic ":
            return _password(value[6:])
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].strip()
        if name in (b"x-api-key", b"toolbench_key"):
            return value.strip()
    return b""


def _password(login: bytes) -> bytes:
    """Return the password of the credentials of an HTTP login; empty for other bytes."""
    try:
        return b64decode(login.strip(), validate=True).partition(b":")[2]
    except ValueError:
        return b""

"""Where a cache in Redis is: `redis://user:password@host:port/db?prefix=name`, or `rediss://` for TLS."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from toolserver.errors import ConfigurationError

PASSWORD_VARIABLE = "TOOLSERVER_REDIS_PASSWORD"  # noqa: S105 (the name of a variable)
"""Holds the password where the URL has none: a flag can be read by everybody who may list processes."""

_PREFIX = "toolserver"
_PORT = 6379


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """The parts of a URL. Its text form has neither user nor password."""

    host: str
    port: int
    database: int
    prefix: str
    tls: bool
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "rediss" if self.tls else "redis"
        return f"{scheme}://{host}:{self.port}/{self.database}?prefix={quote(self.prefix)}"


def is_redis(place: str | Path) -> TypeGuard[str]:
    """Whether a cache's place is a Redis server and not a directory."""
    return isinstance(place, str) and place.startswith(("redis://", "rediss://"))


def parse_redis_url(url: str) -> RedisUrl:
    """The parts of a URL; what is missing has redis-cli's defaults, and the prefix `toolserver`.

    Raises:
        ConfigurationError: It is malformed. The message does not repeat it, as it may hold a password.
    """
    try:
        parts = urlsplit(url)
        port, database = parts.port or _PORT, int(parts.path.strip("/") or 0)
        query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise _malformed("") from None
    unknown = sorted(query.keys() - {"prefix"})
    if unknown:
        raise _malformed(f" (it has the unknown field {unknown[0]!r})")
    prefix = query.get("prefix", [_PREFIX])[-1]
    if not parts.hostname or parts.fragment or database < 0 or not prefix:
        raise _malformed("")
    username, password = _credentials(parts)
    return RedisUrl(unquote(parts.hostname), port, database, prefix, parts.scheme == "rediss", username, password)


def _credentials(parts: SplitResult) -> tuple[str | None, str | None]:
    username = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else os.environ.get(PASSWORD_VARIABLE)
    return username, password or None


def _malformed(detail: str) -> ConfigurationError:
    return ConfigurationError(
        f"cache: not a Redis URL{detail}; expected redis://user:password@host:port/db?prefix=name, "
        "with special characters of the password percent-encoded"
    )

"""Address of a cache in Redis: `redis://user:password@host:port/db?prefix=name`, or `rediss://` for TLS."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard
from urllib.parse import parse_qs, quote, unquote, urlsplit

from toolserver.errors import ConfigurationError

PASSWORD_VARIABLE = "TOOLSERVER_REDIS_PASSWORD"  # noqa: S105 (the name of a variable)
"""Environment variable with the password if the URL has none; flags are visible in the list of processes."""

_PREFIX = "toolserver"
_PORT = 6379


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """Parts of a URL. `str()` omits user and password."""

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
    """Return whether a cache's place is a Redis URL and not a directory."""
    return isinstance(place, str) and place.startswith(("redis://", "rediss://"))


def parse_redis_url(url: str) -> RedisUrl:
    """Parse a URL. Missing parts get redis-cli's defaults, and the prefix `toolserver`.

    Raises:
        ConfigurationError: The URL is malformed. The message omits the URL, which may contain a password.
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
    username = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else os.environ.get(PASSWORD_VARIABLE) or None
    return RedisUrl(unquote(parts.hostname), port, database, prefix, parts.scheme == "rediss", username, password)


def _malformed(detail: str) -> ConfigurationError:
    return ConfigurationError(
        f"cache: not a Redis URL{detail}; expected redis://user:password@host:port/db?prefix=name, "
        "with special characters of the password percent-encoded"
    )

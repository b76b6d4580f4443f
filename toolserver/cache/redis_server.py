"""Connection to a Redis server that stores a cache: key names, checks and errors.

    PREFIX:format          version of what follows
    PREFIX:records:00..ff  hashes, by the first byte of the canonical key: key -> record (`toolserver.cache.record`)
    PREFIX:catalog         hash: names of an API -> its documentation
    PREFIX:imports         hash: source of an import that has not finished -> nothing

With hashes in place of one Redis key per record, counting is exact and cheap, other keys are never scanned, and reading
in the order of keys sorts one bucket at a time.
"""

from __future__ import annotations  # `redis` may be missing

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

try:  # an optional dependency; it takes 0.1 s to import, so this module is imported when a URL is opened
    import redis
    from redis.backoff import ExponentialBackoff
    from redis.retry import Retry
except ModuleNotFoundError as error:
    _missing = error.name
else:
    _missing = None

from toolserver.cache.redis_url import RedisUrl, parse_redis_url
from toolserver.errors import CacheError, ConfigurationError

FORMAT = b"1"
"""Version of the keys and their values."""

BUCKETS = 256
"""Number of hashes of records: one for each first byte of a key."""

_TIMEOUT = 5.0  # seconds to connect, and to wait for one reply


class RedisServer:
    """Client of one cache on a Redis server. Thread-safe, and usable after a fork.

    Attributes:
        client: redis-py's client. Its replies are bytes.
        records: Keys of the hashes of records.
        catalog: Key of the hash of the catalog.
        imports: Key of the hash of unfinished imports.

    Raises:
        CacheError: The server cannot be reached, or its memory policy may evict records.
    """

    def __init__(self, address: RedisUrl) -> None:
        self.location = str(address)
        self.records = tuple(f"{address.prefix}:records:{number:02x}".encode() for number in range(BUCKETS))
        self.catalog = f"{address.prefix}:catalog".encode()
        self.imports = f"{address.prefix}:imports".encode()
        self._format = f"{address.prefix}:format".encode()
        # Any: redis-py types every reply as possibly awaitable.
        self.client: Any = redis.Redis(
            host=address.host,
            port=address.port,
            db=address.database,
            username=address.username,
            password=address.password,
            ssl=address.tls,
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            # One retry, for connections that the server has closed. All commands may be sent twice.
            retry=Retry(ExponentialBackoff(), 1),
        )
        try:
            self._refuse_eviction()
        except BaseException:
            self.close()
            raise

    def claim(self) -> None:
        """Store the format if none is stored. Raises `CacheError` when it is of another version."""
        with self.failures("write to"):
            self.client.set(self._format, FORMAT, nx=True)
        self.is_claimed()

    def is_claimed(self) -> bool:
        """Return whether a cache exists here. Raises `CacheError` when it is of another version."""
        with self.failures("read"):
            version = self.client.get(self._format)
        if version not in (None, FORMAT):
            shown = version.decode(errors="replace")
            raise CacheError(f"{self.location} has format {shown}; this version of toolserver reads format 1")
        return version is not None

    def _refuse_eviction(self) -> None:
        """Raise `CacheError` when the server may evict records, now or after a limit is set.

        The policies `volatile-*` evict keys that expire; records do not expire.
        """
        with self.failures("read"):
            policy = str(self.client.info("memory").get("maxmemory_policy", "unknown"))
        if policy != "noeviction" and not policy.startswith("volatile-"):
            raise CacheError(
                f"{self.location} may drop recordings: its maxmemory-policy is {policy}; "
                "set it by `redis-cli config set maxmemory-policy noeviction`"
            )

    @contextmanager
    def failures(self, doing: str) -> Iterator[None]:
        """Convert redis-py's errors into `CacheError`s that name the operation and the server."""
        try:
            yield
        except redis.RedisError as error:
            raise self.failure(doing, error) from error

    def failure(self, doing: str, error: redis.RedisError) -> CacheError:
        """Return the `CacheError` for an error of redis-py."""
        return CacheError(f"cannot {doing} {self.location}: {error}")

    def close(self) -> None:
        """Close the connections."""
        self.client.close()


def connect(url: str) -> RedisServer:
    """Connect to the server at `url` and check it.

    Raises:
        ConfigurationError: The URL is malformed, or the package `redis` is not installed.
        CacheError: The server cannot be reached, or its memory policy may evict records.
    """
    address = parse_redis_url(url)
    if _missing is not None:
        raise ConfigurationError(f"cache: {address} needs the package {_missing}: pip install 'steptool-env[redis]'")
    return RedisServer(address)

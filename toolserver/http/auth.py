"""API keys: who may call."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Self

from toolserver.errors import ConfigurationError

MIN_KEY_LENGTH = 16

Headers = Iterable[tuple[bytes, bytes]]
"""Header names in lower case, and values, as ASGI gives them."""


class ApiKeys:
    """The accepted keys. Only their hashes are held, and each comparison takes the same time.

    A key comes as `Authorization: Bearer KEY`, `X-API-Key: KEY`, or in the `toolbench_key` header that
    StableToolBench's client sends.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [sha256(key.encode()).digest() for key in keys]

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read keys from a file, one per line; blank lines and lines with `#` do not count.

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

    def find(self, headers: Headers) -> int | None:
        """The position of the key that the headers carry, or `None`."""
        digest = sha256(_presented_key(headers)).digest()
        found = None
        for position, known in enumerate(self._digests):  # all of them, so that the time tells nothing
            if hmac.compare_digest(digest, known):
                found = position
        return found


def _presented_key(headers: Headers) -> bytes:
    for name, value in headers:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].strip()
        if name in (b"x-api-key", b"toolbench_key"):
            return value.strip()
    return b""

"""Function names for chat endpoints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b

_LONGEST = 64
_TAKEN = re.compile(rf"[a-zA-Z0-9_-]{{1,{_LONGEST}}}")
_REFUSED = re.compile(r"[^a-zA-Z0-9_-]")


class FunctionNames:
    """Aliases of function names in one conversation: at most 64 characters of `a-zA-Z0-9_-`, as OpenAI's API requires.

    A valid name is its own alias. The alias of another name is a prefix of it and a digest of the whole name, so it is
    unique, and the same in every request and run. `alias` adds names that the model invents to those that are offered.
    """

    def __init__(self, names: Iterable[str]) -> None:
        offered = list(names)
        self._names = {name: name for name in offered if _TAKEN.fullmatch(name)}
        self._aliases = dict(self._names)
        for name in offered:
            self.alias(name)

    def alias(self, name: str) -> str:
        """Return the alias of a function name."""
        if name not in self._aliases:
            alias = next(alias for alias in _aliases(name) if alias not in self._names)
            self._aliases[name], self._names[alias] = alias, name
        return self._aliases[name]

    def name(self, alias: str) -> str:
        """Return the function name of an alias; an unknown alias is returned unchanged."""
        return self._names.get(alias, alias)


def _aliases(name: str) -> Iterator[str]:
    """Yield the name if it is valid, then shortened forms."""
    if _TAKEN.fullmatch(name):
        yield name
    for attempt in range(_LONGEST):
        salt = attempt.to_bytes(1, "big")
        digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=4, salt=salt).hexdigest()
        yield f"{_REFUSED.sub('_', name)[: _LONGEST - len(digest) - 1]}_{digest}"

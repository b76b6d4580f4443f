"""Function names as chat endpoints take them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b

_LONGEST = 64
_TAKEN = re.compile(rf"[a-zA-Z0-9_-]{{1,{_LONGEST}}}")
_REFUSED = re.compile(r"[^a-zA-Z0-9_-]")


class FunctionNames:
    """Aliases for the functions of one conversation: at most 64 of `a-zA-Z0-9_-`, as OpenAI's API demands.

    A name that is fine is its own alias. Any other is cut and ends in a digest of the whole name, so that its alias is
    the same in every request and every run, and differs from all others here.

    Args:
        names: The offered functions. Names that models make up may be added later by `alias`.
    """

    def __init__(self, names: Iterable[str]) -> None:
        offered = list(names)
        self._names = {name: name for name in offered if _TAKEN.fullmatch(name)}
        self._aliases = dict(self._names)
        for name in offered:
            self.alias(name)

    def alias(self, name: str) -> str:
        """What the endpoint is told in place of `name`."""
        if name not in self._aliases:
            alias = next(alias for alias in _aliases(name) if alias not in self._names)
            self._aliases[name], self._names[alias] = alias, name
        return self._aliases[name]

    def name(self, alias: str) -> str:
        """The function that the endpoint means; what is no alias is left as it is."""
        return self._names.get(alias, alias)


def _aliases(name: str) -> Iterator[str]:
    """The name itself where it may be sent, then as many shortened forms as are asked for."""
    if _TAKEN.fullmatch(name):
        yield name
    for attempt in range(_LONGEST):
        salt = attempt.to_bytes(1, "big")
        digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=4, salt=salt).hexdigest()
        yield f"{_REFUSED.sub('_', name)[: _LONGEST - len(digest) - 1]}_{digest}"

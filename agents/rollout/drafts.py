"""Drafts of tokens for speculative decoding: what followed the same tokens before (prompt lookup, Saxena 2023).

A draft is fed with the token before it, in one pass, and the drawn tokens are kept as far as the draft equals them. A
draw depends on its logits and its random number only, so drafts change the number of passes and no draw.
"""

from collections.abc import Iterable

_ORDERS = (3, 2)  # numbers of tokens that are looked up, the longest first
_ENTRIES = 1 << 18  # beyond that the table starts again


class DraftTable:
    """The token that followed each two and three tokens last, in any episode."""

    def __init__(self) -> None:
        self._next: dict[tuple[int, ...], int] = {}

    def learn(self, tail: list[int], ids: Iterable[int]) -> None:
        """Learn the tokens that follow the last tokens `tail` of an episode. `tail` is updated in place."""
        table = self._next
        for token in ids:
            for order in _ORDERS:
                if len(tail) >= order:
                    table[tuple(tail[-order:])] = token
            tail.append(token)
        del tail[: -_ORDERS[0]]  # its next draft depends on no earlier token
        if len(table) > _ENTRIES:
            table.clear()

    def draft(self, tail: list[int], most: int) -> list[int]:
        """Return at most `most` tokens that may follow `tail`."""
        ids = list(tail)
        while len(ids) < len(tail) + most:
            known = (self._next.get(tuple(ids[-order:])) for order in _ORDERS)
            token = next((token for token in known if token is not None), None)
            if token is None:
                break
            ids.append(token)
        return ids[len(tail) :]

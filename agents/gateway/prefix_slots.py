"""Slots of a rollout engine, found again by the tokens that they hold: a KV cache of prefixes."""

from collections.abc import Iterator, Sequence
from itertools import count

from agents.rollout.engine import RolloutEngine


class PrefixSlots:
    """Places prompts in slots. A prompt that continues the tokens of an idle slot is fed from there on.

    Args:
        engine: Engine. Its slots are used for nothing else than what these slots and others of `numbers` hold.
        most: Maximum number of idle slots; the one that was not used for longest is freed. `None` frees none.
        numbers: Numbers of new slots, shared by several `PrefixSlots` of an engine.
    """

    def __init__(self, engine: RolloutEngine, most: int | None = None, numbers: Iterator[int] | None = None) -> None:
        self._engine, self._most = engine, most
        self._numbers = count() if numbers is None else numbers
        self._tokens: dict[int, list[int]] = {}
        self._idle: dict[int, None] = {}  # in order of use

    def place(self, ids: Sequence[int], stream: str | int | None = None) -> tuple[int, int]:
        """Put a prompt into a slot, which is then in use. Return the slot and the number of tokens that it held.

        `stream` is the name of the random stream of a new slot; one that goes on keeps its own.
        """
        prompt = list(ids)
        held = [slot for slot in self._idle if prompt[: len(self._tokens[slot])] == self._tokens[slot]]
        if held:
            slot = max(held, key=lambda each: len(self._tokens[each]))
            del self._idle[slot]
            known = len(self._tokens[slot])
            self._engine.append(slot, prompt[known:])
        else:
            slot, known = next(self._numbers), 0
            self._engine.start(slot, prompt, stream)
        self._tokens[slot] = prompt
        return slot, known

    def release(self, slot: int, sampled: Sequence[int]) -> None:
        """Make a slot idle whose action has ended."""
        self._tokens[slot] += sampled
        self._idle[slot] = None
        if self._most is not None and len(self._idle) > self._most:
            self.free(next(iter(self._idle)))

    def free(self, slot: int) -> None:
        """Free a slot."""
        del self._tokens[slot]
        self._idle.pop(slot, None)
        self._engine.free(slot)

    def clear(self) -> None:
        """Free every slot."""
        for slot in list(self._tokens):
            self.free(slot)

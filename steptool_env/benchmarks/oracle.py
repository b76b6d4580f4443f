"""Oracles: solvers of tasks, which know the reference solution."""

from collections.abc import Sequence
from copy import copy
from typing import Any, Protocol, Self

from toolserver.catalog.api_schema import Provenance

_TRIES = 3


class Oracle(Protocol):
    """Solver of one task. Repeat: get `next_call`, make it, pass its response to `observe`; `None` ends the turn."""

    @property
    def gives_up(self) -> bool:
        """True if giving up is the right end."""

    @property
    def answer(self) -> str:
        """Answer at the end of a turn."""

    def next_call(self) -> Any:
        """Return the next call, with `function` and `arguments`; `None` when the turn should end."""

    def observe(self, call: Any, succeeded: bool, response: Any, provenance: Provenance) -> None:
        """Record the response to a call.

        Args:
            call: The call.
            succeeded: The outcome was `OK`.
            response: JSON value of the response; ignored on failure.
            provenance: Origin of the response.
        """

    def begin_turn(self, turn: int) -> None:
        """Start a later turn (0-based) of the user."""


class GoldOracle:
    """Solver that makes the calls of a reference solution turn by turn, whatever their answers are.

    It solves every task without faults. With faults it repeats a failing call and gives up after three failures.

    Args:
        turns: Calls of each turn, with `function` and `arguments`; a task without later messages has one turn.
        answer: Answer at the end of every turn.
    """

    def __init__(self, turns: Sequence[Sequence[Any]], answer: str) -> None:
        self.answer = answer
        self._turns = turns
        self._failures = 0
        self.begin_turn(0)

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        copied = copy(self)  # of the same solution: a search copies the state after every call
        copied._calls = list(self._calls)
        return copied

    @property
    def gives_up(self) -> bool:
        """True if a call keeps failing."""
        return self._failures >= _TRIES

    def begin_turn(self, turn: int) -> None:
        """See `Oracle.begin_turn`."""
        self._calls = list(self._turns[turn])

    def next_call(self) -> Any:
        """See `Oracle.next_call`."""
        return self._calls[0] if self._calls and not self.gives_up else None

    def observe(
        self,
        call: Any,  # noqa: ARG002 - the interface
        succeeded: bool,  # noqa: ARG002
        response: Any,  # noqa: ARG002
        provenance: Provenance,
    ) -> None:
        """See `Oracle.observe`. A call that fails without an injected fault is one that the solution lets fail."""
        if provenance is Provenance.INJECTED:
            self._failures += 1
        else:
            self._calls.pop(0)
            self._failures = 0

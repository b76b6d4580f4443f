"""Oracle of BFCL: makes the calls of the reference solution turn by turn, and ends each turn with an answer."""

from typing import Any

from toolserver.bfcl import BfclTask, GoldCall
from toolserver.catalog.api_schema import Provenance

_TRIES = 3


class BfclOracle:
    """Solver of one task. Repeat: get `next_call`, make it, pass its response to `observe`; `None` ends the turn.

    It solves every task without faults. With faults it repeats a failing call and gives up after three failures.
    """

    answer = "Done."
    """Answer of every turn. Its text is not graded."""

    def __init__(self, task: BfclTask) -> None:
        self._turns = task.gold
        self._calls = list(task.gold[0])
        self._failures = 0

    @property
    def gives_up(self) -> bool:
        """True if a call keeps failing."""
        return self._failures >= _TRIES

    def begin_turn(self, turn: int) -> None:
        """Start a later turn (0-based) of the user."""
        self._calls = list(self._turns[turn])

    def next_call(self) -> GoldCall | None:
        """Return the next call; `None` when the turn should end."""
        return self._calls[0] if self._calls and not self.gives_up else None

    def observe(
        self,
        call: GoldCall,  # noqa: ARG002 - the interface of ToolWorld's oracle
        succeeded: bool,  # noqa: ARG002
        response: Any,  # noqa: ARG002
        provenance: Provenance,
    ) -> None:
        """Record the response to a call."""
        if provenance is Provenance.INJECTED:
            self._failures += 1
        else:
            self._calls.pop(0)
            self._failures = 0

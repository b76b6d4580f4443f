"""Oracle of ComplexFuncBench: makes the needed calls of the reference solution, retries failures, and answers."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from steptool_env.complexfuncbench.task import GoldTask
from toolserver.catalog.api_schema import Provenance

_TRIES = 3


class GoldOracleCall(NamedTuple):
    """One call of the reference solution."""

    function: str
    arguments: Mapping[str, Any]


class GoldOracle:
    """Solver of one task. Repeat: get `next_call`, make it, pass its response to `observe`.

    It solves every task without faults. With faults it repeats a failing call and gives up after three failures.
    """

    answer = "These are the results of the calls above."
    """Final answer. ComplexFuncBench as it is shipped has none, and its text is not graded."""

    def __init__(self, task: GoldTask) -> None:
        self._calls = [GoldOracleCall(call.function, call.arguments) for call in task.calls]
        self._failures = 0

    @property
    def gives_up(self) -> bool:
        """True if a call keeps failing."""
        return self._failures >= _TRIES

    def next_call(self) -> GoldOracleCall | None:
        """Return the next call; `None` when the episode should finish."""
        return self._calls[0] if self._calls and not self.gives_up else None

    def observe(
        self,
        call: GoldOracleCall,  # noqa: ARG002 - the interface of ToolWorld's oracle
        succeeded: bool,
        response: Any,  # noqa: ARG002
        provenance: Provenance,  # noqa: ARG002
    ) -> None:
        """Record the response to a call."""
        if succeeded:
            self._calls.pop(0)
            self._failures = 0
        else:
            self._failures += 1

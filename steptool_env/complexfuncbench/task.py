"""Reference solutions of ComplexFuncBench, as the grader reads them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class NeededCall:
    """One needed call.

    Attributes:
        function: Name of the function, as it is offered.
        arguments: Arguments of the reference solution, under the offered names.
        key: Key of the call in canonical form, as hexadecimal text. Equal calls have equal keys.
        is_lookup: True for a call that finds a place by its name. A solution may do without it.
        answer: Digest of the recorded answer of a look-up; empty for other calls.
        inputs: For each value that the call takes from an earlier answer, the indices of the needed calls whose answer
            has it, in order. The reference solution takes it from the first.
    """

    function: str
    arguments: Mapping[str, Any]
    key: str
    is_lookup: bool
    answer: str
    inputs: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class GoldTask:
    """One task with its reference solution.

    Attributes:
        id: Group and number in the group, e.g. `Hotels-12`.
        group: Name of the group: `Car-Rental`, `Cross`, `Hotels`, `Attraction` or `Flights`.
        pattern: Group and number of the block of ten tasks that follow one pattern, e.g. `Hotels/1`.
        query: Request of the user.
        functions: Names of the offered functions, in the order of the documentation.
        calls: Needed calls in the order of the reference solution.
        is_grounded: True if the request or an earlier answer states every identifier that the needed calls take.
    """

    id: str
    group: str
    pattern: str
    query: str
    functions: tuple[str, ...]
    calls: tuple[NeededCall, ...]
    is_grounded: bool

    @property
    def depth(self) -> int:
        """Number of calls of the longest chain in which each takes a value from the answer of the one before."""
        depths: list[int] = []
        for call in self.calls:
            depths.append(1 + max((depths[holders[0]] for holders in call.inputs), default=0))
        return max(depths)

    @property
    def leaves(self) -> tuple[int, ...]:
        """Indices of the needed calls from whose answer no other needed call takes a value: it is for the user."""
        used = {holders[0] for call in self.calls for holders in call.inputs}
        return tuple(index for index in range(len(self.calls)) if index not in used)


def task_to_json(task: GoldTask) -> dict[str, Any]:
    """Return a task as a JSON object."""
    return asdict(task)


def task_from_json(record: Mapping[str, Any]) -> GoldTask:
    """Return the task of a JSON object of `task_to_json`. Raises `KeyError` and the like for others."""
    calls = tuple(NeededCall(**{**call, "inputs": tuple(map(tuple, call["inputs"]))}) for call in record["calls"])
    return GoldTask(**{**record, "functions": tuple(record["functions"]), "calls": calls})

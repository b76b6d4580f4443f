"""Simulated APIs of a benchmark: a state per episode, which is a function of the calls so far."""

import inspect
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple

from toolserver.catalog.api_schema import FunctionSpec, Outcome

_KEPT = 256  # simulations of episodes in progress


class GoldCall(NamedTuple):
    """One call of a reference solution."""

    function: str
    arguments: Mapping[str, Any]


class Answer(NamedTuple):
    """Answer of a simulated API.

    Attributes:
        text: The answer as the benchmark compares it.
        value: The answer as a JSON value; its text where it is not JSON.
        error: Error text; empty on success.
        outcome: Typed outcome.
    """

    text: str
    value: Any
    error: str = ""
    outcome: Outcome = Outcome.OK


@dataclass(frozen=True)
class SimulatedApis:
    """The simulated APIs of one benchmark.

    Attributes:
        category: Category of the APIs in the catalog: the benchmark's name.
        load_tasks: Function that returns all tasks by id. A task has `id` and `classes`, the tools that it has.
        load_apis: Function that returns the documented functions by name.
        start: Function that returns the simulation of a task in its initial state. Its `call(function, arguments)`
            returns an `Answer`, and raises `LookupError`, `ValueError` or `TypeError` for a call of no function of it;
            its `copy()` returns an independent simulation in the same state.
    """

    category: str
    load_tasks: Callable[[], Mapping[str, Any]]
    load_apis: Callable[[], Mapping[str, FunctionSpec]]
    start: Callable[[Any], Any]

    def replayed(self, task: Any, calls: Sequence[str]) -> Any:
        """Return the simulation after `calls`, texts of `call_text`. Raises as its `call` does."""
        simulation = self.start(task)
        for call in calls:
            simulation.call(*read_call(call))
        return simulation


class Simulator:
    """Answers calls of episodes whose state is the list of their earlier calls.

    The simulation after the last call of an episode in progress is kept, and its next call continues it. Any other
    state, such as that of a fork or of a token from another process, is made again from its calls, once: it is kept as
    well, and all calls in that state continue copies of it.
    """

    def __init__(self, apis: SimulatedApis) -> None:
        self._apis = apis
        self._kept: OrderedDict[tuple[str, tuple[str, ...]], tuple[Any, bool]] = OrderedDict()
        """Simulations by task and calls, in the order of their use; True for those that were made again."""
        self._lock = Lock()

    def answer(self, task: Any, calls: tuple[str, ...], call: str) -> Answer:
        """Return the answer to `call` after `calls`; all are texts of `call_text`.

        Raises:
            LookupError, ValueError, TypeError: A text is not a call of a function of the task.
        """
        simulation = self._simulation_after(task, calls)
        answer: Answer = simulation.call(*read_call(call))
        self._keep(task, (*calls, call), simulation, False)
        return answer

    def _simulation_after(self, task: Any, calls: tuple[str, ...]) -> Any:
        """Return a simulation after `calls` that nobody else continues."""
        key = task.id, calls
        with self._lock:
            simulation, is_shared = self._kept.get(key, (None, False))
            if is_shared:
                self._kept.move_to_end(key)
            elif simulation is not None:
                del self._kept[key]
        if simulation is None:
            simulation = self._apis.replayed(task, calls)
            is_shared = bool(calls)  # a start is a copy already
            if is_shared:
                self._keep(task, calls, simulation, True)
        return simulation.copy() if is_shared else simulation

    def _keep(self, task: Any, calls: tuple[str, ...], simulation: Any, is_shared: bool) -> None:
        key = task.id, calls
        with self._lock:
            if is_shared or key not in self._kept:
                self._kept[key] = simulation, is_shared
            self._kept.move_to_end(key)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)


def takes(method: Callable[..., Any], arguments: Mapping[str, Any]) -> bool:
    """Return True if a function can be called with these arguments by name."""
    try:
        inspect.signature(method).bind(**arguments)
    except TypeError:
        return False
    return True


def call_text(function: str, arguments: Mapping[str, Any]) -> str:
    """Return a call as text."""
    return json.dumps([function, arguments])


def read_call(text: str) -> tuple[str, dict[str, Any]]:
    """Inverse of `call_text`. Raises `ValueError` for any other text."""
    match json.loads(text):
        case [str(function), dict(arguments)]:
            return function, arguments
    raise ValueError(f"{text:.40} is not a call")

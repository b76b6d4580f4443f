"""Grading of a tau2 episode from its steps by tau2's own assertions, for rewards and the judge `world`."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from operator import le
from typing import Any, NamedTuple

from steptool_env.grading import Progress, arguments_of
from steptool_env.types import Step
from toolserver.catalog.api_schema import Outcome, Provenance, StatusCode
from toolserver.tau2 import Simulation, Tau2Task, load_apis, load_checks
from toolserver.tau2.data import tau2_module

_IDENTIFIERS = frozenset({"customer_id", "line_id", "bill_id", "id", "phone_number"})
"""Arguments that name an entry of the provider's database."""


class Call(NamedTuple):
    """Call that the simulation answered.

    Attributes:
        step: Index of its step.
        function: Name of the function.
        arguments: Arguments.
        succeeded: True if it was answered without an error.
        writes: True if it changed the state.
        answer: Text of the answer.
    """

    step: int
    function: str
    arguments: Mapping[str, Any]
    succeeded: bool = True
    writes: bool = True
    answer: str = ""


class RepairGrading:
    """Grading of one episode, a deterministic function of the task and the steps.

    The calls that the simulation answered are made again in a simulation of this process. A task is solved if the state
    at the end meets every assertion of the task, the calls that the task asks for were made, and the episode ended with
    an answer.

    A needed call is one of the reference solution. It is made by the first call of the same function with the same
    arguments that succeeds. Each call is at most one needed call.

    Args:
        task: Task with its reference solution.
        query: Text of the prompt, which may state identifiers.
    """

    def __init__(self, task: Tau2Task, query: str) -> None:
        self.task = task
        self.reached: dict[int, int] = {}
        """Step of each needed call that was made, by its index."""
        self._query = query
        self._simulation = Simulation(self.task)
        self._state = self._simulation.state()
        self._calls: list[Call] = []
        self._asked: set[tuple[str, ...]] = set()
        self._seen: set[tuple[str, str]] = set()
        self._steps = 0
        self._answered = False

    @property
    def needed(self) -> int:
        """Number of needed calls."""
        return len(self.task.gold)

    @property
    def progress(self) -> float:
        """Share of the needed calls that were made."""
        return len(self.reached) / self.needed

    @property
    def solved(self) -> bool:
        """True if the verdict of tau2 on the episode is 1."""
        return self._answered and all(fulfilled(self.task, self._simulation, self._calls))

    def observe(self, step: Step) -> Progress:
        """Record the next step.

        A check that tells something new costs nothing: the reference solutions leave out those that find the fault.
        """
        place, self._steps = self._steps, self._steps + 1
        self._answered = step.status is StatusCode.FINAL_ANSWER
        if step.provenance is not Provenance.WORLD or step.action.name not in load_apis():
            return Progress()
        arguments = arguments_of(step)
        if arguments is None:
            return Progress()
        function = step.action.name
        answer = self._simulation.call(function, arguments)
        before, self._state = self._state, self._simulation.state()
        succeeded = answer.outcome is Outcome.OK
        call = Call(place, function, arguments, succeeded, self._state != before, answer.text)
        is_news = self._is_news(call)
        self._calls.append(call)
        for index in range(self.needed):
            if succeeded and index not in self.reached and is_made_by(self.task, index, call):
                self.reached[index] = place
                return Progress((index,), useful=True)
        return Progress(useful=is_news)

    def _is_news(self, call: Call) -> bool:
        """Return True for a check with an answer that its function has not given, made once in each state.

        The request or an earlier look-up states its identifiers: otherwise the whole database could be read by guesses.
        Checks that differ in numbers alone are one: each limit on a list would give another answer.
        """
        if not call.succeeded or call.function not in load_checks():
            return False
        if not all(value in self._query or source_of(value, self._calls) for value in identifiers(call)):
            return False
        texts = sorted((name, value) for name, value in call.arguments.items() if isinstance(value, str))
        asked, seen = (self._state, call.function, *chain(*texts)), (call.function, call.answer)
        is_news = asked not in self._asked and seen not in self._seen
        self._asked.add(asked)
        self._seen.add(seen)
        return is_news

    @cached_property
    def contribution(self) -> tuple[bool, ...]:
        """True for each step that contributed; read it after the last step. Shape: (steps,).

        The calls are reduced to those without which an assertion that is met at the end, or a call that the task asks
        for, would be missing. These contributed, and so did each look-up that was the first to state an identifier that
        one of them takes and the request does not state.
        """
        kept = needed_calls(self.task, self._calls)
        steps = {call.step for call in (*kept, *sources(self._query, self._calls, kept))}
        return tuple(index in steps for index in range(self._steps))

    def outcome(self) -> dict[str, float]:
        """Return the values of `info["outcome"]`.

        `is_solved` (1 or 0), `progress` (share of the needed calls that were made), `assertions` (share of the
        assertions that the state meets), and `is_repair` (0 for a task whose assertions hold at the start).
        """
        met = self._simulation.met(self.task)
        return {
            "is_solved": float(self.solved),
            "progress": self.progress,
            "assertions": sum(met) / len(met),
            "is_repair": float(not self.task.needs_calls),
        }


def fulfilled(task: Tau2Task, simulation: Simulation, calls: Sequence[Call]) -> tuple[bool, ...]:
    """Return which demands of the verdict are met: assertions on the state, and calls where it asks for some."""
    asked = range(len(task.gold)) if task.needs_calls else ()
    return (*simulation.met(task), *(any(is_made_by(task, index, call) for call in calls) for index in asked))


def is_made_by(task: Tau2Task, index: int, call: Call) -> bool:
    """Return True if tau2 holds a call for that of the reference solution at `index`."""
    made = tau2_module("data_model.message").ToolCall(name=call.function, arguments=dict(call.arguments))
    return bool(task.definition.evaluation_criteria.actions[index].compare_with_tool_call(made))


def needed_calls(task: Tau2Task, calls: Sequence[Call]) -> list[Call]:
    """Return the calls without those that may be left out.

    Calls are left out from the last to the first while every demand that the episode met is met: one by one, then in
    pairs of one function, since two toggles of a switch undo each other, and again one by one. Of two equal calls that
    would both do, the first stays.
    """
    goal = _met_by(task, calls)
    kept = [call for call in calls if call.writes or task.needs_calls]  # no assertion needs a call without a change
    for pairs in (False, True, False):
        for place in reversed(range(len(kept))):
            if place >= len(kept):
                continue  # a pair was left out
            before = [each for each in range(place) if kept[each].function == kept[place].function]
            left_out = {place, *before[-1:]} if pairs else {place}
            rest = [call for index, call in enumerate(kept) if index not in left_out]
            if len(left_out) == 1 + pairs and all(map(le, goal, _met_by(task, rest))):
                kept = rest
    return kept


def sources(query: str, calls: Sequence[Call], kept: Sequence[Call]) -> list[Call]:
    """Return the look-ups that were the first to state an identifier that contributing calls take.

    One that neither the request nor an earlier look-up states was guessed, and has no source.
    """
    found: list[Call] = []
    waiting = list(kept)
    while waiting:
        call = waiting.pop()
        for value in identifiers(call):
            source = None if value in query else source_of(value, [each for each in calls if each.step < call.step])
            if source is not None and source not in (*kept, *found):
                found.append(source)
                waiting.append(source)
    return found


def identifiers(call: Call) -> list[str]:
    """Return the identifiers that a call takes."""
    return [value for name, value in call.arguments.items() if name in _IDENTIFIERS and isinstance(value, str)]


def source_of(identifier: str, calls: Sequence[Call]) -> Call | None:
    """Return the first look-up that succeeded and states an identifier that it does not take itself."""
    look_ups = (call for call in calls if call.succeeded and call.function in load_checks())
    return next((call for call in look_ups if identifier in call.answer and identifier not in identifiers(call)), None)


def _met_by(task: Tau2Task, calls: Sequence[Call]) -> tuple[bool, ...]:
    simulation = Simulation(task)
    for call in calls:
        simulation.call(call.function, call.arguments)
    return fulfilled(task, simulation, calls)

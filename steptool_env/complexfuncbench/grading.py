"""Grading of a ComplexFuncBench episode from its steps, for rewards and the judge `gold`."""

from collections.abc import Sequence
from functools import cached_property

import orjson

from steptool_env.complexfuncbench.benchmark import call_key, digest_of
from steptool_env.complexfuncbench.task import GoldTask
from steptool_env.grading import Progress, arguments_of
from steptool_env.types import Step
from toolserver.catalog.api_schema import ApiSpec, Provenance, StatusCode
from toolserver.errors import DataError


class CallGrading:
    """Grading of one episode, a deterministic function of the task and the steps.

    A call is a needed one if it is equal to it in canonical form, or if both are look-ups of one API with the same
    recorded answer. Each call is at most one needed call.

    A task is solved by an answer after all needed calls; look-ups may be missing. The text of the answer is not graded.

    Args:
        task: Task with its reference solution.
        tools: Offered APIs.
    """

    def __init__(self, task: GoldTask, tools: Sequence[ApiSpec]) -> None:
        self.task = task
        self.reached: dict[int, int] = {}
        """Step of each needed call that was made, by its index."""
        self._specs = {spec.function_name: spec for spec in reversed(tools)}
        self._by_key = {call.key: index for index, call in enumerate(self.task.calls)}
        self._steps = 0
        self._answered = False

    @property
    def needed(self) -> int:
        """Number of needed calls."""
        return len(self.task.calls)

    @property
    def progress(self) -> float:
        """Share of the needed calls that were made: the call accuracy of the benchmark."""
        return len(self.reached) / self.needed

    @property
    def solved(self) -> bool:
        """True if the episode ended with an answer and no needed call except look-ups is missing."""
        missing = (call for index, call in enumerate(self.task.calls) if index not in self.reached)
        return self._answered and all(call.is_lookup for call in missing)

    def observe(self, step: Step) -> Progress:
        """Record the next step."""
        place, self._steps = self._steps, self._steps + 1
        self._answered = step.status is StatusCode.FINAL_ANSWER
        index = self._needed_call(step)
        if index is None or index in self.reached:
            return Progress()
        self.reached[index] = place
        return Progress((index,), useful=True)

    @cached_property
    def contribution(self) -> tuple[bool, ...]:
        """True for each step that contributed; read it after the last step. Shape: (steps,).

        The answer uses the needed calls whose answer no other needed call takes a value from. A needed call that
        contributed uses, for each value that it takes, the first earlier call that supplied it.
        """
        steps: set[int] = set()
        waiting = [index for index in self.task.leaves if index in self.reached] if self._answered else []
        while waiting:
            index = waiting.pop()
            steps.add(self.reached[index])
            for holders in self.task.calls[index].inputs:
                made = [each for each in holders if self.reached.get(each, self._steps) < self.reached[index]]
                waiting += [min(made, key=self.reached.__getitem__)] if made else []
        return tuple(step in steps for step in range(self._steps))

    def outcome(self) -> dict[str, float]:
        """Return the values of `info["outcome"]`.

        `is_solved` (1 or 0), `is_complete` (1 if no look-up is missing either), `progress` (share of the needed calls
        that were made), and `is_grounded` (0 for a task that needs an identifier that nothing states).
        """
        return {
            "is_solved": float(self.solved),
            "is_complete": float(self.solved and len(self.reached) == self.needed),
            "progress": self.progress,
            "is_grounded": float(self.task.is_grounded),
        }

    def _needed_call(self, step: Step) -> int | None:
        """Return the index of the needed call that a step made."""
        spec, arguments = self._specs.get(step.action.name), arguments_of(step)
        recorded = step.status is StatusCode.OK and step.provenance is Provenance.RECORDED
        if spec is None or arguments is None or not recorded:
            return None
        try:
            index = self._by_key.get(call_key(spec, arguments))
        except (ValueError, DataError):
            return None
        return self._equal_lookup(step) if index is None else index

    def _equal_lookup(self, step: Step) -> int | None:
        name = step.action.name
        open_calls = [
            (index, call.answer)
            for index, call in enumerate(self.task.calls)
            if call.is_lookup and call.function == name and index not in self.reached
        ]
        if not open_calls:
            return None
        try:
            answer = digest_of(orjson.loads(step.body)["response"])
        except (ValueError, TypeError, LookupError):  # a body that no tool wrote
            return None
        return next((index for index, digest in open_calls if digest == answer), None)

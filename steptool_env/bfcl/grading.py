"""Grading of a BFCL episode from its steps by BFCL's own checkers, for rewards and the judge `world`."""

from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import Any, NamedTuple

from steptool_env.grading import Progress, arguments_of
from steptool_env.types import Step
from toolserver.bfcl import BfclTask, Simulation, load_tasks
from toolserver.bfcl.data import bfcl_module
from toolserver.catalog.api_schema import Outcome, Provenance, StatusCode


class GoldAnswer(NamedTuple):
    """Answer to one call of a reference solution.

    Attributes:
        function: Name of the function.
        arguments: Arguments.
        text: Answer as BFCL's checker compares it.
        writes: True if the call changed the state that BFCL's checker compares.
    """

    function: str
    arguments: Mapping[str, Any]
    text: str
    writes: bool


class GoldTurn(NamedTuple):
    """Answers of the reference solution in one turn, and the state after it, which is not to be changed."""

    answers: tuple[GoldAnswer, ...]
    instances: Mapping[str, Any]


class Call(NamedTuple):
    """Call that a simulated API answered, and the index of its step."""

    step: int
    function: str
    arguments: dict[str, Any]


@cache
def gold_turns(task_id: str) -> tuple[GoldTurn, ...]:
    """Return the turns of a task's reference solution, computed by its calls."""
    task = load_tasks()[task_id]
    simulation, turns = Simulation(task), []
    for calls in task.gold:
        answers = []
        for call in calls:
            before = simulation.copy()
            text = simulation.call(call.function, call.arguments).text
            writes = not _same_state(simulation.instances, before.instances)
            answers.append(GoldAnswer(call.function, call.arguments, text, writes))
        turns.append(GoldTurn(tuple(answers), simulation.copy().instances))
    return tuple(turns)


def first_failed_turn(task: BfclTask, turns: Sequence[Sequence[Call]]) -> int:
    """Return the index of the first turn that BFCL's checkers reject; `len(turns)` if they accept all.

    A turn whose reference solution has calls needs at least one call, the state of the reference after it, and among
    all answers so far those of the reference in this turn. A turn without reference calls is not checked.
    """
    return _first_failure(Simulation(task), gold_turns(task.id), turns)


class TurnGrading:
    """Grading of one episode, a deterministic function of the task and the steps.

    The calls that the simulated APIs answered are made again in a simulation of this process, whose state and answers
    BFCL's state checker and response checker compare with the reference solution at the end of each turn. A task is
    solved if they accept every turn, and the agent ended the last one with an answer.

    A needed call is one of the reference solution in its turn. It is made by a call of the same function with the same
    answer in that turn; if it changes the state, also with the same arguments. Each call is at most one needed call.

    Args:
        task: Task with its reference solution.

    Attributes:
        reached: Index of the step that made each needed call, by the number of the call over all turns, from 0.
    """

    def __init__(self, task: BfclTask) -> None:
        self.task = task
        self._gold = gold_turns(self.task.id)
        self._simulation = Simulation(self.task)
        self._turns: list[list[Call]] = [[]]
        self._open = list(enumerate(self._gold[0].answers))  # needed calls of this turn that were not made
        self._before = 0  # needed calls of earlier turns
        self.reached: dict[int, int] = {}
        self._failed_turn: int | None = None
        self._seen: list[str] = []
        self._steps: list[Step] = []

    @property
    def needed(self) -> int:
        """Number of needed calls."""
        return sum(len(turn.answers) for turn in self._gold)

    @property
    def progress(self) -> float:
        """Share of the needed calls that were made in their turns."""
        return len(self.reached) / self.needed

    @property
    def solved(self) -> bool:
        """True if BFCL's checkers accept every turn and the episode ended with an answer in the last one."""
        return self._answered and len(self._turns) == len(self._gold) and self._failed_turn is None

    @property
    def _answered(self) -> bool:
        return bool(self._steps) and self._steps[-1].status is StatusCode.FINAL_ANSWER

    def observe(self, step: Step) -> Progress:
        """Record the next step. A `Finish` that ends a turn costs nothing."""
        self._steps.append(step)
        if step.ends_turn or step.status is StatusCode.FINAL_ANSWER:
            self._end_turn()
            if step.ends_turn and len(self._turns) < len(self._gold):
                self._turns.append([])
                self._before += len(self._gold[len(self._turns) - 2].answers)
                self._open = list(enumerate(self._gold[len(self._turns) - 1].answers, self._before))
            return Progress(useful=True)
        call = _answered_call(step, len(self._steps) - 1)
        if call is None or not self._simulation.has(call.function):
            return Progress()
        self._turns[-1].append(call)
        answer = self._simulation.call(call.function, call.arguments)
        self._seen.append(answer.text)
        if answer.outcome is Outcome.INVALID_ARGUMENTS:
            return Progress()
        for place, (number, needed) in enumerate(self._open):
            if _makes(call, answer.text, needed):
                self._open.pop(place)
                self.reached[number] = len(self._steps) - 1
                return Progress((number,), useful=True)
        return Progress()

    @cached_property
    def contribution(self) -> tuple[bool, ...]:
        """True for each step that contributed; read it after the last step. Shape: (steps,).

        Up to the first turn that BFCL's checkers reject, the calls are reduced, from the last to the first, to those
        without which the checkers would reject a turn that they accept. These contributed, and so did each `Finish`
        that ended an accepted turn other than the last one.
        """
        ended = len(self._turns) if self._answered else len(self._turns) - 1
        accepted = min(ended, len(self._gold) if self._failed_turn is None else self._failed_turn)
        kept = needed_calls(self.task, self._turns[:accepted])
        steps = {call.step for turn in kept for call in turn}
        ends = [index for index, step in enumerate(self._steps) if step.ends_turn]
        steps.update(ends[:accepted])
        return tuple(index in steps for index in range(len(self._steps)))

    def outcome(self) -> dict[str, float]:
        """Return the values of `info["outcome"]`.

        `is_solved` (1 or 0), `progress` (share of the needed calls that were made), and `turns` (share of the turns
        before the first one that was rejected or not ended).
        """
        ended = len(self._turns) if self._answered else len(self._turns) - 1
        accepted = ended if self._failed_turn is None else self._failed_turn
        return {"is_solved": float(self.solved), "progress": self.progress, "turns": accepted / len(self._gold)}

    def _end_turn(self) -> None:
        turn = len(self._turns) - 1
        if self._failed_turn is None and not _accepts(
            self._gold[turn], self._turns[turn], self._simulation.instances, self._seen, turn
        ):
            self._failed_turn = turn


def needed_calls(task: BfclTask, turns: Sequence[Sequence[Call]]) -> list[list[Call]]:
    """Return the calls of accepted turns without those that the checkers do not need.

    Calls are removed one by one, from the last to the first, while the checkers accept every turn. Of two equal calls
    that would both do, the first stays.
    """
    kept = [list(turn) for turn in turns]
    gold = gold_turns(task.id)
    for number in reversed(range(len(kept))):
        for place in reversed(range(len(kept[number]))):
            call = kept[number].pop(place)
            if _first_failure(Simulation(task), gold, kept) < len(kept):
                kept[number].insert(place, call)
    return kept


def _first_failure(simulation: Simulation, gold: Sequence[GoldTurn], turns: Sequence[Sequence[Call]]) -> int:
    seen: list[str] = []
    for number, (turn, calls) in enumerate(zip(gold, turns, strict=False)):
        seen += [simulation.call(call.function, call.arguments).text for call in calls]
        if not _accepts(turn, calls, simulation.instances, seen, number):
            return number
    return len(turns)


def _accepts(
    gold: GoldTurn, calls: Sequence[Call], instances: Mapping[str, Any], seen: Sequence[str], number: int
) -> bool:
    """Return True if BFCL's checkers accept a turn: its calls, the state after it, and all answers so far."""
    if not gold.answers:
        return True
    if not calls or not _same_state(instances, gold.instances):
        return False
    checker = bfcl_module("eval_checker.multi_turn_eval.multi_turn_checker")
    result = checker.response_checker(list(seen), [answer.text for answer in gold.answers], number)
    return bool(result["valid"])


def _same_state(instances: Mapping[str, Any], gold: Mapping[str, Any]) -> bool:
    checker = bfcl_module("eval_checker.multi_turn_eval.multi_turn_checker")
    try:
        return bool(checker.state_checker(instances, gold)["valid"])
    except RecursionError:  # a folder that was moved into itself
        return False


def _answered_call(step: Step, index: int) -> Call | None:
    """Return the call of a step that a simulated API answered; `None` for others."""
    arguments = arguments_of(step) if step.provenance is Provenance.WORLD else None
    return None if arguments is None else Call(index, step.action.name, arguments)


def _makes(call: Call, text: str, needed: GoldAnswer) -> bool:
    same = call.function == needed.function and text == needed.text
    return same and (not needed.writes or call.arguments == needed.arguments)

"""Grader of finished episodes: the rule that decides if a task is solved."""

from dataclasses import dataclass
from functools import lru_cache

from steptool_env.toolworld.answers.slots import Verdict
from steptool_env.toolworld.answers.verifier import AnswerVerifier
from steptool_env.toolworld.grading.progress_tracker import Tracker
from steptool_env.toolworld.net_changes import net_state
from steptool_env.toolworld.task import WorldTask
from toolserver.world.changes import NO_CHANGES, Changes


@dataclass(frozen=True, slots=True)
class Grade:
    """Grade of an episode.

    Attributes:
        solved: True if all slots are right, or the final state is right, or the agent was right to give up.
        verdicts: Verdict on each slot. Shape: (slots,).
        fraction: Fraction of slots that are right; 1 or 0, as `solved`, for a task without slots.
    """

    solved: bool
    verdicts: tuple[Verdict, ...]
    fraction: float


class Grader:
    """Grades the episodes of one task."""

    def __init__(self, task: WorldTask) -> None:
        self.task = task
        self.verifier = AnswerVerifier(task)

    def grade(self, tracker: Tracker, answer: str | None, gave_up: bool = False) -> Grade:
        """Grade a finished episode.

        Args:
            tracker: Tracker that has observed all steps.
            answer: Final answer; `None` if there was none.
            gave_up: The episode ended by giving up.
        """
        verdicts: tuple[Verdict, ...] = ()
        accepted = False
        if not self.task.solvable:
            accepted = gave_up and tracker.met_obstacle and self._state_is_right(tracker.changes)
        elif answer is not None:
            verdicts = self.verifier.check(answer)
            accepted = verdicts.count(Verdict.RIGHT) == len(verdicts) and self._state_is_right(tracker.changes)
        fraction = verdicts.count(Verdict.RIGHT) / len(verdicts) if verdicts and not accepted else float(accepted)
        return Grade(accepted, verdicts, fraction)

    def _state_is_right(self, changes: Changes) -> bool:
        goal = self.task.plan.results[-1].changes if self.task.solvable else NO_CHANGES
        if not changes and not goal:
            return True
        world = self.task.columns.world
        return net_state(world, changes) == net_state(world, goal)


grader_of = lru_cache(maxsize=4096)(Grader)
"""Grader of the given task; the graders of the latest tasks are kept."""

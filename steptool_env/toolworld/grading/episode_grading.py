"""Grading of a ToolWorld episode from its steps, for rewards and the judge `world`."""

from functools import cached_property

from steptool_env.episodes.finish import read_finish
from steptool_env.errors import ConfigurationError
from steptool_env.grading import arguments_of
from steptool_env.toolworld import Grade, Tracker, grader_of
from steptool_env.toolworld.grading.contribution import contribution
from steptool_env.toolworld.grading.progress_tracker import Observed
from steptool_env.toolworld.suite import world_task_of
from steptool_env.types import FINISH, Step, Task
from toolserver.catalog.api_schema import Provenance, StatusCode
from toolserver.episodes.state_token import StateCodec
from toolserver.errors import StateTokenError
from toolserver.resolvers.world import changes_of

_CODEC = StateCodec()


class ToolWorldGrading:
    """Grading of one episode, a deterministic function of the task and the steps.

    Args:
        task: Task of ToolWorld; `task.state` is the episode's opening token.

    Raises:
        ConfigurationError: The task is not ToolWorld's, or its state is not an opening token.
    """

    def __init__(self, task: Task) -> None:
        self.task = world_task_of(task)
        self._apis = {api.spec.function_name: api for api in self.task.toolset.apis}
        self.tracker = Tracker(self.task, _salt(task))
        self._grader = grader_of(self.task)
        self._last: Step | None = None

    def observe(self, step: Step) -> Observed:
        """Record the next step."""
        self._last = step
        api = self._apis.get(step.action.name)
        if api is None or step.provenance is not Provenance.WORLD:
            return self.tracker.record_no_call()
        if step.result is not None:
            return self.tracker.record_answer(api, step.result)
        arguments = arguments_of(step)
        return self.tracker.record_no_call() if arguments is None else self.tracker.record_call(api, arguments)

    @property
    def needed(self) -> int:
        """Number of needed calls."""
        return len(self.tracker.milestones)

    @property
    def progress(self) -> float:
        """Share of the needed calls that were made."""
        return self.tracker.progress

    @property
    def solved(self) -> bool:
        """True if the finished episode solved its task."""
        return self.grade.solved

    @cached_property
    def grade(self) -> Grade:
        """Grade of the finished episode; read it after the last step."""
        last = self._last
        answer = None
        if last is not None and last.status is StatusCode.FINAL_ANSWER and last.action.name == FINISH:
            answer = read_finish(last.action.arguments, last.action.parsed).answer
        gave_up = last is not None and last.status is StatusCode.GAVE_UP
        return self._grader.grade(self.tracker, answer, gave_up)

    @cached_property
    def contribution(self) -> tuple[bool, ...]:
        """True for each step that contributed; read it after the last step. Shape: (steps,)."""
        return contribution(self._grader, self.tracker, self.grade)

    def outcome(self) -> dict[str, float]:
        """Return the values of `info["outcome"]`.

        `is_solved` and `is_solvable` (1 or 0), `slots_right` (fraction of slots that the answer states correctly) and
        `progress` (fraction of needed calls that were made).
        """
        return {
            "is_solved": float(self.grade.solved),
            "slots_right": self.grade.fraction,
            "progress": self.tracker.progress,
            "is_solvable": float(self.task.solvable),
        }


def _salt(task: Task) -> str | int:
    if not task.state:
        return ""
    try:
        return changes_of(_CODEC.read(task.state)).salt
    except StateTokenError as error:
        raise ConfigurationError(f"task {task.id!r}: its state must be an opening token; {error}") from error

"""Judge: exact verification of ToolWorld's tasks."""

from collections.abc import Sequence

from steptool_env.judges.base import Judgement
from steptool_env.toolworld.episode_grading import grade_episode
from steptool_env.types import Step, Task
from toolserver.catalog.api_schema import Provenance, StatusCode


class WorldJudge:
    """Judges episodes in ToolWorld by their reference solution, so StepTool's reward needs no model.

    A call succeeded if the world answered it with `OK`. It contributed if its response contains a value that a later
    contributing call or the accepted answer uses.
    """

    def call_succeeded(self, task: Task, step: Step) -> float:  # noqa: ARG002 - the protocol's signature
        """Return 1 if the world answered the call with `OK`, else 0."""
        return float(step.status is StatusCode.OK and step.provenance is Provenance.WORLD)

    def judge(self, task: Task, steps: Sequence[Step]) -> Judgement:
        """Judge the finished episode. Raises `ConfigurationError` if the task is not ToolWorld's."""
        episode = grade_episode(task, steps)
        succeeded = tuple(self.call_succeeded(task, step) for step in steps)
        return Judgement(
            succeeded,
            tuple(map(float, episode.contribution)),
            (float(episode.grade.solved),),
            details=episode.outcome(),
        )

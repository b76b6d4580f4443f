"""The judge of ToolWorld: exact, free and the same every time."""

from __future__ import annotations

from collections.abc import Sequence

from steptool_env.judges.base import Judgement
from steptool_env.toolworld.reward_truth import grade_episode
from steptool_env.types import Step, Task
from toolserver.catalog.api_schema import Provenance, StatusCode


class WorldJudge:
    """Judges episodes in ToolWorld by what is known of them; lets StepTool's reward run without a model's opinion.

    A call succeeded when the world answered it with `OK`. It contributed when its response supplied a value that a
    later contributing call or the accepted answer used.
    """

    def call_succeeded(self, task: Task, step: Step) -> float:  # noqa: ARG002 - the protocol's signature
        """1 when the world answered the call with `OK`, else 0."""
        return float(step.status is StatusCode.OK and step.provenance is Provenance.WORLD)

    def judge(self, task: Task, steps: Sequence[Step]) -> Judgement:
        """Judge the finished episode. Raises `ConfigurationError` when the task is not ToolWorld's."""
        episode = grade_episode(task, steps)
        succeeded = tuple(self.call_succeeded(task, step) for step in steps)
        return Judgement(
            succeeded,
            tuple(map(float, episode.contribution)),
            (float(episode.grade.solved),),
            details=episode.outcome(),
        )

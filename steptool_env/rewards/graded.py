"""Choice of the grading by the task, for the rewards and judges that need no model."""

from collections.abc import Sequence

from steptool_env.bfcl.grading import TurnGrading
from steptool_env.bfcl.suite import is_bfcl
from steptool_env.complexfuncbench.grading import CallGrading
from steptool_env.complexfuncbench.suite import is_complexfuncbench
from steptool_env.grading import EpisodeGrading
from steptool_env.toolworld.episode_grading import ToolWorldGrading
from steptool_env.types import Step, Task


def start_grading(task: Task) -> EpisodeGrading:
    """Return the grading of one episode of `task`.

    Raises:
        ConfigurationError: The task is of none of ToolWorld, ComplexFuncBench and BFCL, or its solution is not found.
    """
    if is_bfcl(task.suite):
        return TurnGrading(task)
    return CallGrading(task) if is_complexfuncbench(task.suite) else ToolWorldGrading(task)


def grade_episode(task: Task, steps: Sequence[Step]) -> EpisodeGrading:
    """Grade a finished episode. Raises `ConfigurationError` as `start_grading` does."""
    episode = start_grading(task)
    for step in steps:
        episode.observe(step)
    return episode

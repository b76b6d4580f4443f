"""Final reward: `is_solved` at the last step, otherwise 0."""

from steptool_env.rewards.base import StepReward
from steptool_env.rewards.judged import JudgedReward, JudgedScorer, well_formed
from steptool_env.types import Step


class FinalScorer(JudgedScorer):
    """Scores one episode by its outcome only."""

    def score(self, step: Step) -> StepReward:
        """Return `is_solved` for `Finish`, else 0."""
        self.steps.append(step)
        if not step.finished:
            return StepReward(0.0, {"format": well_formed(step)})
        solved = self.judgement.solved
        return StepReward(solved, {"format": well_formed(step), "is_solved": solved})

    def hindsight(self) -> None:
        """Return `None`: nothing changes in hindsight."""
        return


class FinalReward(JudgedReward):
    """`is_solved` for `Finish`, 0 for every other step: the sparse baseline of StepTool."""

    scorer = FinalScorer
    judges_steps = False

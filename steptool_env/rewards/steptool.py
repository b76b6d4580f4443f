"""StepTool's step-grained reward (arXiv 2410.07745, section 3.2)."""

from steptool_env.rewards.base import StepReward
from steptool_env.rewards.judged import JudgedReward, JudgedScorer, well_formed
from steptool_env.types import Step


class StepToolScorer(JudgedScorer):
    """Scores one episode by StepTool's formula."""

    def score(self, step: Step) -> StepReward:
        """Return the part of the reward that is known at once."""
        self.steps.append(step)
        if step.finished:
            return _last(step, self.judgement.solved)
        succeeded = self.judge.call_succeeded(self.task, step)
        if succeeded is None:
            return StepReward(0.0, {"format": well_formed(step)})
        return StepReward(succeeded / 2, {"format": well_formed(step), "succ_calling": succeeded})

    def hindsight(self) -> tuple[StepReward, ...]:
        """Return the reward of every step, with its contribution to the final answer."""
        steps, judgement = self.steps, self.judgement
        if not steps:
            return ()
        calls = zip(steps[:-1], judgement.succ_calling, judgement.contribution, strict=False)
        return (*(_call(*call) for call in calls), _last(steps[-1], judgement.solved))


class StepToolReward(JudgedReward):
    """`(succ_calling + contribution) / 2` for every tool call, `is_solved` for the last step.

    All terms are in [0, 1]; the paper's contribution of 0 to 5 is divided by 5. The reward of the last step is
    `is_solved`, even if it is the tool call that ends the budget (then 0), as in the published annotations.

    The contribution is known after the end of the episode. `step` therefore returns `succ_calling / 2`, and
    `is_solved` for `Finish`; `hindsight` returns the complete rewards.
    """

    scorer = StepToolScorer


def _call(step: Step, succeeded: float, contribution: float) -> StepReward:
    terms = {"format": well_formed(step), "succ_calling": succeeded, "contribution": contribution}
    return StepReward((succeeded + contribution) / 2, terms)


def _last(step: Step, solved: float) -> StepReward:
    return StepReward(solved, {"format": well_formed(step), "is_solved": solved})

"""A judge of rules: no model, no network, the same verdict every time.

It does better than the rules published with StepTool (character overlap of response and answer) because it reads
what an answer's body says (`success`), follows values from call to call (`dataflow`) and looks at what the final
answer claims (`answer`). How far it agrees with the published annotations and judgements, and where it does not, is
measured by `benchmarks/stabletoolbench/judge_agreement.py`; see `docs/evaluation.md`.
"""

from __future__ import annotations

from collections.abc import Sequence

from steptool_env.judges.answer import admitted_failure, final_answer
from steptool_env.judges.base import Judgement
from steptool_env.judges.dataflow import Use, contributions, evidence
from steptool_env.judges.success import body_succeeded, response_text
from steptool_env.types import Step, Task
from toolserver.catalog.api_schema import StatusCode

SOLVED, UNSURE, UNSOLVED = 1.0, 0.5, 0.0
_HALF = 0.5


class RulesJudge:
    """Judges an episode by its calls, its data flow and its final answer.

    An episode is unsolved when it gives no answer, when no call succeeded, when the answer speaks of nothing that
    was asked or found, or when it opens with an apology or mostly admits failure. It is unsure when part of the
    answer admits failure, or when nothing that a tool said is used in it: the published judges pay such answers in
    full, so a policy trained on them learns to invent. Else it is solved.
    """

    def call_succeeded(self, task: Task, step: Step) -> float:  # noqa: ARG002 - the protocol's signature
        """1 when the call was carried out and its body tells of a success, else 0."""
        return float(step.status is StatusCode.OK and body_succeeded(step.body))

    def judge(self, task: Task, steps: Sequence[Step]) -> Judgement:
        """Judge the finished episode."""
        answer = final_answer(steps)
        succeeded = tuple(self.call_succeeded(task, step) for step in steps)
        uses = [Use(step.action.arguments, response_text(step.body)) for step in steps]
        flow = contributions(task.query, uses, answer) if answer else (0.0,) * len(steps)
        contribution = tuple(share * success for share, success in zip(flow, succeeded, strict=True))
        if not any(succeeded) or not evidence([task.query, *(use.response for use in uses)], answer):
            return Judgement(succeeded, contribution, (UNSOLVED,))
        return Judgement(succeeded, contribution, (_solved(answer, contribution),))


def _solved(answer: str, contribution: Sequence[float]) -> float:
    admitted = admitted_failure(answer)
    if admitted >= _HALF:
        return UNSOLVED
    return SOLVED if admitted == 0 and any(contribution) else UNSURE

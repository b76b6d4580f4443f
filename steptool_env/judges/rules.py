"""Judge: deterministic rules, without a model or a network.

It is more accurate than the rules published with StepTool (character overlap of response and answer), because it reads
the status in a response body (`success`), follows values from call to call (`dataflow`) and checks the final answer
(`answer`). `benchmarks/stabletoolbench/judge_agreement.py` measures the agreement with the published annotations; see
`docs/evaluation.md`.
"""

from collections.abc import Sequence

from steptool_env.judges.answer import admitted_failure, final_answer
from steptool_env.judges.base import Judgement
from steptool_env.judges.dataflow import Use, contributions, evidence
from steptool_env.judges.success import body_succeeded, response_text
from steptool_env.types import Step, Task
from toolserver.catalog.api_schema import Provenance, StatusCode

SOLVED, UNSURE, UNSOLVED = 1.0, 0.5, 0.0
_HALF = 0.5


class RulesJudge:
    """Judges an episode by its calls, its data flow and its final answer.

    An episode is unsolved if it has no answer, no call succeeded, the answer uses no value of the query or of a
    response, or the answer starts with an apology or mostly admits failure. It is unsure if part of the answer admits
    failure or the answer uses no value of a response: the published judges accept such answers, so a policy trained on
    them learns to invent. Otherwise it is solved. Synthetic answers, which may repeat the arguments of the call, are
    neither successes nor evidence.
    """

    def call_succeeded(self, task: Task, step: Step) -> float:  # noqa: ARG002 - the protocol's signature
        """Return 1 if the call was executed, not by a synthetic answer, and its body reports a success, else 0."""
        return float(step.status is StatusCode.OK and not _is_synthetic(step) and body_succeeded(step.body))

    def judge(self, task: Task, steps: Sequence[Step]) -> Judgement:
        """Judge the finished episode."""
        answer = final_answer(steps)
        succeeded = tuple(self.call_succeeded(task, step) for step in steps)
        uses = [Use(step.action.arguments, "" if _is_synthetic(step) else response_text(step.body)) for step in steps]
        flow = contributions(task.query, uses, answer) if answer else (0.0,) * len(steps)
        contribution = tuple(share * success for share, success in zip(flow, succeeded, strict=True))
        if not any(succeeded) or not evidence([task.query, *(use.response for use in uses)], answer):
            return Judgement(succeeded, contribution, (UNSOLVED,))
        return Judgement(succeeded, contribution, (_solved(answer, contribution),))


def _is_synthetic(step: Step) -> bool:
    return step.provenance is Provenance.SYNTHETIC


def _solved(answer: str, contribution: Sequence[float]) -> float:
    admitted = admitted_failure(answer)
    if admitted >= _HALF:
        return UNSOLVED
    return SOLVED if admitted == 0 and any(contribution) else UNSURE

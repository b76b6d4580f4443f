"""The verifier's verdict on an answer to a task; each task's verifier is made once per process."""

from functools import cache

from steptool_env.toolworld import WorldTask
from steptool_env.toolworld.answers.slots import Verdict
from steptool_env.toolworld.answers.verifier import AnswerVerifier


@cache
def verifier(task: WorldTask) -> AnswerVerifier:
    return AnswerVerifier(task)


def is_right(task: WorldTask, answer: str) -> bool:
    return all(verdict is Verdict.RIGHT for verdict in verifier(task).check(answer))

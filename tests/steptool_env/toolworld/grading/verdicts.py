"""The verifier's verdict on an answer to a task; each task's verifier is made once per process."""

from functools import cache

from steptool_env.toolworld import WorldTask
from steptool_env.toolworld.grading.name_check import Verdict
from steptool_env.toolworld.grading.verifier import Verifier


@cache
def verifier(task: WorldTask) -> Verifier:
    return Verifier(task)


def is_right(task: WorldTask, answer: str) -> bool:
    return all(verdict is Verdict.RIGHT for verdict in verifier(task).check(answer))

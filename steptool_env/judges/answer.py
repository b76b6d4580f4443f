"""Final answer of an episode, and its admission of failure."""

import re
from collections.abc import Sequence

from steptool_env.episodes.finish import read_finish
from steptool_env.types import Step
from toolserver.catalog.api_schema import StatusCode

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_ADMISSION = re.compile(
    r"\b(sorry|apologi[sz]e|unfortunately|regret)\b|\b(un|not )able to\b"
    r"|\b(could|can|was|were|did|do|does|is|are)(not|n['’]t| not)\b|\bcan['’]t\b|\bfailed\b|\berrors?\b"
    r"|\bno (results?|information|data|\w+ (was|were) found)\b|not available|unavailable|\bissues?\b|try again",
    re.IGNORECASE,
)


def final_answer(steps: Sequence[Step]) -> str:
    """Return the final answer; empty unless the last step is a `Finish` with an answer."""
    if not steps or steps[-1].status is not StatusCode.FINAL_ANSWER:
        return ""
    return read_finish(steps[-1].action.arguments).answer


def admitted_failure(answer: str) -> float:
    """Return the share of sentences that admit failure, 0 to 1; 1 if the first one does."""
    sentences = [sentence for sentence in _SENTENCE.split(answer) if sentence.strip()]
    admissions = [_ADMISSION.search(sentence) is not None for sentence in sentences]
    if not admissions or admissions[0]:
        return 1.0
    return sum(admissions) / len(admissions)

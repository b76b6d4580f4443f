"""Precision and recall of the verifier on a corpus of answers labelled by hand.

    python -m benchmarks.toolworld.verifier [--answers tests/data/answers.jsonl]

Precision is the share of right answers among those that the verifier accepts, recall the share of accepted ones among
the right answers. Every answer on which the verifier and its label differ is listed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple, Self

import tyro

from benchmarks.harness.command import run_command
from benchmarks.harness.report import Result, Row
from benchmarks.toolworld.answers import CORPUS, Answer, Question, read_questions
from steptool_env.toolworld.answers.slots import Verdict
from steptool_env.toolworld.answers.verifier import AnswerVerifier

NOTES = (
    "A careful reader made the labels. 1,059 answers were written before the verifier was corrected until it agreed "
    "with them, so the figures above say little about answers of other kinds.",
    "Three blind rounds used other questions, written by hand, and the verifier of that time. First precision and "
    "recall: 0.981 and 0.936 of 244 answers, 0.865 and 0.917 of 186, 0.922 and 0.922 of 126. Errors that are not "
    "listed here were corrected afterwards.",
    "The questions of the kind `sampled` are tasks of the sampler; their answers are 191 of 727 that were written "
    "blind in four rounds: 0.986 and 0.873 of 321 answers, 1.000 and 0.976 of 166, 1.000 and 0.949 of 122, 0.981 and "
    "0.964 of 118.",
    "A question is a plan of world 0, level standard. Except for the sampled ones, its query was written by hand.",
)


class VerifiedAnswer(NamedTuple):
    """An answer, the query and the verifier's decision."""

    question: Question
    answer: Answer
    accepted: bool

    @property
    def is_miss(self) -> bool:
        """True if the verifier differs from the label."""
        return self.accepted is not self.answer.right


class Figures(NamedTuple):
    """Numbers of answers, right ones and accepted ones; share of right among the accepted, of accepted among the right.

    A share of none is 1.
    """

    answers: int
    right: int
    accepted: int
    precision: float
    recall: float

    @classmethod
    def of(cls, verified: Sequence[VerifiedAnswer]) -> Self:
        """Return the figures of some answers."""
        right = sum(each.answer.right for each in verified)
        accepted = sum(each.accepted for each in verified)
        both = sum(each.answer.right and each.accepted for each in verified)
        return cls(len(verified), right, accepted, both / accepted if accepted else 1.0, both / right if right else 1.0)


@dataclass(frozen=True)
class Options:
    """Measure the verifier on labelled answers. Example: `python -m benchmarks.toolworld.verifier`."""

    answers: Annotated[Path, tyro.conf.arg(metavar="FILE")] = CORPUS
    """The corpus."""


def verify(questions: Iterable[Question]) -> Iterator[VerifiedAnswer]:
    """Verify every answer."""
    for question in questions:
        verifier = AnswerVerifier(question.task)
        for answer in question.answers:
            verdicts = verifier.check(answer.text)
            yield VerifiedAnswer(question, answer, all(verdict is Verdict.RIGHT for verdict in verdicts))


def by_kind(verified: Sequence[VerifiedAnswer]) -> Iterator[Row]:
    """Yield the figures of each kind of question, then of all."""
    for kind in dict.fromkeys(each.question.kind for each in verified):
        yield _row(kind, [each for each in verified if each.question.kind == kind])
    yield _row("all", verified)


def misses(verified: Iterable[VerifiedAnswer]) -> Iterator[Row]:
    """Yield the answers on which the verifier differs from the label."""
    for each in verified:
        if each.is_miss:
            yield {
                "question": each.question.task.query,
                "answer": repr(each.answer.text),
                "label": "right" if each.answer.right else "wrong",
                "style": each.answer.style,
            }


def _row(kind: str, verified: Sequence[VerifiedAnswer]) -> Row:
    questions = len({each.question.id for each in verified})
    figures = Figures.of(verified)._asdict()
    return {"kind": kind, "questions": questions, **{name: _rounded(value) for name, value in figures.items()}}


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else round(value, 4)


def run(options: Options) -> Result:
    """Measure the verifier."""
    verified = list(verify(read_questions(options.answers)))
    tables = {"By kind of question": list(by_kind(verified)), "Misses": list(misses(verified))}
    return Result("verifier", "The verifier on labelled answers", tables, NOTES)


if __name__ == "__main__":
    run_command("toolworld.verifier", Options, run)

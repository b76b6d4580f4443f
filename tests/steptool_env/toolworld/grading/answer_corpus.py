"""The labelled answers of `tests/data/answers.jsonl`; they are read once per process."""

from functools import cache

from benchmarks.toolworld.answers import Question, read_questions


@cache
def questions() -> tuple[Question, ...]:
    """All questions, in the order of the file."""
    return read_questions()

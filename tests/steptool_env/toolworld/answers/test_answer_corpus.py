"""The verifier agrees with the labels of a corpus of answers, written before it was made to."""

from collections import Counter

import pytest

from benchmarks.toolworld.answers import read_questions
from benchmarks.toolworld.verifier import Figures, Options, VerifiedAnswer, by_kind, misses, run, verify
from steptool_env.errors import DataError
from steptool_env.toolworld import gold_answer
from steptool_env.toolworld.answers.slots import slots_of
from toolserver.world.schema import ValueKind


@pytest.fixture(scope="module")
def verified() -> list[VerifiedAnswer]:
    return list(verify(read_questions()))


def test_the_plans_give_what_the_corpus_was_labelled_by() -> None:
    for question in read_questions():
        plan = question.task.plan
        assert [[fact.value for fact in plan.asked_facts(asked)] for asked in plan.asked] == question.values, (
            question.id
        )


def test_the_corpus_is_large_balanced_and_says_nothing_twice() -> None:
    answers = [answer for question in read_questions() for answer in question.answers]
    right = sum(answer.right for answer in answers)
    assert len(answers) >= 1000
    assert 0.45 <= right / len(answers) <= 0.55
    for question in read_questions():
        assert Counter(answer.text for answer in question.answers).most_common(1)[0][1] == 1, question.id
        assert {answer.right for answer in question.answers} == {True, False}, question.id


def test_the_corpus_has_every_kind_of_slot_and_every_unit() -> None:
    types = [slot.type for question in read_questions() for slot in slots_of(question.task)]
    assert {kind.kind for kind in types} == set(ValueKind) - {ValueKind.ID}  # ids are found, never asked for
    assert {"USD", "km", "m", "kg", "g", "C", "mm", "km/h", "%", "kcal", "min", "days"} <= {kind.unit for kind in types}


def test_the_gold_answer_of_each_question_is_accepted() -> None:
    gold = [
        question._replace(answers=(question.answers[0]._replace(text=gold_answer(question.task), right=True),))
        for question in read_questions()
    ]
    assert not list(misses(verify(gold)))


def test_precision_and_recall_on_the_corpus(verified: list[VerifiedAnswer]) -> None:
    figures = Figures.of(verified)
    listed = "\n".join(f"{each['label']}: {each['answer']} to {each['question']}" for each in misses(verified))
    assert figures.precision >= 0.99, listed
    assert figures.recall >= 0.99, listed


def test_the_figures_add_up(verified: list[VerifiedAnswer]) -> None:
    *kinds, total = by_kind(verified)
    for column in ("questions", "answers", "right", "accepted"):
        assert sum(int(row[column] or 0) for row in kinds) == total[column]
    wrong = sum(each.is_miss for each in verified)
    assert len(list(misses(verified))) == wrong


def test_the_result_has_the_figures_of_all_kinds() -> None:
    total = run(Options()).tables["By kind of question"][-1]
    assert total["kind"] == "all"
    assert 0 < float(str(total["precision"])) <= 1


def test_a_corpus_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl: no such file"):
        read_questions(tmp_path / "none.jsonl")

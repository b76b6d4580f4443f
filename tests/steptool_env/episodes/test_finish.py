"""`Finish`, with the observations, codes and leniency of ToolBench's client."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steptool_env.episodes.finish import read_finish
from toolserver.catalog.api_schema import StatusCode

ENDS = (StatusCode.FINAL_ANSWER, StatusCode.GAVE_UP)


@pytest.mark.parametrize(
    ("arguments", "status", "answer"),
    [
        ('{"return_type": "give_answer", "final_answer": "It rains."}', StatusCode.FINAL_ANSWER, "It rains."),
        ('{"return_type": "give_answer", "final_answer": "two\nlines"}', StatusCode.FINAL_ANSWER, "two\nlines"),
        ('{"return_type": "give_answer", "final_answer": {"mm": 3}}', StatusCode.FINAL_ANSWER, '{"mm": 3}'),
        ('{"return_type": "give_answer", "final_answer": ""}', StatusCode.FINAL_ANSWER, ""),
        ('{"return_type": "give_answer", "final_answer": "It rai', StatusCode.FINAL_ANSWER, "It rai"),
        ('{"return_type": "give_up_and_restart"}', StatusCode.GAVE_UP, ""),
        ('{"return_type": "give_up_and_restart", "final_a', StatusCode.GAVE_UP, ""),
        ('{"return_type": "give_answer"}', StatusCode.BAD_INPUT, ""),
        ('{"return_type": "give_answ', StatusCode.BAD_INPUT, ""),
        ('{"return_type": ["give_answer"]}', StatusCode.BAD_INPUT, ""),
        ('{"final_answer": "It rains."}', StatusCode.BAD_INPUT, ""),
        ("[]", StatusCode.BAD_INPUT, ""),
        ("", StatusCode.BAD_INPUT, ""),
        ("[" * 100_000, StatusCode.BAD_INPUT, ""),
    ],
)
def test_finish_reads_as_toolbench_does(arguments: str, status: StatusCode, answer: str) -> None:
    finished = read_finish(arguments)
    assert (finished.status, finished.answer) == (status, answer)
    assert finished.observation.startswith('{"response":' if status in ENDS else "{error:")


@given(st.text())
def test_every_answer_comes_through(answer: str) -> None:
    assert read_finish(json.dumps({"return_type": "give_answer", "final_answer": answer})).answer == answer


@given(st.text())
def test_any_text_has_a_status(arguments: str) -> None:
    assert read_finish(arguments).status in (*ENDS, StatusCode.BAD_INPUT)

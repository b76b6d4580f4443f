"""Tests of the success of a call, from the body of its response."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steptool_env.judges.success import body_succeeded, response_text
from toolserver.catalog.api_schema import encode_body

ANSWERS: list[Any] = [
    {"film": "Northern Light", "year": 1987},
    {"status": "ok", "items": []},
    {"status": 200, "message": "done"},
    {"code": "AUR", "count": 404},
    {"statusCode": 200, "errors": []},
    [],
    ["a", "b"],
    0,
    "Northern Light (1987)",
    "{'film': 'Northern Light', 'code': 12}",
    '{"isValid": false, "email": "a@example.org", "domain": "example.org", "reason": "mailbox", "score": 3}',
    "User with ID 86420 is listed in the register.",
    "The manual lists the error codes of the device. " * 12,
    {"a": 1, "b": 2, "c": 3, "d": 4, "message": "fields without a value are missing from the list"},
]
FAILURES: list[Any] = [
    "",
    None,
    {"message": "Not Found"},
    "{'message': 'Not Found'}",
    '{"success": false, "message": "Invalid key"}',
    {"success": "false", "message": "blank"},
    {"statusCode": 404, "message": "Order 7 does not exist"},
    {"status": "400"},
    {"Error": "no data"},
    {"errors": ["year"]},
    "Error",
    "404 page not found",
    "Please provide a title to search for.",
    "You can't use this endpoint.",
    "Title doesn’t exist",
    "The API could not be reached: request timed out",
    "<html><head><title>503 Service Unavailable</title></head></html>",
]


@pytest.mark.parametrize("response", ANSWERS)
def test_content_is_a_success(response: Any) -> None:
    assert body_succeeded(encode_body("", response).decode())


def test_a_status_of_thousands_of_digits_is_none() -> None:
    """Python refuses to convert such a text to an integer."""
    assert body_succeeded(encode_body("", {"status": "9" * 5000, "code": "4" * 5000}).decode())


@pytest.mark.parametrize("response", FAILURES)
def test_a_failure_that_an_empty_error_hides_is_a_failure(response: Any) -> None:
    assert not body_succeeded(encode_body("", response).decode())


@pytest.mark.parametrize("response", [*ANSWERS, *FAILURES])
def test_an_error_is_a_failure_whatever_the_response(response: Any) -> None:
    assert not body_succeeded(encode_body("Unauthorized error...", response).decode())


def test_a_cut_body_is_read_as_far_as_it_goes() -> None:
    good = encode_body("", json.dumps({"film": "Northern Light", "cast": ["A"] * 400})).decode()[:300]
    bad = encode_body("", json.dumps({"status": 403, "trace": ["frame"] * 400})).decode()[:300]
    worse = encode_body("", json.dumps({"error": "Not Found", "trace": ["frame"] * 400})).decode()[:300]
    assert body_succeeded(good + "...")
    assert not body_succeeded(bad + "...")
    assert not body_succeeded(worse + "...")
    assert not body_succeeded(encode_body("Function executing error " * 50, "").decode()[:300] + "...")


def test_text_comes_out_without_escapes() -> None:
    assert response_text(encode_body("", 'say "é"').decode()) == 'say "é"'
    assert response_text(encode_body("", {"a": "é"}).decode()) == '{"a":"é"}'
    assert response_text('{"error": "", "response": "first\\nsecond \\u00e9...') == '"first\nsecond é...'


@given(st.text())
def test_any_text_can_be_judged(text: str) -> None:
    body_succeeded(text)
    response_text(text)


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.dictionaries(st.text(), inner))
)
def test_any_response_can_be_judged(response: Any) -> None:
    body_succeeded(encode_body("", response).decode())

"""A contribution is the use of something new, followed from call to call."""

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.stabletoolbench.authors_rules import contribution as authors_contribution
from steptool_env.judges.dataflow import Use, contributions, evidence, values

QUERY = "Who directed the film that Aurora released in 1987?"
SEARCH = Use('{"studio": "Aurora"}', '{"films": [{"id": "tt-93421", "year": 1987}]}')
DETAILS = Use('{"id": "tt-93421"}', '{"director": "Maren Okafor", "runtime": 118}')
WEATHER = Use('{"city": "Oslo"}', '{"temperature": 21, "wind": "north-west", "station": "OSL-77"}')
ANSWER = "It was directed by Maren Okafor."


def test_a_value_that_reaches_the_answer_is_a_contribution() -> None:
    assert contributions(QUERY, [DETAILS], ANSWER)[0] > 0


def test_an_identifier_passed_on_earns_as_much_as_what_it_led_to() -> None:
    search, details = contributions(QUERY, [SEARCH, DETAILS], ANSWER)
    assert search == details > 0


def test_passing_a_value_to_a_call_that_leads_nowhere_earns_nothing() -> None:
    assert contributions(QUERY, [SEARCH, DETAILS], "I like cinema.") == (0.0, 0.0)


def test_a_response_that_nobody_uses_earns_nothing() -> None:
    assert contributions(QUERY, [SEARCH, WEATHER, DETAILS], ANSWER)[1] == 0.0


def test_a_repeated_value_earns_nothing() -> None:
    first, again = contributions(QUERY, [DETAILS, DETAILS], ANSWER)
    assert first > 0
    assert again == 0.0


def test_what_the_query_or_the_call_itself_said_is_not_new() -> None:
    echo = Use('{"title": "Glasshouse"}', '{"title": "Glasshouse", "studio": "Aurora", "year": 1987}')
    assert contributions(QUERY, [echo], "Aurora released Glasshouse in 1987.") == (0.0,)


def test_common_words_are_no_contribution() -> None:
    polite = Use("{}", "Here is a list of the information that you requested about this item.")
    assert contributions(QUERY, [polite], "Here is the information about the item you requested.") == (0.0,)


def test_length_alone_earns_nothing() -> None:
    """The authors' rule pays any answer that is long enough, whatever it says."""
    body = '{"error": "", "response": "wind from the west, clear sky"}'
    prose = "The quick brown fox would often jump over the lazy dogs while nobody in the village was watching. " * 3
    assert authors_contribution(body, prose) == 1.0
    assert contributions("Weather?", [Use("{}", "wind from the west, clear sky")], prose) == (0.0,)


@pytest.mark.parametrize(
    ("written", "said"), [("1050000", "1,050,000"), ("5100.0", "5100"), ("0.50", "0.5"), ("TT-93421", "tt-93421")]
)
def test_a_value_is_the_same_however_it_is_written(written: str, said: str) -> None:
    assert values(written).keys() == values(said).keys() != set()


def test_evidence_grows_with_what_is_shared() -> None:
    assert evidence(["Maren Okafor, 118 minutes"], "Okafor") == 0.0  # one name may be chance
    assert 0 < evidence(["Maren Okafor"], "Maren Okafor") < 1
    assert evidence(["order tt-93421"], "your order is tt-93421") == 1.0


@given(st.text(), st.lists(st.tuples(st.text(), st.text()), max_size=4), st.text())
def test_any_episode_can_be_followed(query: str, calls: list[tuple[str, str]], answer: str) -> None:
    credit = contributions(query, [Use(*call) for call in calls], answer)
    assert len(credit) == len(calls)
    assert all(0 <= share <= 1 for share in credit)


@given(st.text(min_size=1), st.text())
def test_saying_more_never_lowers_a_contribution(response: str, answer: str) -> None:
    calls = [Use("{}", response)]
    assert contributions("", calls, f"{answer} {response}")[0] >= contributions("", calls, answer)[0]


@pytest.mark.parametrize("text", ["-" * 50_000, "a." * 25_000, "+-" * 25_000, "a.b-" * 12_000])
def test_reading_values_takes_time_in_proportion_to_the_text(text: str) -> None:
    """A search for e-mail addresses that is quadratic takes half a minute for these."""
    begin = process_time()
    values(text)
    assert process_time() - begin < 5

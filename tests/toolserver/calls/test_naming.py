import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolserver.calls.naming import (
    api_key,
    change_name,
    function_name,
    parameter_name,
    standardize,
    standardize_category,
)
from toolserver.stabletoolbench import read_judged_run, read_queries

SETS = ("G1_instruction", "G1_category", "G2_instruction", "G2_category")

# Names with the parts that the rules look at, more often than chance would put them together.
names = st.one_of(
    st.text(max_size=12),
    st.lists(
        st.sampled_from(["_for_", " for ", "a", "B", "1", "_", " ", ",", "/", "data", "Data", "id"]), max_size=6
    ).map("".join),
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("TheClique", "theclique"),
        ("/v1/inflation", "v1_inflation"),
        ("Get  Word -- by length", "get_word_by_length"),
        ("360 Business Tool®", "get_360_business_tool"),
        ("天气 API", "天气_api"),
        ("x^2", "x^2"),
        ("___", ""),
        ("", ""),
    ],
)
def test_standardize_follows_the_published_rules(name: str, expected: str) -> None:
    assert standardize(name) == expected


@pytest.mark.parametrize("name", ["from", "class", "return", "false", "true", "id", "and"])
def test_names_that_a_prompt_would_misread_get_a_prefix(name: str) -> None:
    assert change_name(name) == parameter_name(name.upper()) == f"is_{name}"


@pytest.mark.parametrize(
    ("category", "expected"),
    [
        ("Artificial Intelligence/Machine Learning", "Artificial_Intelligence_Machine_Learning"),
        ("News, Media", "News_Media"),
        ("eCommerce", "eCommerce"),
    ],
)
def test_categories_are_named_as_their_folders(category: str, expected: str) -> None:
    assert standardize_category(category) == expected


@pytest.mark.parametrize(
    "spelling",
    [
        ("Video, Images", "Bing Video-Search", "ID"),
        ("Video_Images", "bing_video_search", "is_id"),
        ("Video_Images", "bing_video_search_for_Video_Images", "id"),
        ("Video, Images", "Bing Video-Search", "is_id_for_bing_video_search"),
    ],
)
def test_every_spelling_of_an_api_has_one_key(spelling: tuple[str, str, str]) -> None:
    assert api_key(*spelling) == ("Video_Images", "bing_video_search", "is_id")


@given(names, names, names)
def test_standardising_twice_changes_nothing(category: str, tool: str, api: str) -> None:
    key = api_key(category, tool, api)
    assert api_key(*key) == key


def test_long_names_are_standardised_like_short_ones() -> None:
    assert standardize("A-" * 1000) == "_".join("a" * 1000)
    assert api_key("C" * 300, "T", "id") == ("C" * 300, "t", "is_id")


@pytest.mark.parametrize("split", SETS)
def test_functions_are_named_as_in_the_published_runs(stabletoolbench_data, split: str) -> None:
    queries = read_queries(stabletoolbench_data / "solvable_queries" / "test_instruction" / f"{split}.json")
    offered = {query.query_id: {function_name(api.tool, api.name) for api in query.apis} for query in queries}
    for path in (stabletoolbench_data / "judged_runs").glob(f"*/{split}.json"):
        for episode in read_judged_run(path):
            assert {*episode.tool_names} <= offered[episode.query_id] | {"Finish"}

"""Importing damaged, strange and hostile files: everything is imported or listed, and nothing crashes."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.toolserver.apis import api, episode, offered_api, query, tool_file, write_json
from toolserver.cache import PutResult, ResponseCache, canonical_key
from toolserver.catalog.api_schema import Outcome, Provenance
from toolserver.catalog.catalog import AddResult, Catalog
from toolserver.errors import ConflictError, DataError
from toolserver.stabletoolbench import ImportReport, import_folder, read_judged_run, read_queries

OK = {"error": "", "response": 1}


def import_all(folder: Path, **options: Any) -> ImportReport:
    """Import a folder into a fresh cache, which must verify afterwards."""
    with tempfile.TemporaryDirectory() as cache_folder, ResponseCache(cache_folder) as cache:
        report = import_folder(folder, cache, Catalog(), **options)
        assert list(cache.verify()) == []
        assert len(cache) == report.calls[PutResult.ADDED]
    return report


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ResponseCache]:
    """One cache for every example of the generated files, verified in the end."""
    with ResponseCache(tmp_path_factory.mktemp("generated")) as shared:
        yield shared
        assert list(shared.verify()) == []


def responses_file(folder: Path, content: Any, api_name: str = "search") -> Path:
    path = folder / "tool_response_cache" / "Data" / "tool_for_Data" / f"{api_name}.json"
    if isinstance(content, bytes):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path
    return write_json(path, content)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("{'a': 1", OK, "not a Python literal"),
        ("", OK, "not a Python literal"),
        ("__import__('os').abort()", OK, "not a Python literal"),
        ("{'a': os}", OK, "not a Python literal"),
        ("{'a': [" * 5000, OK, "not a Python literal"),
        ("{" + "'a':{" * 900 + "}" * 901, OK, "nest"),
        ("{'a': \0}", OK, "not a Python literal"),
        ("{[]: 1}", OK, "not a Python literal"),
        ("[1, 2]", OK, "not a dictionary but list"),
        ("{1: 2}", OK, "argument name 1 "),
        ("{'a': {1}}", OK, "set"),
        ("{'a': b'x'}", OK, "bytes"),
        ("{'a': 1j}", OK, "complex"),
        ("{'a': 1}", "text", "must be"),
        ("{'a': 1}", {"error": ""}, "must be"),
        ("{'a': 1}", {"error": 3, "response": ""}, "error must be text, not 3"),
        ("{'a': 1}", {"error": "", "response": "", "score": 1}, "unknown fields: score"),
    ],
)
def test_a_malformed_entry_is_listed_with_file_key_and_reason(
    tmp_path: Path, key: str, value: Any, reason: str
) -> None:
    path = responses_file(tmp_path, {"{'good': 1}": OK, key: value, "{'good': 2}": OK})
    report = import_all(tmp_path)
    assert report.calls == {PutResult.ADDED: 2}
    (problem,) = report.problems
    assert (problem.file, problem.key) == (str(path), key[:200])
    assert reason in problem.reason
    with pytest.raises(DataError, match="search"):
        import_all(tmp_path, strict=True)


@pytest.mark.parametrize(
    ("key", "arguments"),
    [
        ("{}", {}),
        ("{'name': 'Messi'}", {"name": "Messi"}),
        ("{\"it's\": '\"'}", {"it's": '"'}),
        ("{'a': None, 'b': True, 'c': [1, 2.5, {'d': -1}]}", {"a": None, "b": True, "c": [1, 2.5, {"d": -1}]}),
        ("{'a': nan, 'b': -inf}", {"a": float("nan"), "b": -float("inf")}),
        ("{'a': 123456789012345678901234567890}", {"a": 123456789012345678901234567890}),
        ("{'a': '\\ud800\\n\\x00'}", {"a": "\ud800\n\x00"}),
    ],
)
def test_keys_are_read_as_their_server_writes_them(tmp_path: Path, key: str, arguments: dict[str, Any]) -> None:
    responses_file(tmp_path, {key: OK})
    with ResponseCache(tmp_path / "cache") as cache:
        import_folder(tmp_path, cache, Catalog(), strict=True)
        assert cache.get(canonical_key("Data", "tool", "search", arguments)) is not None


def test_answers_keep_outcome_and_provenance(tmp_path: Path) -> None:
    responses_file(
        tmp_path,
        {
            "{'n': 1}": {"error": "", "response": {"text": "404 and 500 are numbers here"}},
            "{'n': 2}": {"error": "Unauthorized error...", "response": ""},
            "{'n': 3}": {"error": "", "response": "made up", "is_fake": True},
            "{'n': 4}": {"error": "Failed to generate fake response", "response": []},
        },
    )
    with ResponseCache(tmp_path / "cache") as cache:
        import_folder(tmp_path, cache, Catalog(), strict=True)
        entries = [cache.get(canonical_key("Data", "tool", "search", {"n": number})) for number in (1, 2, 3, 4)]
    assert [(entry.outcome, entry.provenance) for entry in entries if entry] == [
        (Outcome.OK, Provenance.RECORDED),
        (Outcome.UNAUTHORIZED, Provenance.RECORDED),
        (Outcome.OK, Provenance.GENERATED),
        (Outcome.FAILED, Provenance.GENERATED),
    ]
    assert entries[0] is not None
    assert entries[0].describe().source == "tool_response_cache/Data/tool_for_Data/search.json"


def test_a_second_answer_to_a_call_follows_the_policy(tmp_path: Path) -> None:
    responses_file(tmp_path, {"{'a': 1, 'b': 2}": OK, "{'b': 2, 'a': 1}": OK | {"response": 2}})
    assert import_all(tmp_path).calls == {PutResult.ADDED: 1, PutResult.KEPT: 1}
    assert import_all(tmp_path, on_conflict="replace").calls == {PutResult.ADDED: 1, PutResult.REPLACED: 1}
    with pytest.raises(ConflictError):
        import_all(tmp_path, on_conflict="error")


def test_one_bad_api_does_not_spoil_its_tool(tmp_path: Path) -> None:
    tool = tool_file("Goal Line", api("Cards"), {"name": 3}, api("Scores", required_parameters=7), api("Live"))
    write_json(tmp_path / "tools" / "Sports" / "goal_line.json", tool)
    catalog = Catalog()
    with ResponseCache(tmp_path / "cache") as cache:
        report = import_folder(tmp_path, cache, catalog)
    assert [spec.name for spec in catalog] == ["Cards", "Live"]
    assert {spec.tool_description for spec in catalog} == {"About Goal Line."}
    assert [problem.key for problem in report.problems] == ["api_list[1]", "api_list[2]"]


def test_the_same_api_documented_twice_keeps_the_first(tmp_path: Path) -> None:
    write_json(tmp_path / "tools" / "Sports" / "goal_line.json", tool_file("Goal Line", api("Cards")))
    write_json(tmp_path / "queries.json", [query(1, "?", offered_api("Sports", "Goal Line", "cards"))])
    assert import_all(tmp_path).apis == {AddResult.ADDED: 1, AddResult.KEPT: 1}


def run_folder(folder: Path, *steps: tuple[str, str, str]) -> None:
    offered = [offered_api("Sports", "Goal Line", name) for name in ("Cards", "Scores")]
    write_json(folder / "queries.json", [query(7, "Who won?", *offered)])
    write_json(folder / "runs" / "run.json", {"7": episode("Who won?", *steps)})


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (("Finish", "{}", ""), "Finish calls no tool"),
        (("cards", "{}", '{"error": "", "response": 1}'), "the function was not offered"),
        (("cards_for_goal_line", "{broken", '{"error": "", "response": 1}'), "the arguments are not a JSON object"),
        (("cards_for_goal_line", "[]", '{"error": "", "response": 1}'), "the arguments are not a JSON object"),
        (("cards_for_goal_line", "{}", ""), "the response is not an answer of a tool"),
        (("cards_for_goal_line", "{}", '{"response": 1}'), "the response is not an answer of a tool"),
        (("cards_for_goal_line", "{}", "{" * 100_000), "the response is not an answer of a tool"),
    ],
)
def test_steps_that_record_no_call_are_counted_by_reason(
    tmp_path: Path, step: tuple[str, str, str], reason: str
) -> None:
    run_folder(tmp_path, ("scores_for_goal_line", '{"n": 1}', '{"error": "", "response": "2:1"}'), step)
    report = import_all(tmp_path)
    assert report.calls == {PutResult.ADDED: 1}
    assert report.skipped == {reason: 1}
    assert report.problems == []


@pytest.mark.parametrize(
    ("response", "error", "kept"),
    [
        ('{"error": "", "response": "It was \\u00e9\\"x\\n', "", 'It was é"x\n...'),
        ('{"error": "", "response": "half an escape \\u00', "", "half an escape ..."),
        ('{"error": "", "response": "half an escape \\', "", "half an escape ..."),
        ('{"error": "", "response": "half a pair \\ud83d', "", "half a pair ..."),
        ('{"error": "", "response": [{"id": 1}, {"i', "", '[{"id": 1}, {"i...'),
        ('{"error": "no \\u00e9', "no é...", ""),
    ],
)
def test_a_cut_response_is_kept_as_text_and_marked(tmp_path: Path, response: str, error: str, kept: str) -> None:
    run_folder(tmp_path, ("scores_for_goal_line", "", response + "..."))
    with ResponseCache(tmp_path / "cache") as cache:
        import_folder(tmp_path, cache, Catalog(), strict=True)
        entry = cache.get(canonical_key("Sports", "goal_line", "scores", {}))
    assert entry is not None
    assert (entry.response.error, entry.response.response) == (error, kept)
    assert entry.describe().source == "runs/run.json 7 step 1, cut"


def test_a_run_without_its_query_is_listed(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"7": episode("Who won?", ("cards_for_goal_line", "{}", json.dumps(OK)))})
    report = import_all(tmp_path)
    assert [(problem.key, "query was not found" in problem.reason) for problem in report.problems] == [("7", True)]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("answer_steps", "Step 2: {}", "numbered from 1"),
        ("answer_steps", "nothing", "must begin with"),
        ("answer_steps", "Step 1: {'name': 'x'}", "step 1: name, arguments and response must be text"),
        ("answer_steps", "Step 1: exec('x')", "step 1: not a Python literal"),
        ("final_step", "Final step: [", "final step: not a Python literal"),
        ("is_solved", {"0": "AnswerStatus.Maybe"}, "must be one of Solved"),
        ("tool_names", "Finish", "tool_names must be of type list"),
        ("length", "three", "length must be of type int"),
    ],
)
def test_a_damaged_episode_names_query_and_reason(tmp_path: Path, field: str, value: Any, reason: str) -> None:
    good = episode("Who won?", ("Finish", "{}", ""))
    path = write_json(tmp_path / "run.json", {"7": good | {field: value}, "8": good})
    with pytest.raises(DataError, match=rf"run\.json: 7: .*{reason}"):
        read_judged_run(path)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (query(1, "?") | {"query": None}, "query must be text"),
        (query(1, "?") | {"query_id": True}, "query_id must be a number"),
        (query(1, "?") | {"api_list": {}}, "api_list must be a list"),
        (query(1, "?", {}), "category_name must be a name"),
        (query(1, "?", relevant=[["only one"]]), r"must list \[tool, API\]"),
        ("a query", "must be an object"),
    ],
)
def test_a_damaged_query_names_file_and_reason(tmp_path: Path, item: Any, reason: str) -> None:
    path = write_json(tmp_path / "queries.json", [query(0, "?"), item])
    with pytest.raises(DataError, match=rf"queries\.json: .*{reason}"):
        read_queries(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"nul"])
def test_a_file_that_is_no_json_is_listed(tmp_path: Path, content: bytes) -> None:
    path = responses_file(tmp_path, content)
    report = import_all(tmp_path)
    assert [(problem.file, problem.key) for problem in report.problems] == [(str(path), "")]


def test_a_folder_with_nothing_in_it_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no JSON files"):
        import_all(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        import_all(tmp_path / "none")


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    responses_file(tmp_path / "elsewhere", {"{}": OK})
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "server").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "data")
    assert import_all(tmp_path / "data").calls == {PutResult.ADDED: 1}


# --- whatever a file holds, each of its entries is imported, skipped with a reason or listed ---

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
literal_keys = st.dictionaries(st.text(max_size=3), json_values, max_size=3).map(str)
answers = st.fixed_dictionaries({"error": st.text(max_size=3) | json_values, "response": json_values})


def imported(cache: ResponseCache, name: str, content: Any, *more: tuple[str, Any]) -> ImportReport:
    with tempfile.TemporaryDirectory() as folder:
        for path, value in ((name, content), *more):
            write_json(Path(folder) / path, value)
        before = len(cache)
        report = import_folder(folder, cache, Catalog())
        assert len(cache) - before == report.calls[PutResult.ADDED]
    return report


@given(st.dictionaries(literal_keys | st.text(max_size=12), answers | json_values, max_size=5))
def test_every_recorded_call_is_kept_or_reported(cache: ResponseCache, content: dict[str, Any]) -> None:
    report = imported(cache, "tool_response_cache/Data/tool_for_Data/api.json", content)
    assert sum(report.calls.values()) + len(report.problems) == len(content)


apis = st.fixed_dictionaries(
    {"name": st.text(max_size=6) | json_values, "description": st.text(max_size=4) | json_values}
)


@given(st.lists(apis | json_values, max_size=4))
def test_every_documented_api_is_kept_or_reported(cache: ResponseCache, content: list[Any]) -> None:
    report = imported(cache, "tools/Data/tool.json", {"tool_name": "Tool", "api_list": content})
    assert sum(report.apis.values()) + len(report.problems) == len(content)


queries = st.fixed_dictionaries(
    {"query_id": st.integers() | json_values, "query": st.text() | json_values, "api_list": st.just([]) | json_values}
)


@given(st.lists(queries | json_values, max_size=4))
def test_every_query_is_kept_or_reported(cache: ResponseCache, content: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_json(Path(folder) / "queries.json", content)
        report = import_folder(folder, cache, Catalog())
        readable = [item for item in content if is_readable(path, item)]
    if report.files["queries"]:
        assert len(readable) + len(report.problems) == len(content)


def is_readable(path: Path, item: Any) -> bool:
    try:
        return len(read_queries(write_json(path, [item]))) == 1
    except DataError:
        return False


texts = st.sampled_from(["cards_for_goal_line", "Finish", "{}", '{"a": 1}', json.dumps(OK)]) | st.text(max_size=20)
steps = st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=4)


@given(steps, st.none() | st.tuples(st.sampled_from(["answer_steps", "final_step", "is_solved"]), json_values))
def test_every_step_of_a_run_is_kept_or_reported(
    cache: ResponseCache, recorded: list[tuple[str, str, str]], damage: tuple[str, Any] | None
) -> None:
    damaged = episode("?", *recorded) | (dict([damage]) if damage else {})
    run = {"1": damaged, "2": episode("?", ("Finish", "", ""))}
    offered = offered_api("Sports", "Goal Line", "Cards")
    report = imported(cache, "run.json", run, ("queries.json", [query(1, "?", offered), query(2, "?", offered)]))
    if report.problems:
        assert damage is not None
        assert [problem.key for problem in report.problems] == ["1"]
        assert sum(report.skipped.values()) == 1
    else:
        assert sum(report.calls.values()) + sum(report.skipped.values()) == len(recorded) + 1


@given(st.binary(max_size=60), st.sampled_from(["tools/D/t.json", "tool_response_cache/D/t/a.json", "run.json"]))
def test_any_bytes_are_read_or_listed(cache: ResponseCache, content: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        report = import_folder(folder, cache, Catalog())
    assert sum(report.files.values()) == 1

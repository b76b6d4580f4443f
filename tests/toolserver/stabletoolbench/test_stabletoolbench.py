"""StableToolBench's published data, read and written back."""

import ast
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from steptool_env.stabletoolbench.sample import SAMPLE
from toolserver.cache import PutResult, ResponseCache, canonical_key
from toolserver.cache.catalog_store import load_catalog
from toolserver.catalog.api_schema import Provenance, encode_body
from toolserver.catalog.catalog import AddResult, Catalog
from toolserver.stabletoolbench import (
    import_folder,
    read_answer,
    read_judged_run,
    read_queries,
    write_responses,
    write_tools,
)

SETS = {"G1_instruction": 163, "G1_category": 153, "G2_instruction": 106, "G2_category": 124}


@dataclass(frozen=True)
class Figures:
    """Contents of a folder of StableToolBench's data."""

    tools: int
    apis: int
    files: int  # of recorded calls, one an API
    calls: int
    again: int = 0  # second recordings of a call, its arguments in another order
    kept: int = 0  # of these, those with another answer

    @property
    def entries(self) -> int:
        return self.calls - self.again


SAMPLED = Figures(tools=47, apis=188, files=188, calls=220)
PUBLISHED = Figures(tools=722, apis=1991, files=936, calls=1389, again=5, kept=1)


@pytest.fixture(scope="session")
def figures(stabletoolbench_data: Path) -> Figures:
    return SAMPLED if stabletoolbench_data == SAMPLE else PUBLISHED


def recorded_files(data: Path) -> list[Path]:
    return sorted((data / "server" / "tool_response_cache").rglob("*.json"))


def test_every_recorded_call_answers(stabletoolbench_data: Path, stabletoolbench_cache: Path, figures: Figures) -> None:
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
    assert (len(files), calls) == (figures.files, figures.calls)
    assert entries == figures.entries  # calls are one, whatever the order of their arguments
    assert answered == calls - figures.kept  # the first answer is kept


def test_an_import_counts_everything_and_doing_it_again_changes_nothing(
    stabletoolbench_data: Path, figures: Figures, tmp_path: Path
) -> None:
    catalog = Catalog()
    with ResponseCache(tmp_path) as cache:
        first = import_folder(stabletoolbench_data / "server", cache, catalog)
        again = import_folder(stabletoolbench_data / "server", cache, catalog)
        assert list(cache.verify()) == []
    assert first.files == {"tools": figures.tools, "tool_response_cache": figures.files}
    assert first.apis == {AddResult.ADDED: figures.apis}
    kept = Counter({PutResult.KEPT: figures.kept})
    unchanged = figures.again - figures.kept
    assert +Counter(first.calls) == +Counter({PutResult.ADDED: figures.entries, PutResult.UNCHANGED: unchanged}) + kept
    assert again.apis == {AddResult.UNCHANGED: figures.apis}
    assert +Counter(again.calls) == Counter({PutResult.UNCHANGED: figures.calls - figures.kept}) + kept
    assert first.problems == again.problems == []


def test_a_failure_of_their_simulator_is_no_recording(stabletoolbench_data: Path, stabletoolbench_cache: Path) -> None:
    """Nor is anything in the sample, whose answers this project has made."""
    with ResponseCache(stabletoolbench_cache, read_only=True) as cache:
        for _, entry in cache.entries():
            failed = entry.response.error == "Failed to generate fake response"
            generated = failed or stabletoolbench_data == SAMPLE
            assert entry.provenance is (Provenance.GENERATED if generated else Provenance.RECORDED)


def test_everything_below_a_folder_is_found(stabletoolbench_data: Path, figures: Figures, tmp_path: Path) -> None:
    with ResponseCache(tmp_path) as cache:
        report = import_folder(stabletoolbench_data, cache, Catalog())
        sources = {entry.describe().source.split("/")[0] for _, entry in cache.entries()}
    # The sample: two runs of six sets. As published: three runs of four sets, and two with the answers.
    sample = {"queries": 6, "judged runs": 12, "other files": 14}
    published = {"queries": 4, "judged runs": 14, "other files": 15}
    assert report.files == {
        "tools": figures.tools,
        "tool_response_cache": figures.files,
        **(sample if figures is SAMPLED else published),
    }
    assert report.problems == []
    # The server's folder holds all that the runs record.
    assert sources - {"toolbench_answer_examples"} == {"server"}


def test_a_run_records_what_the_servers_folder_holds(
    stabletoolbench_data: Path, judged_run: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for source in (stabletoolbench_data / "solvable_queries" / "test_instruction", judged_run):
        name = source.name
        for path in source.glob("*.json"):
            target = data / name / path.name
            target.parent.mkdir(exist_ok=True)
            target.symlink_to(path)
    with ResponseCache(tmp_path / "cache") as cache:
        report = import_folder(data, cache, Catalog(), strict=True)
        recorded = dict(cache.entries())
        cut = [entry for entry in recorded.values() if entry.describe().source.endswith(", cut")]
        assert list(cache.verify()) == []
    episodes = [episode for path in (data / judged_run.name).glob("*.json") for episode in read_judged_run(path)]
    assert sum(report.calls.values()) + sum(report.skipped.values()) == sum(len(e.steps) for e in episodes)
    assert all(str(entry.response.response).endswith("...") or "..." in entry.response.error for entry in cut)
    assert 0 < len(cut) / len(recorded) < 0.6


@pytest.mark.parametrize("split", SETS)
def test_queries_are_read(stabletoolbench_data: Path, split: str) -> None:
    queries = read_queries(stabletoolbench_data / "solvable_queries" / "test_instruction" / f"{split}.json")
    ids = json.loads((stabletoolbench_data / "solvable_queries" / "test_query_ids" / f"{split}.json").read_text())
    assert len(queries) == (8 if stabletoolbench_data == SAMPLE else SETS[split])
    assert {query.query_id for query in queries} == set(ids)
    for query in queries:
        assert query.relevant
        assert {*query.relevant} <= {api.function_name for api in query.apis}


@pytest.mark.parametrize("split", SETS)
def test_judged_runs_are_read(stabletoolbench_data: Path, split: str) -> None:
    runs = sorted((stabletoolbench_data / "judged_runs").iterdir())
    assert len(runs) >= 2
    for run in runs:
        episodes = read_judged_run(run / f"{split}.json")
        assert len(episodes) == (8 if stabletoolbench_data == SAMPLE else SETS[split])
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
            steps = [(step.name, step.arguments, step.observation) for step in answer.steps[:-1] if step.name]
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
    stabletoolbench_data: Path, stabletoolbench_cache: Path, figures: Figures, tmp_path: Path
) -> None:
    catalog = load_catalog(stabletoolbench_cache)
    with ResponseCache(stabletoolbench_cache, read_only=True) as cache:
        assert write_tools(tmp_path / "tools", catalog) == figures.tools
        assert write_responses(tmp_path / "tool_response_cache", cache) == figures.entries
    originals = recorded_files(stabletoolbench_data)
    missing = 0
    for original in originals:
        relative = original.relative_to(stabletoolbench_data / "server")
        written, read = json.loads((tmp_path / relative).read_text()), json.loads(original.read_text())
        assert written.items() <= read.items()  # their server finds each under the key that it writes itself
        missing += len(read) - len(written)
    assert missing == figures.again  # second recordings of one call, in another order
    read_back = Catalog()
    with ResponseCache(tmp_path / "cache") as cache:
        import_folder(tmp_path / "tools", cache, read_back, strict=True)
        report = import_folder(tmp_path / "tool_response_cache", cache, read_back, strict=True)
    assert report.calls == {PutResult.ADDED: figures.entries}
    assert [(spec, spec.template_response) for spec in read_back] == [
        (spec, spec.template_response) for spec in catalog
    ]

"""The shipped sample of StableToolBench: what its script makes, small, and without the texts of tools and models."""

import json
import re
from pathlib import Path

from benchmarks.stabletoolbench.make_sample import QUERIES, SETS, build
from benchmarks.stabletoolbench.sample_answers import masked
from steptool_env.stabletoolbench.sample import SAMPLE

MADE = ("solvable_queries", "server", "judged_runs")


def files(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_documentation_answers_and_runs_are_made_of_the_queries_byte_for_byte(tmp_path: Path) -> None:
    build({name: json.loads((SAMPLE / QUERIES / f"{name}.json").read_text()) for name in SETS}, tmp_path)
    for part in MADE:
        assert files(tmp_path / part) == files(SAMPLE / part)


def test_the_sample_is_small_and_every_answer_is_marked_as_generated() -> None:
    assert sum(map(len, files(SAMPLE).values())) < 2**20
    for path in (SAMPLE / "server" / "tool_response_cache").rglob("*.json"):
        assert all(value["is_fake"] for value in json.loads(path.read_text()).values())


def test_nothing_in_the_answer_files_was_said_by_a_tool_or_a_model() -> None:
    """Whatever looks like a response, at any depth of quoting, is one of the texts that stand in for them."""
    for path in (SAMPLE / "toolbench_answer_examples").rglob("*.json"):
        text = path.read_text().replace("\\", "")
        said = re.findall(r'"(?:response|final_answer)": "([^"]+)"', text)
        assert said
        allowed = re.compile(r"(Response|Answer) made for the sample \(\w{8}\)|successfully .*|chose to give up .*|\{")
        assert [each for each in said if not allowed.fullmatch(each)] == []
        assert "function_output" not in text


def test_masking_keeps_what_is_asked_and_drops_what_is_said() -> None:
    content = {
        "node_type": "Thought",
        "description": "I think.",
        "observation": '{"error": "Timeout error...", "response": "secret"}',
        "messages": [{"role": "user", "content": "Question?"}, {"role": "assistant", "content": "I say."}],
        "arguments": '{"city": "Oslo"}',
    }
    first, again = masked(content), masked(content)
    assert first == again
    assert "secret" not in str(first)
    assert "I " not in str(first)
    assert json.loads(first["observation"])["error"] == "Timeout error..."
    assert first["messages"][0] == content["messages"][0]
    assert first["arguments"] == content["arguments"]

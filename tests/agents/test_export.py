"""`steptool export`, and ToolEval's own converter and evaluators on what it writes."""

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from agents.base import Info
from agents.baselines.random import RandomAgent
from agents.chat.completions import FunctionNames
from agents.cli import main
from steptool_env.trajectories.recordings import read_recordings
from steptool_env.trajectories.trajectories import write_trajectories
from steptool_env.types import Trajectory
from tests.server_stub import calling, chat_stub

TOOLEVAL = os.environ.get("STEPTOOL_TOOLEVAL", "")
"""Folder toolbench/tooleval of a checkout of StableToolBench, with its packages importable (`openai`, `tenacity`)."""

SETS = ("G1_instruction", "G2_category")


class Wavering(RandomAgent):
    """Calls at random, gives up now and then, and at times writes no call or one of a function that is not offered."""

    def decide(self, episode: Any, observation: str, info: Info) -> str:
        draw = episode.rng.random()
        if draw < 0.3:
            return str(episode.format.render("Finish", json.dumps({"return_type": "give_up_and_restart"})))
        if draw < 0.4:
            return "Thought: I have to think."
        if draw < 0.5:
            return str(episode.format.render("invented", "{}", "Perhaps this one."))
        return super().decide(episode, observation, info)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DFSDT run over the sample of all sets, some of whose searches found an answer and some did not."""
    out = tmp_path_factory.mktemp("searched") / "tree"
    main(["evaluate", "--env", "StepTool/StableToolBench-v0", "--env-args", "suite=all", "call_budget=3",
          "observation=toolbench", "--agent", f"{__name__}:Wavering", "--strategy", "dfsdt",
          "--max-calls", "12", "--out", str(out)])  # fmt: skip
    return out


def export(kind: str, run: Path, out: Path, *flags: str) -> Path:
    main(["export", kind, str(run), "--out", str(out), *flags])
    return out


def test_a_search_is_written_as_toolbench_writes_it_and_comes_back(searched: Path, tmp_path: Path) -> None:
    episodes = {(e.task.suite, e.task.id): e for e in read_recordings(searched)}
    assert any(len(e.metadata["search_tree"]) > len(e.steps) for e in episodes.values())
    name = "stabletoolbench-sample_tree_dfs"
    out = export("toolbench", searched, tmp_path / "out")
    files = sorted((out / "answer" / name).rglob("*.json"))
    assert len(files) == len(episodes) == 48
    for file in files:
        assert file.name.endswith("_DFS_woFilter_w2.json")
        (back,) = read_recordings(file)
        episode = episodes[f"stabletoolbench-sample/{back.task.suite}", back.task.id]
        assert (back.task.query, shape(back)) == (episode.task.query, shape(episode))
        assert back.finished == episode.finished
        if episode.finished:  # else ToolBench's files name no path
            assert path_of(back) == path_of(episode)
        generation = json.loads(file.read_text())["answer_generation"]
        assert generation["query_count"] == episode.metadata["search_calls"]
        numbers = sorted(numbered(json.loads(file.read_text())["tree"]["tree"]))
        assert numbers == list(range(episode.metadata["search_calls"] + 1))  # the root is 0
    converted = read_recordings(out / "model_predictions_converted" / name)
    by_query = {e.task.query: e for e in episodes.values()}
    for entry in converted:
        steps = by_query[entry.task.query].steps
        assert [(s.action.name, s.action.arguments) for s in entry.steps if s.action.name] == [
            (s.action.name.replace("invented", "invalid_hallucination_function_name"), s.action.arguments)
            for s in steps
            if s.action.name
        ]
        assert entry.finished == steps[-1].finished


def shape(trajectory: Trajectory) -> list[tuple[int, str, str, str]]:
    """The calls in order; of a path without branches, its steps."""
    calls = trajectory.metadata.get("search_tree")
    if calls is None:
        rows = [(n - 1, asdict(s.action), s.observation) for n, s in enumerate(trajectory.steps)]
    else:
        rows = [(c["parent"], c["action"], c["observation"]) for c in calls]
    # ToolBench's files have no observation after a message without a call.
    return [(parent, a["name"], a["arguments"], seen if a["name"] else "") for parent, a, seen in rows]


def path_of(trajectory: Trajectory) -> list[tuple[str, str, str]]:
    return [(step.action.name, step.action.arguments, step.action.thought) for step in trajectory.steps]


def numbered(node: dict[str, Any]) -> list[int]:
    """The numbers of the nodes at which the search asked."""
    own = [node["expand_num"]] if node["depth"] == 0 or node["expand_num"] else []
    return own + [number for child in node["children"] for number in numbered(child)]


def test_openai_lines_have_calls_with_answers_and_names_that_its_api_takes(searched: Path, tmp_path: Path) -> None:
    episodes = read_recordings(searched)
    lines = (export("openai", searched, tmp_path / "out") / "episodes.jsonl").read_text().splitlines()
    for line, episode in zip(lines, episodes, strict=True):
        record = json.loads(line)
        offered = {tool["function"]["name"] for tool in record["tools"]}
        assert all(len(name) <= 64 for name in offered)
        names = FunctionNames([*(spec.function_name for spec in episode.task.tools), "Finish"])
        calls = [call for m in record["messages"] for call in m.get("tool_calls", [])]
        assert [names.name(call["function"]["name"]) for call in calls] == [
            step.action.name for step in episode.steps if step.action.name
        ]
        assert {call["function"]["name"] for call in calls} <= offered | {"invented"}
        answered = [m["tool_call_id"] for m in record["messages"] if m["role"] == "tool"]
        assert answered == [call["id"] for call in calls][: len(answered)]
        assert "Calls left" not in line  # observation=toolbench
        assert record["messages"][-1]["role"] == "assistant"


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("openai", "episodes.jsonl"),
        ("sharegpt", "episodes.jsonl"),
        ("toolbench", "model_predictions_converted"),
    ],
)
def test_the_last_line_says_what_the_files_are_for(
    kind: str, place: str, searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = export(kind, searched, tmp_path / "out of it")
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"next: give '{out}'/{place} to ")
    assert (out / place).exists()


def test_sharegpt_turns_alternate_and_solved_episodes_can_be_chosen(searched: Path, tmp_path: Path) -> None:
    lines = (export("sharegpt", searched, tmp_path / "all") / "episodes.jsonl").read_text().splitlines()
    for line in lines:
        roles = [turn["from"] for turn in json.loads(line)["conversations"]]
        assert roles[:2] == ["system", "human"]
        assert roles[2::2] == ["gpt"] * len(roles[2::2])
        assert roles[3::2] == ["observation"] * len(roles[3::2])
        assert roles[-1] == "gpt"
    solved = [e for e in read_recordings(searched) if e.metadata["outcome"]["is_solved"] == 1]
    if solved:
        chosen = (export("sharegpt", searched, tmp_path / "some", "--solved") / "episodes.jsonl").read_text()
        assert len(chosen.splitlines()) == len(solved) < 48


def test_nothing_is_overwritten_and_names_that_mislead_the_converter_are_refused(
    searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export("openai", searched, tmp_path)
    for flags, message in (
        (["openai", str(searched)], "episodes.jsonl exists"),
        (["toolbench", str(searched), "--name", "scottish_dfs"], "name='stabletoolbench-sample_scottish_dfs'"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main(["export", *flags, "--out", str(tmp_path)])
        assert message in capsys.readouterr().err


def test_two_episodes_of_one_query_or_two_sets_of_one_name_do_not_overwrite_each_other(
    searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *_ = read_recordings(searched)
    other_set = replace(first, task=replace(first.task, suite=f"mine/{first.task.suite.rpartition('/')[2]}"))
    for name, second, message in (
        ("query", first, "is the file of two episodes"),
        ("set", other_set, "have the same last part"),
    ):
        write_trajectories(tmp_path / f"{name}.jsonl", [first, second])
        with pytest.raises(SystemExit):
            main(["export", "toolbench", str(tmp_path / f"{name}.jsonl"), "--out", str(tmp_path / "out")])
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def tooleval() -> Path:
    """ToolEval as its authors publish it."""
    if not Path(TOOLEVAL).joinpath("eval_pass_rate.py").is_file():
        pytest.skip("needs ToolEval; set STEPTOOL_TOOLEVAL to the folder toolbench/tooleval of StableToolBench")
    missing = [name for name in ("openai", "tenacity", "backoff", "pandas", "tqdm", "yaml") if find_spec(name) is None]
    if missing:
        pytest.skip(f"ToolEval needs {', '.join(missing)}")
    return Path(TOOLEVAL).resolve()


def test_tooleval_converts_and_judges_an_exported_search_as_we_do(
    tooleval: Path, searched: Path, tmp_path: Path
) -> None:
    """Its converter makes our converted files; its questions and pass rates are those of `steptool score`."""
    out, name = export("toolbench", searched, tmp_path / "out"), "stabletoolbench-sample_tree_dfs"
    again = tmp_path / "again" / name
    again.mkdir(parents=True)
    for suite in SETS:
        tool(tooleval, "convert_to_answer_format.py", "--answer_dir", out / "answer" / name / suite,
             "--method", "DFS_woFilter_w2", "--output", again / f"{suite}.json")  # fmt: skip
        ours = json.loads((out / "model_predictions_converted" / name / f"{suite}.json").read_text())
        theirs = json.loads((again / f"{suite}.json").read_text())
        assert theirs.keys() == ours.keys()
        valid = [key for key, entry in ours.items() if entry["answer"]["final_answer"]]
        assert valid
        assert {key: theirs[key] for key in valid} == {key: ours[key] for key in valid}

    def reply(request: dict[str, Any]) -> dict[str, Any]:
        function = request["tools"][0]["function"]["name"]
        prompt = request["messages"][0]["content"]
        verdict = ("Solved", "Unsolved", "Unsure")[sum(map(ord, prompt.partition("Query:")[2][:99])) % 3]
        if verdict == "Unsure" and function == "parse_answer_status":
            verdict = "Solved"
        return calling(function, answer_status=verdict, reason="remainder")

    with chat_stub(reply) as stub:
        pool = tmp_path / "pool.json"
        pool.write_text(json.dumps([{"api_key": "none", "api_base": stub.url}]))
        ids = tmp_path / "ids"
        ids.mkdir()
        for suite in SETS:
            keys = json.loads((again / f"{suite}.json").read_text())
            (ids / f"{suite}.json").write_text(json.dumps(dict.fromkeys(keys, 0)))
        judged = tmp_path / "judged" / name
        judged.mkdir(parents=True)
        tool(tooleval, "eval_pass_rate.py", "--converted_answer_path", again.parent, "--save_path", judged,
             "--reference_model", name, "--test_ids", ids, "--max_eval_threads", "2", "--evaluate_times", "1",
             "--test_set", *SETS, pool=pool)  # fmt: skip
        count, theirs_asked = len(stub.requests), set(map(question, stub.requests))
        main(["score", "--episodes", str(searched), "--reward", "final", "--out", str(tmp_path / "scored"),
              "--reward-args", "judge=llm", "model=m", f"base_url={stub.url}", "verdict=tooleval",
              "repeats=1"])  # fmt: skip
    assert any("parse_answer_status" in tools for _, tools in theirs_asked)
    assert theirs_asked <= set(map(question, stub.requests[count:]))
    scored = {(e.task.suite.rpartition("/")[2], e.task.id): e for e in read_recordings(tmp_path / "scored")}
    for suite in SETS:
        for key, verdict in json.loads((judged / f"{suite}_{name}.json").read_text()).items():
            ours_solved = scored[suite, key].metadata["outcome"]["is_solved"]
            assert (verdict["is_solved"]["0"] == "AnswerStatus.Solved") == (ours_solved == 1)


def question(request: dict[str, Any]) -> tuple[str, str]:
    """Prompt and functions. A judge has the path alone, so that our prompt calls each search a chain."""
    prompt = request["messages"][0]["content"].strip().replace("DFS_woFilter_w2", "CoT@1")
    return prompt, json.dumps(request["tools"], sort_keys=True)


def test_tooleval_prefers_the_answers_that_our_win_rate_counts(tooleval: Path, searched: Path, tmp_path: Path) -> None:
    """A model that compares what is written, whatever its place, gives the same winners in both programs."""
    other = tmp_path / "chain"
    main(["evaluate", "--env", "StepTool/StableToolBench-v0", "--env-args", "suite=all", "call_budget=3",
          "observation=toolbench", "--agent", "random", "--seed", "9", "--out", str(other)])  # fmt: skip
    names = {searched: "stabletoolbench-sample_tree_dfs", other: "stabletoolbench-sample_chain_cot"}
    for run in names:
        export("toolbench", run, tmp_path / "out")
    converted, judged = tmp_path / "out" / "model_predictions_converted", tmp_path / "judged"
    ids, suite = tmp_path / "ids", SETS[0]
    ids.mkdir()
    keys = json.loads((converted / names[other] / f"{suite}.json").read_text())
    (ids / f"{suite}.json").write_text(json.dumps(dict.fromkeys(keys, 0)))

    def reply(request: dict[str, Any]) -> dict[str, Any]:
        function = request["tools"][0]["function"]["name"]
        if function == "select_better_answer":
            prompt = request["messages"][0]["content"]
            first, second = (json.loads(text) for text in re.findall(r"Answer_[01]:\n(\{.*\})", prompt))
            return calling(function, index=int(first["final_answer"] < second["final_answer"]), reason="order")
        return calling(function, answer_status="Solved", task_status="Solvable", reason="always")

    with chat_stub(reply) as stub:
        pool = tmp_path / "pool.json"
        pool.write_text(json.dumps([{"api_key": "none", "api_base": stub.url}]))
        for name in names.values():
            (judged / name).mkdir(parents=True)
            tool(tooleval, "eval_pass_rate.py", "--converted_answer_path", converted, "--save_path", judged / name,
                 "--reference_model", name, "--test_ids", ids, "--max_eval_threads", "2", "--evaluate_times", "1",
                 "--test_set", suite, pool=pool)  # fmt: skip
        tool(tooleval, "eval_preference.py", "--converted_answer_path", converted, "--save_path", judged,
             "--reference_model", names[other], "--output_model", names[searched], "--test_ids", ids,
             "--pass_rate_result_path", judged, "--evaluate_times", "1", "--test_set", suite, pool=pool)  # fmt: skip
        main(["score", "--episodes", str(searched), "--against", str(other), "--reward", "final",
              "--out", str(tmp_path / "scored"), "--reward-args", "judge=llm", "model=m", f"base_url={stub.url}",
              "verdict=tooleval", "repeats=1"])  # fmt: skip
    lines = (tmp_path / "scored" / "comparisons.jsonl").read_text().splitlines()
    ours = {(row["suite"].rpartition("/")[2], row["task"]): row["score"] for row in map(json.loads, lines)}
    (file,) = judged.glob(f"{suite}_*.json")
    votes = json.loads(file.read_text())
    decided = {key: score for (name, key), score in ours.items() if name == suite and score != 0.5}
    assert decided
    assert {key: votes[key][names[searched]] for key in decided} == decided


def tool(folder: Path, script: str, *arguments: object, pool: Path | None = None) -> None:
    """Run a script of ToolEval."""
    env = {**os.environ, "API_POOL_FILE": str(pool), "EVAL_MODEL": "m"} if pool else dict(os.environ)
    done = subprocess.run(
        [sys.executable, script, *map(str, arguments)], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("suite", ["x/..", "."])
def test_nothing_is_written_outside_the_folder(suite: str, searched: Path, tmp_path: Path) -> None:
    """Names in the files of a run are data: of a suite, a task and a method."""
    run, out = tmp_path / "run", tmp_path / "in" / "out"
    run.mkdir()
    record = json.loads((searched / "trajectories.jsonl").read_text().splitlines()[0])
    record["task"]["suite"], record["task"]["id"] = suite, "../../up"
    record["metadata"]["search_method"] = "CoT@1/../../../../../outside"
    (run / "trajectories.jsonl").write_text(json.dumps(record) + "\n")
    before = set(tmp_path.rglob("*"))
    export("toolbench", run, out)
    written = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert written
    assert all(path.is_relative_to(out) for path in written)

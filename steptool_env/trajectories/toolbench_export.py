"""Files of ToolBench from trajectories: `<query id>_CoT@n.json` and `<query id>_DFS_woFilter_w<n>.json`.

ToolEval's converter (`convert_to_answer_format.py`) reads them. Nodes and numbers are those that ToolBench's
`single_chain` and `DFS_tree_search` write; the order of the calls, which the files show by `expand_num`, is that of
the search.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from steptool_env.episodes.observations import answer_in
from steptool_env.episodes.prompts import make_prompt
from steptool_env.episodes.records import step_record
from steptool_env.errors import DataError
from steptool_env.formats import make_format
from steptool_env.metrics import calls_of
from steptool_env.trajectories.converted import HALLUCINATED
from steptool_env.types import Step, Trajectory
from toolserver.catalog.api_schema import StatusCode

_OPENAI = make_format("openai")
_DFS = "DFS_woFilter_w"
_METHODS = re.compile(rf"CoT@\d{{1,4}}|{_DFS}\d{{1,4}}")
_UNSAFE = re.compile(r"[^\w.@-]+")


def method_of(trajectory: Trajectory) -> str:
    """Return ToolBench's name of the method: that of a search, `CoT@1` for one episode and for any other text."""
    method = str(trajectory.metadata.get("search_method", ""))
    return method if _METHODS.fullmatch(method) else "CoT@1"


def to_answer(trajectory: Trajectory) -> dict[str, Any]:
    """Return the content of ToolBench's answer file of an episode or a search.

    `train_messages` holds only the whole conversation, which ToolBench's converter reads, and not every prefix.
    """
    calls = trajectory.metadata.get("search_tree") or _as_tree(trajectory.steps)
    answered = bool(trajectory.steps) and trajectory.steps[-1].status is StatusCode.FINAL_ANSWER
    if method_of(trajectory).startswith(_DFS):
        searched = _tree_part(trajectory, calls, answered)
    else:
        searched = _chains_part(trajectory, calls, answered)
    generation = _generation(trajectory, answered, "tree" in searched)
    return {**searched, "query_id": trajectory.task.id, "answer_generation": generation}


def answer_files(trajectories: Iterable[Trajectory]) -> dict[str, Trajectory]:
    """Return the episodes of one query set by the name of their file, `<task id>_<method>.json`.

    Raises:
        DataError: Two episodes have the same name: ToolBench's layout has one file per query.
    """
    files: dict[str, Trajectory] = {}
    for trajectory in trajectories:
        # The converter takes the part before the first underscore as the query's id.
        query = _UNSAFE.sub("-", trajectory.task.id).replace("_", "-")
        name = f"{query}_{method_of(trajectory)}.json"
        if name in files:
            raise DataError(
                f"{name}: is the file of two episodes, of tasks {files[name].task.id!r} and {trajectory.task.id!r}; "
                "ToolBench's layout has one episode per query, so export the others in another layout or run"
            )
        files[name] = trajectory
    return files


def write_answers(folder: str | Path, trajectories: Iterable[Trajectory]) -> list[Path]:
    """Write `answer_files` for ToolBench's converter. Return the files. Raises `DataError` as it does."""
    folder = Path(folder)
    files = answer_files(trajectories)
    folder.mkdir(parents=True, exist_ok=True)
    for name, trajectory in files.items():
        (folder / name).write_text(json.dumps(to_answer(trajectory), indent=2), encoding="utf-8")
    return [folder / name for name in files]


def _generation(trajectory: Trajectory, answered: bool, is_tree: bool) -> dict[str, Any]:
    steps = trajectory.steps
    gave_up = is_tree and bool(steps) and steps[-1].status is StatusCode.GAVE_UP
    start = make_prompt(trajectory.task, _OPENAI, "toolbench")
    return {
        "valid_data": answered or gave_up,
        "query_count": calls_of(trajectory),
        "total_tokens": int(trajectory.metadata.get("tokens", 0)),
        "final_answer": steps[-1].action.arguments if answered or gave_up else "",
        "finish_type": "give_up" if gave_up else "give_answer",
        "function": start.functions,
        "chain": [],
        "train_messages": [[*start.messages, *_messages(steps)]] if answered or gave_up else [],
        "query": trajectory.task.query,
    }


def _chains_part(trajectory: Trajectory, calls: Sequence[Mapping[str, Any]], answered: bool) -> dict[str, Any]:
    """Return the attempts of `single_chain`. A call without parent starts one."""
    chains: list[list[Mapping[str, Any]]] = []
    for call in calls:
        if call["parent"] < 0:
            chains.append([])
        chains[-1].append(call)
    nodes = [_chain_nodes(chain) for chain in chains]
    trys = [{"chain": chain, "win": bool(chain) and chain[-1].get("observation_code") == 3} for chain in nodes]
    deepest = max((len(chain) for chain in nodes), default=0)
    return {
        "win": answered,
        "try_count": len(trys),
        "trys": trys or [{"chain": [], "win": False}],
        "compare_candidates": [nodes[-1]] if answered else [],
        "forward_args": {
            "single_chain_max_step": deepest,
            "pass_at": int(method_of(trajectory).partition("@")[2] or 1),
            "answer": 1,
        },
    }


def _chain_nodes(chain: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    depth, nodes = 0, []
    for call in chain:
        for kind, text in _parts(call):
            depth += 1
            nodes.append(_node(call, depth, kind, text))
    return nodes


def _tree_part(trajectory: Trajectory, calls: Sequence[Mapping[str, Any]], answered: bool) -> dict[str, Any]:
    """Return the tree of `DFS_tree_search`."""
    root = {**_node({}, 0, "Action Input", ""), "io_state": {}, "children": []}
    ends = [root]
    depths = [0]
    paths: list[list[dict[str, Any]]] = [[]]
    for number, call in enumerate(calls, 1):
        parent = call["parent"] + 1
        end, depth, path = ends[parent], depths[parent], list(paths[parent])
        for kind, text in _parts(call):
            depth += 1
            node = _node(call, depth, kind, text)
            path.append(dict(node))
            node["children"] = []
            end["children"].append(node)
            end["child_count"] = len(end["children"])
            end = node
        end["expand_num"] = number
        ends.append(end)
        depths.append(depth)
        paths.append(path)
    found = next((index for index, call in enumerate(calls, 1) if call["status"] == StatusCode.FINAL_ANSWER), 0)
    for index, end in enumerate(ends):
        end["pruned"] = bool(index) and not end["children"] and index != found
    return {
        "win": answered,
        "tree": {"size": 1 + sum(len(_parts(call)) for call in calls), "max_length": 1 + max(depths), "tree": root},
        "forward_args": {
            "single_chain_max_step": max(depths),
            "tree_beam_size": int(method_of(trajectory).removeprefix(_DFS)),
            "max_query_count": len(calls),
            "answer": 1,
            "with_filter": False,
        },
        "compare_candidates": [paths[found]] if answered else [],
    }


def _as_tree(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Return the calls of one episode in the form of `search_tree`."""
    records = (step_record(step) for step in steps)
    return [{"parent": index - 1, **record} for index, record in enumerate(records)]


def _parts(call: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return kind and text of the nodes of a call: the thought, if any, the action and its input."""
    action = call["action"]
    if not action["name"]:
        return [("Thought", action["thought"] or action["text"])]
    thought = [("Thought", action["thought"])] if action["thought"] else []
    return [*thought, ("Action", action["name"]), ("Action Input", action["arguments"])]


def _node(call: Mapping[str, Any], depth: int, kind: str, text: str) -> dict[str, Any]:
    answer = {}
    if call and kind == "Action Input":
        answer = {"observation": answer_in(call["observation"]), "observation_code": call["status"], "io_state": {}}
    return {
        "is_terminal": False,
        "pruned": False,
        "finished": False,
        "depth": depth,
        "node_type": kind,
        "description": text,
        "Elo": 1000.0,
        "child_count": 0 if call and call["status"] in (3, 4) and kind == "Action Input" else 1,
        "expand_num": 0,
        **answer,
    }


def _messages(steps: Sequence[Step]) -> Iterator[dict[str, Any]]:
    for step in steps:
        action = step.action
        if not action.name:
            yield {"role": "assistant", "content": action.thought or action.text}
            continue
        hallucinated = step.status is StatusCode.NO_SUCH_FUNCTION
        name = HALLUCINATED if hallucinated else action.name
        call = {"name": name, "arguments": action.arguments}
        yield {"role": "assistant", "content": action.thought or None, "function_call": call}
        if not step.finished:
            yield {"role": "function", "name": name, "content": answer_in(step.observation)}

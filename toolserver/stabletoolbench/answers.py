"""ToolBench's own answer files (`<query id>_CoT@1.json`, `<query id>_DFS_woFilter_w2.json`): one searched query each.

A search is a chain (CoT) or a tree (DFS) of nodes `Thought`, `Action`, `Action Input`; the observation and
ToolBench's status code lie on the input. The answer is the path to the final answer; a search that found none is
represented by its last attempt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolserver.catalog.api_schema import StatusCode
from toolserver.errors import DataError
from toolserver.stabletoolbench.problems import ImportProblems, read_json


@dataclass(frozen=True, slots=True)
class AnswerStep:
    """One call on the path: what was thought before it, the call, the observation and ToolBench's status code."""

    name: str
    arguments: str
    observation: str
    status: StatusCode
    thought: str = ""


@dataclass(frozen=True, slots=True)
class ToolBenchAnswer:
    """One searched query.

    Attributes:
        query_id: From the file's name.
        method: From the file's name: `CoT@1`, `DFS_woFilter_w2`.
        query: What the user asks.
        functions: The offered functions, as OpenAI's API describes them, `Finish` included.
        steps: The calls on the path.
        final_answer: The arguments of `Finish` as text; empty when there is none.
        finish_type: `give_answer`, `give_up`; empty where the method does not say.
        valid: Whether the search ended with an answer.
        query_count: How often the model was asked, abandoned branches included.
        total_tokens: What the model read and wrote, in tokens.
    """

    query_id: str
    method: str
    query: str
    functions: tuple[dict[str, Any], ...]
    steps: tuple[AnswerStep, ...]
    final_answer: str
    finish_type: str
    valid: bool
    query_count: int
    total_tokens: int


def read_answer(path: str | Path) -> ToolBenchAnswer:
    """Read an answer file.

    Raises:
        DataError: It is none; names the file and the reason.
    """
    path = Path(path)
    content = read_json(path, ImportProblems(strict=True))
    try:
        return _answer(path.stem, content)
    except (DataError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{path}: not a ToolBench answer ({type(error).__name__}: {error!s:.200})") from None


def _answer(name: str, content: dict[str, Any]) -> ToolBenchAnswer:
    query_id, _, method = name.partition("_")
    generation = content["answer_generation"]
    return ToolBenchAnswer(
        query_id=query_id,
        method=method,
        query=str(generation["query"]),
        functions=tuple(generation["function"]),
        steps=tuple(_steps(_path(content))),
        final_answer=str(generation["final_answer"]),
        finish_type=str(generation.get("finish_type", "")),
        valid=bool(generation["valid_data"]),
        query_count=int(generation["query_count"]),
        total_tokens=int(generation["total_tokens"]),
    )


def _path(content: dict[str, Any]) -> list[dict[str, Any]]:
    if "trys" in content:
        return list(content["trys"][-1]["chain"]) if content["trys"] else []
    paths = list(_paths(content["tree"]["tree"]))
    answered = [path for path in paths if path[-1].get("observation_code") == StatusCode.FINAL_ANSWER]
    return (answered or paths)[-1][1:]  # without the root, which is no call


def _paths(root: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """Every path from the root to a leaf, in the order in which the search went."""
    pending = [[root]]
    while pending:
        path = pending.pop()
        children = path[-1].get("children") or []
        if not children:
            yield path
        pending.extend([*path, child] for child in reversed(children))


def _steps(nodes: list[dict[str, Any]]) -> Iterator[AnswerStep]:
    thought = name = ""
    for node in nodes:
        kind, text = node["node_type"], node["description"]
        if kind == "Thought":
            thought = text
        elif kind == "Action":
            name = text
        elif kind == "Action Input":
            yield AnswerStep(name, text, node.get("observation", ""), _status(node), thought)
            thought = name = ""
        else:
            raise DataError(f"unknown node type {kind!r}")


def _status(node: dict[str, Any]) -> StatusCode:
    return StatusCode(node.get("observation_code", StatusCode.OK))

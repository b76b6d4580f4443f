"""Reader of ToolBench's answer files (`<query id>_CoT@1.json`, `<query id>_DFS_woFilter_w2.json`), one query each.

A search is a chain (CoT) or a tree (DFS) of nodes `Thought`, `Action`, `Action Input`; the input holds the
observation and ToolBench's status code. The answer is the path to the final answer,
or the last attempt if the search found none.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolserver.catalog.api_schema import StatusCode
from toolserver.errors import DataError
from toolserver.stabletoolbench.problems import ImportProblems, read_json


@dataclass(frozen=True, slots=True)
class AnswerStep:
    """One call on the path, with the thought before it, the observation and ToolBench's status code."""

    name: str
    arguments: str
    observation: str
    status: StatusCode
    thought: str = ""


@dataclass(frozen=True, slots=True)
class ToolBenchAnswer:
    """One searched query.

    Attributes:
        query_id: Id in the file's name.
        method: Method in the file's name: `CoT@1`, `DFS_woFilter_w2`.
        query: Text of the query.
        functions: Functions of the model in the format of OpenAI's API, including `Finish`.
        steps: The calls on the path.
        final_answer: Arguments of `Finish` as text; empty without `Finish`.
        valid: True if the search ended with an answer.
    """

    query_id: str
    method: str
    query: str
    functions: tuple[dict[str, Any], ...]
    steps: tuple[AnswerStep, ...]
    final_answer: str
    valid: bool


def read_answer(path: str | Path) -> ToolBenchAnswer:
    """Read an answer file. Raises `DataError`, which names file and reason, if it is not an answer."""
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
        valid=bool(generation["valid_data"]),
    )


def _path(content: dict[str, Any]) -> list[dict[str, Any]]:
    if "trys" in content:
        return list(content["trys"][-1]["chain"]) if content["trys"] else []
    paths = list(_paths(content["tree"]["tree"]))
    answered = [path for path in paths if path[-1].get("observation_code") == StatusCode.FINAL_ANSWER]
    return (answered or paths)[-1][1:]  # without the root, which is not a call


def _paths(root: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """Iterate over the paths from the root to a leaf, in the order of the search."""
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
            status = StatusCode(node.get("observation_code", StatusCode.OK))
            yield AnswerStep(name, text, node.get("observation", ""), status, thought)
            thought = name = ""
        else:
            raise DataError(f"unknown node type {kind!r}")

"""Reader of ToolBench's answer files (`<query id>_CoT@1.json`, `<query id>_DFS_woFilter_w2.json`), one query each.

A search is several chains (CoT) or a tree (DFS) of nodes `Thought`, `Action`, `Action Input`; the input holds the
observation and ToolBench's status code. The answer is the path to the final answer; if the search found none, the
first path that gave up with the arguments that the file names; else the last attempt.

`read_converted` reads what ToolEval's converter makes of such files: one file per query set, with one path per query.
"""

import json
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from toolserver.catalog.api_schema import StatusCode
from toolserver.catalog.outcomes import outcome_of_error
from toolserver.errors import DataError
from toolserver.stabletoolbench.literals import read_dict
from toolserver.stabletoolbench.problems import ImportProblems, read_json

_ERROR = re.compile(r'\{"error": ("(?:[^"\\]|\\.)*")')


@dataclass(frozen=True, slots=True)
class AnswerStep:
    """One call on the path, with the thought before it, the observation and ToolBench's status code.

    A message of the model without a call has an empty name and its text as thought.
    """

    name: str
    arguments: str
    observation: str
    status: StatusCode
    thought: str = ""


class SearchedCall(NamedTuple):
    """One call of a search and the number of the call before it on its path, -1 at the start."""

    parent: int
    step: AnswerStep


@dataclass(frozen=True, slots=True)
class ToolBenchAnswer:
    """One searched query.

    Attributes:
        query_id: Id in the file's name, unless the file has a field `query_id`, as files of this project have.
        method: Method in the file's name: `CoT@1`, `DFS_woFilter_w2`; of a converted file, as it says.
        query: Text of the query.
        functions: Functions of the model in the format of OpenAI's API, including `Finish`.
        steps: The calls on the path.
        final_answer: Arguments of `Finish` as text; empty without `Finish`.
        valid: True if the search ended with an answer.
        calls: All calls of the search, in the order in which they were made.
        query_count: Number of requests to the model, as the file counts them.
        total_tokens: Number of tokens of those requests, as the file counts them.
    """

    query_id: str
    method: str
    query: str
    functions: tuple[dict[str, Any], ...]
    steps: tuple[AnswerStep, ...]
    final_answer: str
    valid: bool
    calls: tuple[SearchedCall, ...] = ()
    query_count: int = 0
    total_tokens: int = 0


def read_answer(path: str | Path) -> ToolBenchAnswer:
    """Read an answer file. Raises `DataError`, which names file and reason, if it is not an answer."""
    path = Path(path)
    return answer_of(path, read_json(path, ImportProblems(strict=True)))


def answer_of(path: Path, content: Any) -> ToolBenchAnswer:
    """Return the answer in the content of the file `path`. Raises `DataError` as `read_answer` does."""
    try:
        return _answer(path.stem, content)
    except _WRONG as error:
        raise DataError(f"{path}: not a ToolBench answer ({type(error).__name__}: {error!s:.200})") from None


def is_answer(content: Any) -> bool:
    """Return True if the content of a file is an answer of ToolBench."""
    return isinstance(content, dict) and "answer_generation" in content


def is_converted(content: Any) -> bool:
    """Return True if the content of a file is ToolEval's: an object from query id to `{"query", ..., "answer"}`."""
    if not (isinstance(content, dict) and content):
        return False
    first = next(iter(content.values()))
    return isinstance(first, dict) and isinstance(first.get("answer"), dict) and "answer_details" in first["answer"]


def converted_answers(path: Path, content: Mapping[str, Any]) -> list[ToolBenchAnswer]:
    """Return the answers in the content of a converted file. Raises `DataError`, which names file and query."""
    answers = []
    for query_id, item in content.items():
        try:
            answers.append(_converted(query_id, item))
        except _WRONG as error:
            reason = f"{type(error).__name__}: {error!s:.200}"
            raise DataError(f"{path}: query {query_id!r:.40}: not a converted answer ({reason})") from None
    return answers


_WRONG = (DataError, LookupError, TypeError, AttributeError, ValueError)


def _converted(query_id: str, item: Mapping[str, Any]) -> ToolBenchAnswer:
    answer = item["answer"]
    final = str(answer["final_answer"])
    steps = tuple(_converted_steps(answer["answer_details"], alone=bool(final)))
    return ToolBenchAnswer(
        query_id=query_id,
        method=str(answer.get("method", "")),
        query=str(item["query"]),
        functions=tuple(item["available_tools"]),
        steps=steps,
        final_answer=final,
        valid=bool(steps) and steps[-1].status is StatusCode.FINAL_ANSWER,
    )


def _converted_steps(nodes: Sequence[Mapping[str, Any]], *, alone: bool) -> Iterator[AnswerStep]:
    """Iterate over the calls on the path of a converted answer, whose nodes have at most one successor.

    On a path to an answer the converter leaves out the thoughts of calls, so that a thought there was written `alone`.
    """
    thought = ""
    while nodes:
        node = nodes[0]
        if node["role"] == "assistant" and alone:
            yield _message(str(node["message"]))
        elif node["role"] == "assistant":
            thought = str(node["message"])
        elif node["role"] == "tool":
            call = node["message"] if isinstance(node["message"], dict) else read_dict(node["message"])
            name, arguments, response = (str(call[key]) for key in ("name", "arguments", "response"))
            yield AnswerStep(name, arguments, response, _status(name, arguments, response), thought)
            thought = ""
        nodes = node["next"]


def _status(name: str, arguments: str, response: str) -> StatusCode:
    """Return ToolBench's status code, which converted files lack, by the text that ToolBench gives with it."""
    if name == "Finish":
        for mark, status in (("give_answer", StatusCode.FINAL_ANSWER), ("give_up", StatusCode.GAVE_UP)):
            if mark in arguments:
                return status
        return StatusCode.BAD_INPUT
    if response.startswith('{"error": "No such function name'):
        return StatusCode.NO_SUCH_FUNCTION
    found = _ERROR.match(response)
    return outcome_of_error(json.loads(found[1], strict=False) if found else "").status_code


def _answer(name: str, content: dict[str, Any]) -> ToolBenchAnswer:
    query_id, _, method = name.partition("_")
    generation = content["answer_generation"]
    alone = _spoken_alone(generation)
    return ToolBenchAnswer(
        query_id=str(content.get("query_id", query_id)),
        method=method,
        query=str(generation["query"]),
        functions=tuple(generation["function"]),
        steps=tuple(_steps(_path(content), alone)),
        final_answer=str(generation["final_answer"]),
        valid=bool(generation["valid_data"]) and generation.get("finish_type") != "give_up",
        calls=tuple(_calls(content, alone)),
        query_count=int(generation.get("query_count", 0)),
        total_tokens=int(generation.get("total_tokens", 0)),
    )


def _spoken_alone(generation: Mapping[str, Any]) -> frozenset[str]:
    """Return the texts of the model's messages without a call on the path to the answer.

    ToolBench writes a call as `function_call`, StableToolBench's later versions as `tool_calls`.
    """
    conversations = generation.get("train_messages") or [[]]
    return frozenset(
        str(message["content"])
        for message in conversations[-1]
        if message["role"] == "assistant" and not (message.get("function_call") or message.get("tool_calls"))
    )


def _calls(content: Mapping[str, Any], alone: Container[str]) -> Iterator[SearchedCall]:
    """Iterate over all calls of a search: DFS makes them in the pre-order of its tree."""
    if "trys" in content:
        count = 0
        for attempt in content["trys"]:
            parent = -1
            for step in _steps(attempt["chain"], alone):
                yield SearchedCall(parent, step)
                parent, count = count, count + 1
        return
    count = 0
    pending = [(child, -1, "", "") for child in reversed(content["tree"]["tree"].get("children") or [])]
    while pending:
        node, parent, thought, name = pending.pop()
        kind, text = node["node_type"], node["description"]
        if kind == "Thought" and node.get("expand_num"):
            yield SearchedCall(parent, _message(text))
            parent, count = count, count + 1
        elif kind == "Thought":
            thought = text
        elif kind == "Action":
            name = text
        else:
            (step,) = _steps([{"node_type": "Action", "description": name}, node], ())
            yield SearchedCall(parent, replace(step, thought=thought))
            parent, count, thought, name = count, count + 1, "", ""
        pending += [(child, parent, thought, name) for child in reversed(node.get("children") or [])]


def _path(content: dict[str, Any]) -> list[dict[str, Any]]:
    if "trys" in content:
        return list(content["trys"][-1]["chain"]) if content["trys"] else []
    paths = list(_paths(content["tree"]["tree"]))
    answered = [path for path in paths if path[-1].get("observation_code") == StatusCode.FINAL_ANSWER]
    final = content["answer_generation"]["final_answer"]  # of a search that gave up, the arguments of one that did
    gave_up = [path for path in paths if path[-1].get("observation_code") == StatusCode.GAVE_UP]
    named = [path for path in gave_up if path[-1]["description"] == final]
    return (answered[-1:] or named[:1] or paths[-1:])[0][1:]  # without the root, which is not a call


def _paths(root: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """Iterate over the paths from the root to a leaf, in the order of the search."""
    pending = [[root]]
    while pending:
        path = pending.pop()
        children = path[-1].get("children") or []
        if not children:
            yield path
        pending.extend([*path, child] for child in reversed(children))


def _steps(nodes: list[dict[str, Any]], alone: Container[str]) -> Iterator[AnswerStep]:
    """Iterate over the calls on a path.

    A thought that the model wrote without a call is a step without a name. DFS numbers (`expand_num`) the nodes at
    which it asked the model, so such a thought has a number, and one that came with a call has 0; CoT numbers none, and
    the messages of an answer tell (`alone`).
    """
    thought = name = ""
    for node in nodes:
        kind, text = node["node_type"], node["description"]
        if kind == "Thought" and (node.get("expand_num") or text in alone):
            yield _message(text)
        elif kind == "Thought":
            thought = text
        elif kind == "Action":
            name = text
        elif kind == "Action Input":
            status = StatusCode(node.get("observation_code", StatusCode.OK))
            yield AnswerStep(name, text, node.get("observation", ""), status, thought)
            thought = name = ""
        else:
            raise DataError(f"unknown node type {kind!r}")


def _message(text: str) -> AnswerStep:
    """Return the step of a message without a call."""
    return AnswerStep("", "", "", StatusCode.BAD_INPUT, text)

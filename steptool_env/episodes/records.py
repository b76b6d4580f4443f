"""Conversion of steps, tasks and trajectories to JSON objects and back."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from steptool_env.errors import DataError
from steptool_env.types import Action, Step, Task, Trajectory, Turn
from toolserver.catalog.api_schema import ApiSpec, FunctionSpec, Parameter, Provenance, StatusCode

JsonObject = dict[str, Any]


def encode(record: JsonObject) -> bytes:
    """Return one line of UTF-8 JSON. Lone surrogates are escaped, and pairs of them written as their character."""
    try:
        return json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        record = json.loads(json.dumps(record))  # joins the pairs, which a reader of the escapes would join
    try:
        return json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(record).encode()


def trajectory_record(trajectory: Trajectory) -> JsonObject:
    """Return a trajectory as a JSON object, without the task's `solution`, which the suite finds by the task's id."""
    return {
        "task": task_record(trajectory.task),
        "steps": [step_record(step) for step in trajectory.steps],
        "rewards": [_number(reward) for reward in trajectory.rewards],
        "terminated": bool(trajectory.terminated),
        "truncated": bool(trajectory.truncated),
        "metadata": dict(trajectory.metadata),
    }


def read_trajectory(record: Mapping[str, Any]) -> Trajectory:
    """Return the trajectory of a record.

    Raises:
        DataError: The record is invalid; the message names the error.
    """
    try:
        _check_metadata(record["metadata"])
        return Trajectory(
            read_task(record["task"]),
            tuple(read_step(step) for step in record["steps"]),
            tuple(map(_number, record["rewards"])),
            bool(record["terminated"]),
            bool(record["truncated"]),
            dict(record["metadata"]),
        )
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise DataError(f"not a trajectory ({type(error).__name__}: {error})") from error


_COUNTS = ("call_budget", "search_calls", "search_invalid_calls", "tokens")


def _check_metadata(metadata: Mapping[str, Any]) -> None:
    """Raise `TypeError` and the like where metadata that metrics and exports read are of another form."""
    for name, value in metadata.get("outcome", {}).items():
        if name == "progress":
            _number(value)
        elif name.startswith("is_solved") and not 0 <= _number(value) <= 1:
            raise ValueError(f"{name} must be from 0 to 1, not {value!r:.60}")
    for name in _COUNTS:
        if type(value := metadata.get(name, 0)) is not int or value < 0:
            raise ValueError(f"{name} must be a number of at least 0, not {value!r:.60}")
    for number, call in enumerate(metadata.get("search_tree", ())):
        for name in _ACTION_FIELDS:
            _text(call["action"], name)
        _text(call, "observation")
        StatusCode(call["status"])
        if type(parent := call["parent"]) is not int or not -1 <= parent < number:
            raise ValueError(
                f"search_tree: call {number} must have a call before it or -1 as parent, not {parent!r:.60}"
            )


_ACTION_FIELDS = ("text", "name", "arguments", "thought", "error")


def step_record(step: Step) -> JsonObject:
    """Return a step as a JSON object, with the action as text and as its parsed parts."""
    return {
        "action": {name: getattr(step.action, name) for name in _ACTION_FIELDS},
        "observation": step.observation,
        "status": int(step.status),
        "body": step.body,
        "provenance": step.provenance.value if step.provenance else None,
        "reward": _number(step.reward),
        "reward_terms": {name: _number(term) for name, term in step.reward_terms.items()},
    }


def read_step(record: Mapping[str, Any]) -> Step:
    """Return the step of a record. Raises `KeyError`, `TypeError` and the like for an invalid record."""
    text, name, arguments, thought, error = (_text(record["action"], each) for each in _ACTION_FIELDS)
    provenance = record["provenance"]
    return Step(
        Action(text, name, arguments, thought, error),
        _text(record, "observation"),
        StatusCode(record["status"]),
        _text(record, "body"),
        Provenance(provenance) if provenance else None,
        _number(record["reward"]),
        {str(name): _number(term) for name, term in record["reward_terms"].items()},
    )


def task_record(task: Task) -> JsonObject:
    """Return a task as a JSON object, without `solution` and without the response templates of its tools."""
    record = {
        "id": task.id,
        "suite": task.suite,
        "query": task.query,
        "tools": [_tool_record(spec) for spec in task.tools],
        "relevant": list(task.relevant),
        "state": task.state,
        "family": task.family,
    }
    turns = [{"message": turn.message, "tools": [_tool_record(spec) for spec in turn.tools]} for turn in task.turns]
    return {**record, "turns": turns} if turns else record


def read_task(record: Mapping[str, Any]) -> Task:
    """Return the task of a record. Raises `KeyError`, `TypeError` and the like for an invalid record."""
    return Task(
        _text(record, "id"),
        _text(record, "suite"),
        _text(record, "query"),
        tuple(_read_tool(tool) for tool in record["tools"]),
        tuple(record["relevant"]),
        _text(record, "state"),
        _text(record, "family") if "family" in record else "",  # files of earlier versions have none
        turns=tuple(
            Turn(_text(turn, "message"), tuple(_read_tool(tool) for tool in turn["tools"]))
            for turn in record.get("turns", ())
        ),
    )


def _number(value: Any) -> float:
    """Return `value` as a number that has the same text when it is read again: integers stay integers."""
    number = float(value)
    return value if type(value) is int else number


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, not {value!r:.60}")
    return value


def _tool_record(spec: ApiSpec) -> JsonObject:
    record = {
        "category": spec.category,
        "tool": spec.tool,
        "name": spec.name,
        "description": spec.description,
        "required": [asdict(parameter) for parameter in spec.required],
        "optional": [asdict(parameter) for parameter in spec.optional],
        "method": spec.method,
        "tool_description": spec.tool_description,
    }
    return {**record, "function": spec.function} if isinstance(spec, FunctionSpec) else record


def _read_tool(record: Mapping[str, Any]) -> ApiSpec:
    kind: Callable[..., ApiSpec] = ApiSpec
    if "function" in record:
        _text(record["function"], "name")
        kind = partial(FunctionSpec, function=record["function"])
    return kind(
        _text(record, "category"),
        _text(record, "tool"),
        _text(record, "name"),
        _text(record, "description"),
        tuple(map(_read_parameter, record["required"])),
        tuple(map(_read_parameter, record["optional"])),
        _text(record, "method"),
        tool_description=_text(record, "tool_description"),
    )


def _read_parameter(record: Mapping[str, Any]) -> Parameter:
    for name in record.keys() - {"default"}:
        _text(record, name)
    return Parameter(**record)

"""Steps, tasks and trajectories as JSON objects, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from steptool_env.types import Action, Step, Task, Trajectory
from toolserver.schemas import ApiSpec, Parameter, Provenance, StatusCode

Record = dict[str, Any]


def encode(record: Record) -> bytes:
    """One line of UTF-8 JSON. Text that UTF-8 cannot hold (lone surrogates) is escaped."""
    try:
        return json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(record).encode()


def trajectory_record(trajectory: Trajectory) -> Record:
    """A trajectory as a JSON object. The task's gold is left out: its suite has it under the task's id."""
    return {
        "task": task_record(trajectory.task),
        "steps": [step_record(step) for step in trajectory.steps],
        "rewards": list(trajectory.rewards),
        "terminated": trajectory.terminated,
        "truncated": trajectory.truncated,
        "metadata": dict(trajectory.metadata),
    }


def read_trajectory(record: Mapping[str, Any]) -> Trajectory:
    """The trajectory of a record. Raises `KeyError`, `TypeError` or `ValueError` when it is none."""
    return Trajectory(
        read_task(record["task"]),
        tuple(read_step(step) for step in record["steps"]),
        tuple(float(reward) for reward in record["rewards"]),
        bool(record["terminated"]),
        bool(record["truncated"]),
        dict(record["metadata"]),
    )


def step_record(step: Step) -> Record:
    """A step as a JSON object. The text of the action is kept; its parts are kept so that nothing parses it again."""
    return {
        "action": asdict(step.action),
        "observation": step.observation,
        "status": int(step.status),
        "body": step.body,
        "provenance": step.provenance.value if step.provenance else None,
        "reward": step.reward,
        "reward_terms": dict(step.reward_terms),
    }


def read_step(record: Mapping[str, Any]) -> Step:
    """The step of a record. Raises as `read_trajectory` does."""
    provenance = record["provenance"]
    return Step(
        Action(**record["action"]),
        record["observation"],
        StatusCode(record["status"]),
        record["body"],
        Provenance(provenance) if provenance else None,
        float(record["reward"]),
        dict(record["reward_terms"]),
    )


def task_record(task: Task) -> Record:
    """A task as a JSON object, without its gold and without the templates of its tools' responses."""
    return {
        "id": task.id,
        "suite": task.suite,
        "query": task.query,
        "tools": [_tool_record(spec) for spec in task.tools],
        "relevant": list(task.relevant),
        "state": task.state,
    }


def read_task(record: Mapping[str, Any]) -> Task:
    """The task of a record. Raises as `read_trajectory` does."""
    return Task(
        record["id"],
        record["suite"],
        record["query"],
        tuple(_read_tool(tool) for tool in record["tools"]),
        tuple(record["relevant"]),
        record["state"],
    )


def _tool_record(spec: ApiSpec) -> Record:
    return {
        "category": spec.category,
        "tool": spec.tool,
        "name": spec.name,
        "description": spec.description,
        "required": [asdict(parameter) for parameter in spec.required],
        "optional": [asdict(parameter) for parameter in spec.optional],
        "method": spec.method,
        "tool_description": spec.tool_description,
    }


def _read_tool(record: Mapping[str, Any]) -> ApiSpec:
    return ApiSpec(
        record["category"],
        record["tool"],
        record["name"],
        record["description"],
        tuple(Parameter(**parameter) for parameter in record["required"]),
        tuple(Parameter(**parameter) for parameter in record["optional"]),
        record["method"],
        tool_description=record["tool_description"],
    )

"""Answers in the form that ToolEval's converter gives them, and that its evaluators read."""

from collections.abc import Iterable, Sequence
from typing import Any

from steptool_env.episodes.finish import FINISH_FUNCTION
from steptool_env.episodes.observations import answer_in
from steptool_env.types import FINISH, FINISHED, Step, Trajectory
from toolserver.catalog.api_schema import StatusCode
from toolserver.catalog.views import openai_function

HALLUCINATED = "invalid_hallucination_function_name"
"""Name that ToolBench writes for a function that is not offered."""

_FIRST = 2  # nodes before the steps: system and user


def converted_answer(steps: Sequence[Step], method: str = "CoT@1") -> dict[str, Any]:
    """Return the field `answer`: the path as a chain of nodes, each with the next one.

    As the converter does, it leaves out the thoughts of calls on a path to an answer, which it reads from messages, and
    keeps those of other paths, which it reads from nodes.
    """
    ended = {StatusCode.FINAL_ANSWER} if method.startswith("CoT") else FINISHED  # as the converter reads the files
    answered = bool(steps) and steps[-1].status in ended
    nodes = list(_nodes(steps, with_thoughts=not answered))
    details: list[dict[str, Any]] = []
    for node in reversed(nodes):
        details = [{**node, "next": details}]
    for role in ("user", "system"):
        details = [{"role": role, "message": "", "next": details}]
    return {
        "method": method,
        "total_steps": _FIRST + len(nodes),
        "final_answer": steps[-1].action.arguments if answered else "",
        "answer_details": details,
    }


def converted(trajectory: Trajectory) -> dict[str, Any]:
    """Return the entry of one query in a converted file."""
    method = str(trajectory.metadata.get("search_method", "CoT@1"))
    return {
        "query": trajectory.task.query,
        "available_tools": [*map(openai_function, trajectory.task.tools), FINISH_FUNCTION],
        "answer": converted_answer(trajectory.steps, method),
    }


def converted_sets(trajectories: Iterable[Trajectory]) -> dict[str, dict[str, Any]]:
    """Return the content of the converted files by query set: an object from query id to its entry."""
    sets: dict[str, dict[str, Any]] = {}
    for trajectory in trajectories:
        sets.setdefault(trajectory.task.suite, {})[trajectory.task.id] = converted(trajectory)
    return sets


def _nodes(steps: Sequence[Step], *, with_thoughts: bool) -> Iterable[dict[str, Any]]:
    for step in steps:
        action = step.action
        if not action.name or (with_thoughts and action.thought):
            yield {"role": "assistant", "message": action.thought or action.text}
        if action.name:
            name = HALLUCINATED if step.status is StatusCode.NO_SUCH_FUNCTION else action.name
            response = "" if action.name == FINISH else answer_in(step.observation)
            yield {
                "role": "tool",
                "message": {"name": name, "arguments": action.arguments, "response": response},
            }

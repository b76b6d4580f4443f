"""Conversion of the files of ToolBench and StableToolBench to trajectories."""

import json
import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from steptool_env.episodes.finish import read_finish
from steptool_env.episodes.records import step_record
from steptool_env.formats import make_format
from steptool_env.types import FINISH, Action, Step, Task, Trajectory
from toolserver.catalog.api_schema import Provenance, StatusCode
from toolserver.catalog.outcomes import outcome_of_error
from toolserver.stabletoolbench import JudgedEpisode, ToolBenchAnswer
from toolserver.stabletoolbench.answers import AnswerStep

_REACT = make_format("react")
_ERROR = re.compile(r'\{"error": ("(?:[^"\\]|\\.)*")')
_NO_SUCH_FUNCTION = '{"error": "No such function name'
_VERDICTS = {"Solved": 1.0, "Unsure": 0.5, "Unsolved": 0.0}


def from_judged(episode: JudgedEpisode, task: Task) -> Trajectory:
    """Return a published episode of a judged run, with its judgements as outcome.

    `task` holds the episode's query. Actions have the `react` format, without thoughts, which are not published. Steps
    have no rewards.
    """
    steps = [
        _step(step.name, step.arguments, step.response, _status(step.name, step.arguments, step.response))
        for step in episode.steps
    ]
    return _trajectory(task, steps, {"source": "judged run", "outcome": _outcome(episode.judgements)})


def from_answer(answer: ToolBenchAnswer, task: Task) -> Trajectory:
    """Return the path to the final answer in a ToolBench answer file, original or converted. Steps have no rewards.

    The metadata has the other calls of the search, as those of `steptool_env.search` have.
    """
    steps = [_answer_step(step) for step in answer.steps]
    metadata: dict[str, Any] = {"source": "ToolBench answer", "method": answer.method, "format": _REACT.name}
    if answer.total_tokens:
        metadata["tokens"] = answer.total_tokens
    if len(answer.calls) > len(steps):
        records = [(call.parent, step_record(_answer_step(call.step))) for call in answer.calls]
        metadata |= {
            "search_method": answer.method,
            "search_calls": len(records),
            "search_invalid_calls": sum(_answer_step(call.step).malformed for call in answer.calls),
            "search_tree": [
                {"parent": parent, **{name: record[name] for name in ("action", "observation", "status")}}
                for parent, record in records
            ],
        }
    return _trajectory(task, steps, metadata)


def _trajectory(task: Task, steps: Sequence[Step], metadata: Mapping[str, Any]) -> Trajectory:
    terminated = bool(steps) and steps[-1].finished
    return Trajectory(task, tuple(steps), (0.0,) * len(steps), terminated, not terminated, metadata)


def _answer_step(step: AnswerStep) -> Step:
    if not step.name:
        action = Action(f"Thought: {step.thought}", thought=step.thought, error="the message has no call")
        return Step(action, step.observation, step.status)
    return _step(step.name, step.arguments, step.observation, step.status, step.thought)


def _step(name: str, arguments: str, response: str, status: StatusCode, thought: str = "") -> Step:
    action = Action(_REACT.render(name, arguments, thought), name, arguments, thought)
    if name == FINISH or response.startswith(_NO_SUCH_FUNCTION):
        return Step(action, response, status)
    return Step(action, response, status, response, Provenance.RECORDED)


def _status(name: str, arguments: str, response: str) -> StatusCode:
    """Return ToolBench's status code, derived because judged runs lack it."""
    if name == FINISH:
        return read_finish(arguments).status
    if response.startswith(_NO_SUCH_FUNCTION):
        return StatusCode.NO_SUCH_FUNCTION
    found = _ERROR.match(response)
    return outcome_of_error(json.loads(found[1], strict=False) if found else "").status_code


def _outcome(judgements: Sequence[str]) -> dict[str, float]:
    verdicts = [_VERDICTS[judgement] for judgement in judgements]
    repeats = {f"is_solved_{number}": verdict for number, verdict in enumerate(verdicts)}
    return {"is_solved": fmean(verdicts) if verdicts else 0.0, **repeats}

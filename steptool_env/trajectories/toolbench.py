"""Conversion of trajectories from and to the files of ToolBench and StableToolBench."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from steptool_env.episodes.finish import read_finish
from steptool_env.episodes.observations import answer_in
from steptool_env.episodes.prompts import make_prompt
from steptool_env.formats import make_format
from steptool_env.types import FINISH, Action, Step, Task, Trajectory
from toolserver.catalog.api_schema import Provenance, StatusCode
from toolserver.catalog.outcomes import outcome_of_error
from toolserver.stabletoolbench import JudgedEpisode, ToolBenchAnswer

_REACT = make_format("react")
_OPENAI = make_format("openai")
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
    """Return the path to the final answer in a ToolBench answer file. Steps have no rewards."""
    steps = [_step(step.name, step.arguments, step.observation, step.status, step.thought) for step in answer.steps]
    return _trajectory(task, steps, {"source": "ToolBench answer", "method": answer.method})


def to_answer(trajectory: Trajectory) -> dict[str, Any]:
    """Return the content of ToolBench's answer file `<query id>_CoT@1.json`, as its `single_chain` writes it.

    `train_messages` holds only the whole conversation, which ToolBench's converter reads, and not every prefix.
    """
    steps = trajectory.steps
    answered = bool(steps) and steps[-1].status is StatusCode.FINAL_ANSWER
    chain = list(_nodes(steps))
    start = make_prompt(trajectory.task, _OPENAI, "toolbench")
    return {
        "win": answered,
        "try_count": 1,
        "trys": [{"chain": chain, "win": answered}],
        "compare_candidates": [chain] if answered else [],
        "forward_args": {"single_chain_max_step": len(chain), "pass_at": 1, "answer": 1},
        "answer_generation": {
            "valid_data": answered,
            "final_answer": steps[-1].action.arguments if answered else "",
            "function": start.functions,
            "query_count": len(steps),
            "total_tokens": 0,
            "train_messages": [[*start.messages, *_messages(steps)]] if answered else [],
            "chain": [],
            "query": trajectory.task.query,
        },
    }


def write_answers(folder: str | Path, trajectories: Iterable[Trajectory]) -> None:
    """Write `<task id>_CoT@1.json` for every trajectory, for ToolBench's converter."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for trajectory in trajectories:
        (folder / f"{trajectory.task.id}_CoT@1.json").write_text(json.dumps(to_answer(trajectory), indent=2))


def _trajectory(task: Task, steps: Sequence[Step], metadata: Mapping[str, Any]) -> Trajectory:
    terminated = bool(steps) and steps[-1].finished
    return Trajectory(task, tuple(steps), (0.0,) * len(steps), terminated, not terminated, metadata)


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


def _nodes(steps: Sequence[Step]) -> Iterator[dict[str, Any]]:
    """Yield the nodes of the chain: the thought, if any, the action and its input of each step."""
    depth = 0
    for step in steps:
        parts = [("Thought", step.action.thought)] if step.action.thought else []
        for kind, text in (*parts, ("Action", step.action.name), ("Action Input", step.action.arguments)):
            depth += 1
            last = kind == "Action Input"
            shown = {"observation": answer_in(step.observation), "observation_code": int(step.status)} if last else {}
            yield {**_node(depth, kind, text), **shown, **({"io_state": {}} if last else {})}


def _node(depth: int, kind: str, text: str) -> dict[str, Any]:
    return {
        "is_terminal": False,
        "pruned": False,
        "finished": False,
        "depth": depth,
        "node_type": kind,
        "description": text,
        "Elo": 1000.0,
        "child_count": 1,
        "expand_num": 0,
    }


def _messages(steps: Sequence[Step]) -> Iterator[dict[str, Any]]:
    for step in steps:
        action = step.action
        if action.thought:
            yield {"role": "assistant", "content": action.thought}
        yield {"role": "assistant", "function_call": {"name": action.name, "arguments": action.arguments}}
        if not step.finished:
            yield {"role": "function", "name": action.name, "content": answer_in(step.observation)}

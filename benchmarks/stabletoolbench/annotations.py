"""Reader of StepTool's published step annotations: `reward_annotation_*.json` and `step_grained_for_ppo_*.csv`."""

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from steptool_env.episodes.finish import read_finish
from steptool_env.errors import DataError
from steptool_env.types import Action, Step
from toolserver.catalog.api_schema import StatusCode
from toolserver.catalog.outcomes import outcome_of_error
from toolserver.stabletoolbench.literals import read_literal

_QUERY = re.compile(r"(?:user\n\n|User:\n|user<\|end_header_id\|>\n\n)(.*?)\nBegin!", re.DOTALL)
_CHAT_MARKS = re.compile(r"<\|[^|]*\|>(?:function|assistant|user)?|^Function:\n|\nAssistant:\n?\Z|\nassistant\n?\Z")
_ACTION = re.compile(r"Action:\s*(\S+)\s*Action Input:(.*)", re.DOTALL)
_STEP = re.compile(r"^(?:Step \d+|Final step): ")
_ERROR = re.compile(r'\{"error": "((?:[^"\\]|\\.)*)')
_FIELD_LIMIT = 1 << 27  # characters of a CSV cell


@dataclass(frozen=True)
class Annotated:
    """One annotated episode.

    Attributes:
        source: Model of the file.
        query: Query of the user.
        steps: All steps, including the last.
        rewards: Published reward of every step, mean over three repeats. Shape: (steps,).
        repeats: Rewards of the tool calls per repeat, where published. Shape: (repeats, steps - 1).
    """

    source: str
    query: str
    steps: tuple[Step, ...]
    rewards: tuple[float, ...]
    repeats: tuple[tuple[float, ...], ...] = ()


def read_annotations(folder: Path) -> list[Annotated]:
    """Return the episodes with annotations per repeat and term (`reward_annotation_*.json`)."""
    files = sorted(folder.glob("reward_annotation_*.json"))
    if not files:
        raise DataError(f"{folder}: holds no reward_annotation_*.json")
    return [
        _annotation(file.stem.removeprefix("reward_annotation_"), item)
        for file in files
        for item in json.loads(file.read_bytes()).values()
    ]


def read_training_rows(folder: Path) -> list[Annotated]:
    """Return the episodes of the training files (`step_grained_for_ppo_*.csv`), with one reward per step."""
    csv.field_size_limit(_FIELD_LIMIT)
    return [episode for file in sorted(folder.glob("step_grained_for_ppo_*.csv")) for episode in _rows(file)]


def _annotation(source: str, item: dict[str, Any]) -> Annotated:
    texts = [*item["answer_steps"], item["final_step"]]
    steps = tuple(_judged_step(read_literal(_STEP.sub("", text))) for text in texts)
    repeats = tuple(
        tuple((s + c / 5) / 2 for s, c in zip(r["succeed_tool_calling"], r["contributions"], strict=True))
        for r in item["process_reward"].values()
    )
    solved = fmean(
        {"Solved": 1.0, "Unsure": 0.5, "Unsolved": 0.0}[v.split(".")[-1]] for v in item["is_solved"].values()
    )
    means = (fmean(column) for column in zip(*repeats, strict=True))
    return Annotated(source, item["query"], steps, (*means, solved), repeats)


def _rows(file: Path) -> Iterator[Annotated]:
    source = file.stem.removeprefix("step_grained_for_ppo_")
    with file.open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle, delimiter="\t"):
            prompts, actions, rewards = (read_literal(row[name]) for name in ("prompt", "response", "reward"))
            found = _QUERY.search(prompts[0])
            bodies = [_CHAT_MARKS.sub("", prompt).strip() for prompt in prompts[1:]] + [""]
            steps = tuple(_written_step(text, body) for text, body in zip(actions, bodies, strict=True))
            yield Annotated(source, found[1] if found else "", steps, tuple(rewards))


def _written_step(text: str, body: str) -> Step:
    called = _ACTION.search(_CHAT_MARKS.sub("", text))
    name, arguments = (called[1], called[2].strip()) if called else ("", "")
    return _judged_step({"name": name, "arguments": arguments, "response": body})


def _judged_step(fields: dict[str, str]) -> Step:
    name, arguments, body = fields["name"], fields["arguments"], fields["response"]
    if name == "Finish":
        return Step(Action("", name, arguments), body, read_finish(arguments).status)
    error = _ERROR.match(body)
    status = outcome_of_error(error[1]).status_code if error else StatusCode.OK
    return Step(Action("", name, arguments), body, status, body)

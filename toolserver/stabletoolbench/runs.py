r"""Reader of the judged runs of StepTool and StableToolBench: recorded episodes as text, with judgements.

A file is an object from query id to `{"query", "tool_names", "answer_steps", "final_step", "is_solved"[, "length"]}`.
The steps are one text, `Step 1: {...}\nStep 2: {...}`, where the braces are `str()` of a dictionary; so a line
break inside a value is always escaped, and the markers cannot be mistaken.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolserver.errors import DataError
from toolserver.stabletoolbench.literals import read_dict
from toolserver.stabletoolbench.problems import ImportProblems, read_json

_MARKER = re.compile(r"(?:\A|\n)Step (\d+): ")
_FINAL_MARKER = "Final step: "
_STATUS_PREFIX = "AnswerStatus."
_JUDGEMENTS = ("Solved", "Unsure", "Unsolved")


@dataclass(frozen=True, slots=True)
class RunStep:
    """One recorded step, unchanged. The publishers cut `response` at 1,024 characters and appended `...`."""

    name: str
    arguments: str
    response: str


@dataclass(frozen=True, slots=True)
class JudgedEpisode:
    """One recorded episode with its judgements.

    Attributes:
        query_id: The query's number, as text.
        query: Text of the query.
        tool_names: The offered functions, `Finish` included.
        steps: The recorded steps, in their order.
        final_step: The last step, as the file repeats it.
        judgements: `Solved`, `Unsure` or `Unsolved`, one per repeat of the judge.
        length: Number of steps, as the file counts them; where it does not, how many there are.
    """

    query_id: str
    query: str
    tool_names: tuple[str, ...]
    steps: tuple[RunStep, ...]
    final_step: RunStep
    judgements: tuple[str, ...]
    length: int


def read_judged_run(path: str | Path) -> list[JudgedEpisode]:
    """Read all episodes of a file, in order. Raises `DataError`, which names query and reason, if one is wrong."""
    path, problems = Path(path), ImportProblems(strict=True)
    return list(iter_judged_run(path, read_json(path, problems), problems))


def iter_judged_run(path: Path, content: Any, problems: ImportProblems) -> Iterator[JudgedEpisode]:
    """Iterate over the episodes in a file's content. Episodes that cannot be read are added to `problems`."""
    if not isinstance(content, dict):
        problems.add(path, "", f"must be an object of episodes, not {type(content).__name__}")
        return
    for query_id, item in content.items():
        try:
            yield _episode(query_id, item)
        except DataError as error:
            problems.add(path, query_id, error)


def read_steps(text: str) -> tuple[RunStep, ...]:
    r"""Read `Step 1: {...}\nStep 2: {...}`. Raises `DataError` if a step is missing or cannot be read."""
    pieces = _MARKER.split(text)
    if pieces[0].strip():
        raise DataError(f"answer_steps must begin with `Step 1: `, not {pieces[0]!r:.60}")
    numbers, bodies = pieces[1::2], pieces[2::2]
    if [int(number) for number in numbers] != list(range(1, len(numbers) + 1)):
        raise DataError(f"answer_steps are not numbered from 1: {', '.join(numbers):.100}")
    return tuple(_step(body, f"step {number}") for number, body in zip(numbers, bodies, strict=True))


def _episode(query_id: str, item: Any) -> JudgedEpisode:
    if not isinstance(item, dict):
        raise DataError(f"an episode must be an object, not {item!r:.100}")
    steps_text, final_text = _field(item, "answer_steps", str), _field(item, "final_step", str)
    judgements = _field(item, "is_solved", dict)
    steps = read_steps(steps_text)
    return JudgedEpisode(
        query_id=query_id,
        query=_field(item, "query", str),
        tool_names=tuple(map(str, _field(item, "tool_names", list))),
        steps=steps,
        final_step=_step(final_text.removeprefix(_FINAL_MARKER), "final step"),
        judgements=tuple(_judgement(judgements[repeat]) for repeat in sorted(judgements)),
        length=_field({"length": len(steps)} | item, "length", int),
    )


def _field(item: dict[str, Any], name: str, kind: type) -> Any:
    value = item.get(name)
    if not isinstance(value, kind):
        raise DataError(f"{name} must be of type {kind.__name__}, not {value!r:.100}")
    return value


def _judgement(value: Any) -> str:
    judgement = value.removeprefix(_STATUS_PREFIX) if isinstance(value, str) else value
    if judgement not in _JUDGEMENTS:
        raise DataError(f"is_solved must be one of {', '.join(_JUDGEMENTS)}, not {value!r:.100}")
    return str(judgement)


def _step(text: str, where: str) -> RunStep:
    try:
        fields = read_dict(text)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    texts = [fields.get(name) for name in ("name", "arguments", "response")]
    if not all(isinstance(value, str) for value in texts):
        raise DataError(f"{where}: name, arguments and response must be text: {text:.100}")
    return RunStep(*map(str, texts))

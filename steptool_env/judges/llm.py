"""Judge: a language model at an OpenAI-compatible endpoint."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, NamedTuple, TypeVar

from steptool_env.chat import ChatModel
from steptool_env.errors import ConfigurationError
from steptool_env.judges import llm_prompts
from steptool_env.judges.answer import final_answer
from steptool_env.judges.base import Judgement
from steptool_env.types import Step, Task
from toolserver.calls.json_parsing import parse

T = TypeVar("T")

_PLACE = re.compile(r"\{(\w+)\}")
_SHOWN = 1024  # characters of a response that the judge sees, as in the published annotations
_FULL_CONTRIBUTION = 5.0
_VERDICTS = {"Solved": 1.0, "Unsure": 0.5, "Unsolved": 0.0}


class _Opinion(NamedTuple):
    """One repeat's answer. Shape of the vectors: (calls,)."""

    succeeded: tuple[float, ...]
    contribution: tuple[float, ...]
    solved: float


class LlmJudge:
    """Asks a model about the finished episode several times and averages.

    All verdicts come after the end of the episode. An episode without an answer is unsolved, as in the published
    evaluation; its steps are still judged.

    Args:
        model: Name of the model at the endpoint.
        base_url: See `ChatModel`.
        api_key: See `ChatModel`.
        repeats: Number of requests. StepTool's annotations average 3.
        verdict: Source of `is_solved`: `steps`, the request that also judges the steps (StepTool's annotation), or
            `tooleval`, ToolBench's separate check of the final answer (the published pass rates).
        template: File with another prompt for the steps, with `{query}`, `{mid_steps}` and `{final_answer}`.
        timeout: Seconds to wait for one answer.
        retries: Number of retries after a failure or an answer that does not match the function.

    Raises:
        ChatError: (from `judge`) All attempts failed.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str = "",
        api_key: str = "",
        repeats: int = 3,
        verdict: Literal["steps", "tooleval"] = "steps",
        template: str = "",
        timeout: float = 60.0,
        retries: int = 3,
    ) -> None:
        if repeats < 1:
            raise ConfigurationError(f"repeats={repeats}: must be at least 1")
        if verdict not in {"steps", "tooleval"}:
            raise ConfigurationError(f"verdict={verdict!r}: must be 'steps' or 'tooleval'")
        self.repeats = repeats
        self.verdict = verdict
        self._template = _read_template(template) if template else llm_prompts.STEPS
        self._chat = ChatModel(model, base_url=base_url, api_key=api_key, timeout=timeout, retries=retries)

    def call_succeeded(self, task: Task, step: Step) -> None:
        """Return `None`: known only at the end."""
        del task, step

    def judge(self, task: Task, steps: Sequence[Step]) -> Judgement:
        """Ask about the finished episode, all repeats in parallel."""
        answer = final_answer(steps)
        with ThreadPoolExecutor(self.repeats) as pool:
            opinions = list(pool.map(lambda _: self._opinion(task, steps, answer), range(self.repeats)))
        return Judgement(
            succ_calling=(*_mean([opinion.succeeded for opinion in opinions]), 0.0)[: len(steps)],
            contribution=(*_mean([opinion.contribution for opinion in opinions]), 0.0)[: len(steps)],
            is_solved=tuple(opinion.solved for opinion in opinions),
        )

    def _opinion(self, task: Task, steps: Sequence[Step], answer: str) -> _Opinion:
        opinion = self._judge_steps(task, steps, answer)
        if not answer:
            return opinion._replace(solved=0.0)
        if self.verdict == "steps":
            return opinion
        return opinion._replace(solved=self._judge_answer(task, steps, answer))

    def _judge_steps(self, task: Task, steps: Sequence[Step], answer: str) -> _Opinion:
        """Return the model's opinion of every step but the last, whose reward is the outcome."""
        middle = list(steps[:-1])
        fields = {"query": task.query, "mid_steps": _tell(middle), "final_answer": answer}
        prompt = _fill(self._template, fields)
        return self._ask(prompt, llm_prompts.STEPS_FUNCTION, lambda arguments: _read_opinion(arguments, len(middle)))

    def _judge_answer(self, task: Task, steps: Sequence[Step], answer: str) -> float:
        """Return the verdict of `tooleval` on the answer; if it is unsure, on the whole episode."""
        prompt = _fill(llm_prompts.CHECK_ANSWER, {"query": task.query, "answer": answer})
        solved = self._ask(prompt, llm_prompts.CHECK_FUNCTION, _read_status)
        if solved not in (0.0, 1.0):
            course = json.dumps({"final_answer": answer, "answer_details": _tell(steps)}, ensure_ascii=False)
            prompt = _fill(llm_prompts.PARSE_ANSWER, {"query": task.query, "answer": course})
            solved = self._ask(prompt, llm_prompts.PARSE_FUNCTION, _read_status)
        return solved

    def _ask(self, prompt: str, function: Mapping[str, Any], read: Callable[[Mapping[str, Any]], T]) -> T:
        return self._chat.complete(
            [{"role": "user", "content": prompt}],
            lambda message: read(_arguments(message, function["name"])),
            tools=[{"type": "function", "function": function}],
            tool_choice={"type": "function", "function": {"name": function["name"]}},
            temperature=0,
        )


def _read_template(path: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"template={path!r}: cannot be read: {error}") from error
    missing = [field for field in ("{query}", "{mid_steps}", "{final_answer}") if field not in text]
    if missing:
        raise ConfigurationError(f"template={path!r}: lacks the placeholders {', '.join(missing)}")
    return text


def _fill(template: str, fields: Mapping[str, str]) -> str:
    """Replace the placeholders by the fields. Other braces stay, also those inside values."""
    return _PLACE.sub(lambda match: fields.get(match[1], match[0]), template)


def _tell(steps: Sequence[Step]) -> str:
    """Return the steps as text, as in the published annotations."""
    shown = (
        {"name": s.action.name, "arguments": s.action.arguments, "response": _cut(s.body or s.observation)}
        for s in steps
    )
    return "\n".join(f"Step {number}: {step}" for number, step in enumerate(shown, 1))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _arguments(message: Mapping[str, Any], function: str) -> dict[str, Any]:
    """Return the arguments of the requested function. Raises `ValueError` without a call of it."""
    calls = message.get("tool_calls") or []
    try:
        called = calls[0]["function"]
        arguments = parse(called["arguments"])
    except (LookupError, TypeError, ValueError):
        raise ValueError(f"no call of {function} with JSON arguments") from None
    if called.get("name") != function or not isinstance(arguments, dict):
        raise ValueError(f"no call of {function}")
    return arguments


def _read_opinion(arguments: Mapping[str, Any], calls: int) -> _Opinion:
    succeeded = _scores_of(arguments.get("succeed_tool_calling"), calls, 1.0)
    contribution = _scores_of(arguments.get("contribution_to_final_answer"), calls, _FULL_CONTRIBUTION)
    return _Opinion(succeeded, contribution, _read_status({"answer_status": arguments.get("final_answer_status")}))


def _scores_of(value: Any, calls: int, full: float) -> tuple[float, ...]:
    """Return `calls` numbers from 0 to `full`, divided by `full`."""
    numbers = isinstance(value, list) and all(isinstance(score, int | float) and 0 <= score <= full for score in value)
    if not numbers or len(value) != calls:
        raise ValueError(f"wanted {calls} numbers from 0 to {full:g}, got {str(value)[:100]}")
    return tuple(score / full for score in value)


def _read_status(arguments: Mapping[str, Any]) -> float:
    status = arguments.get("answer_status")
    if not isinstance(status, str) or status not in _VERDICTS:
        raise ValueError(f"wanted one of {', '.join(_VERDICTS)}, got {str(status)[:100]}")
    return _VERDICTS[status]


def _mean(vectors: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(map(fmean, zip(*vectors, strict=True)))

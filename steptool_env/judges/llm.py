"""Judge: a language model at an OpenAI-compatible endpoint, with the prompts of StepTool, ToolEval and FAC."""

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
from steptool_env.judges.fac_prompt import FAC
from steptool_env.trajectories.converted import converted_answer
from steptool_env.types import Step, Task
from toolserver.calls.json_parsing import parse

T = TypeVar("T")

_PLACE = re.compile(r"\{(\w+)\}")
_SHOWN = 1024  # characters of a response that the judge sees, as in the published annotations
_FULL_CONTRIBUTION = 5.0
_COMPARED = 1000  # characters of a final answer that are compared
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
        repeats: Number of requests per question. StepTool's annotations average 3, which is the default; 1 for `fac`.
        verdict: Source of `is_solved`: `steps`, the request that also judges the steps (StepTool's annotation),
            `tooleval`, ToolBench's separate check of the final answer (the published pass rates), or `fac`, the
            final-answer metric of StableToolBench-MirrorAPI, for its model.
        steps: Judge the steps, too. Without, a verdict other than `steps` costs its own requests only, and no step
            succeeds or contributes; the reward `final` asks without by default.
        template: File with another prompt for the steps, with `{query}`, `{mid_steps}` and `{final_answer}`.
        timeout: Seconds to wait for one answer.
        retries: Number of retries after a failure or an answer that does not match the function.
        cache: Directory of a response cache that keeps the model's messages, see `ChatModel`; empty for none.

    Raises:
        ChatError: (from `judge`) All attempts failed.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str = "",
        api_key: str = "",
        repeats: int | None = None,
        verdict: Literal["steps", "tooleval", "fac"] = "steps",
        steps: bool = True,
        template: str = "",
        timeout: float = 60.0,
        retries: int = 3,
        cache: str = "",
    ) -> None:
        if repeats is not None and repeats < 1:
            raise ConfigurationError(f"repeats={repeats}: must be at least 1")
        if verdict not in {"steps", "tooleval", "fac"}:
            raise ConfigurationError(f"verdict={verdict!r}: must be 'steps', 'tooleval' or 'fac'")
        if verdict == "steps" and not steps:
            raise ConfigurationError(
                "steps=False: verdict='steps' is part of that request; give verdict=tooleval or fac"
            )
        self.repeats = (1 if verdict == "fac" else 3) if repeats is None else repeats
        self.verdict = verdict
        self._steps = steps
        self._template = _read_template(template) if template else llm_prompts.STEPS
        self._chat = ChatModel(model, base_url=base_url, api_key=api_key, timeout=timeout, retries=retries, cache=cache)

    def call_succeeded(self, task: Task, step: Step) -> None:
        """Return `None`: known only at the end."""
        del task, step

    def judge(self, task: Task, steps: Sequence[Step]) -> Judgement:
        """Ask about the finished episode, all repeats in parallel."""
        answer = final_answer(steps)
        with ThreadPoolExecutor(self.repeats) as pool:
            opinions = list(pool.map(lambda repeat: self._opinion(task, steps, answer, repeat), range(self.repeats)))
        return Judgement(
            succ_calling=(*_mean([opinion.succeeded for opinion in opinions]), 0.0)[: len(steps)],
            contribution=(*_mean([opinion.contribution for opinion in opinions]), 0.0)[: len(steps)],
            is_solved=tuple(opinion.solved for opinion in opinions),
        )

    def better(self, task: Task, first: Sequence[Step], second: Sequence[Step], repeat: int) -> float:
        """See `PairwiseJudge.better`: ToolEval's comparison in both orders; 0.5 where the order decides.

        The answers are shown as ToolEval's evaluator shows them: cut, with the steps on their path.
        """
        shown = [json.dumps(_compared(steps)) for steps in (first, second)]
        if shown[0] == shown[1]:
            return 0.5
        indices = [
            self._ask(
                _fill(llm_prompts.SELECT_BETTER, {"query": task.query, "answer_0": one, "answer_1": other}),
                llm_prompts.SELECT_FUNCTION,
                _read_index,
                repeat,
            )
            for one, other in (shown, shown[::-1])
        ]
        return ((1 - indices[0]) + indices[1]) / 2

    def close(self) -> None:
        """Close the connections and the cache."""
        self._chat.close()

    def _opinion(self, task: Task, steps: Sequence[Step], answer: str, repeat: int) -> _Opinion:
        if self._steps:
            opinion = self._judge_steps(task, steps, answer, repeat)
        else:
            opinion = _Opinion((0.0,) * len(steps[:-1]), (0.0,) * len(steps[:-1]), 0.0)
        if not answer:
            return opinion._replace(solved=0.0)
        if self.verdict == "steps":
            return opinion
        judge = self._judge_final_answer if self.verdict == "fac" else self._judge_answer
        return opinion._replace(solved=judge(task.query, converted_answer(steps), repeat))  # evaluators read such files

    def _judge_final_answer(self, query: str, answer: Mapping[str, Any], repeat: int) -> float:
        """Return the verdict of FAC's model on the answer alone: the arguments of `Finish`, as its script shows it."""
        prompt = _fill(FAC, {"query": query, "answer": answer["final_answer"]})
        messages = [{"role": "user", "content": prompt}]
        return self._chat.complete(messages, _read_final, repeat=repeat, temperature=0, max_tokens=512)

    def _judge_steps(self, task: Task, steps: Sequence[Step], answer: str, repeat: int) -> _Opinion:
        """Return the model's opinion of every step but the last, whose reward is the outcome."""
        middle = list(steps[:-1])
        fields = {"query": task.query, "mid_steps": _tell(middle), "final_answer": answer}
        prompt = _fill(self._template, fields)
        return self._ask(
            prompt, llm_prompts.STEPS_FUNCTION, lambda arguments: _read_opinion(arguments, len(middle)), repeat
        )

    def _judge_answer(self, query: str, answer: Mapping[str, Any], repeat: int) -> float:
        """Return the verdict of `tooleval` on the arguments of `Finish`; if it is unsure, on the whole path."""
        prompt = _fill(llm_prompts.CHECK_ANSWER, {"query": query, "answer": answer["final_answer"]})
        solved = self._ask(prompt, llm_prompts.CHECK_FUNCTION, _read_status, repeat)
        if solved not in (0.0, 1.0):
            prompt = _fill(llm_prompts.PARSE_ANSWER, {"query": query, "answer": json.dumps(answer)})
            solved = self._ask(prompt, llm_prompts.PARSE_FUNCTION, _read_status, repeat)
        return solved

    def _ask(self, prompt: str, function: Mapping[str, Any], read: Callable[[Mapping[str, Any]], T], repeat: int) -> T:
        return self._chat.complete(
            [{"role": "user", "content": prompt}],
            lambda message: read(_arguments(message, function["name"])),
            tools=[{"type": "function", "function": function}],
            tool_choice={"type": "function", "function": {"name": function["name"]}},
            temperature=0,
            repeat=repeat,
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
    """Replace the placeholders by the fields. Other braces stay, also those inside values.

    Lone surrogates, which a judged model may have written and no request can hold, become their escapes.
    """
    text = _PLACE.sub(lambda match: fields.get(match[1], match[0]), template)
    return text.encode("utf-8", "backslashreplace").decode()


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


def _read_index(arguments: Mapping[str, Any]) -> int:
    index = arguments.get("index")
    if isinstance(index, bool) or index not in (0, 1):
        raise ValueError(f"wanted 0 or 1, got {str(index)[:100]}")
    return int(index)


def _read_final(message: Mapping[str, Any]) -> float:
    """Return FAC's verdict by its rule: a text with `unsolved`, or without `solved`, is unsolved."""
    text = message.get("content")
    if not isinstance(text, str):
        raise ValueError("the message has no text")
    return float("solved" in text.lower() and "unsolved" not in text.lower())


def _compared(steps: Sequence[Step]) -> dict[str, Any]:
    """Return an episode as ToolEval's evaluator shows it for a comparison."""
    answer = converted_answer(steps)
    return {
        "total_steps": answer["total_steps"],
        "final_answer": answer["final_answer"][:_COMPARED],
        "answer_details": answer["answer_details"],
    }


def _mean(vectors: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(map(fmean, zip(*vectors, strict=True)))

"""Features of candidates and of the episode, all in [-1, 1]."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from steptool_env.discrete.candidates import Candidate
from steptool_env.discrete.results import ToolResult
from steptool_env.discrete.tools import Intent, Tool
from steptool_env.discrete.values import Form, ObservedValue
from steptool_env.discrete.words import WordSet
from steptool_env.types import GIVE_UP
from toolserver.catalog.api_schema import StatusCode

_MANY = 6.0  # counts are divided by this and cut at 1

SORTS = ("call", "answer", "done", "give_up")
_TOOL = ("topic_of_tool", "topic_of_query", "topic_rank", "intent_shared", "intent_unasked",
         *(f"intent_{intent.name.lower()}" for intent in Intent))  # fmt: skip
_CALL = ("arguments", "named", "akin", "akin_all", "topical", "from_query", "from_answer", "from_latest", "fresh",
         *(f"takes_{form.name.lower()}" for form in Form), "next_page", "made", "made_tool", "failed_tool")  # fmt: skip
_ANSWER = ("fields", "column", "many_rows", "more_pages", "asked_least", "asked_most", "asked_sum", "covered",
           "latest", "place", "names", *(f"shows_{form.name.lower()}" for form in Form))  # fmt: skip
NAMES = (*SORTS, *_TOOL, *_CALL, *_ANSWER)
"""Names of the features of a candidate, in order."""
FEATURES = len(NAMES)

CONTEXT_NAMES = (
    *(f"asks_{intent.name.lower()}" for intent in Intent),
    "calls_left", "step", "answers", "failures", "last_ok", "last_failed", "constants", "constants_used", "topic_done",
)  # fmt: skip
"""Names of the features of the episode, in order."""
CONTEXT = len(CONTEXT_NAMES)

_TITLE = frozenset({"name", "title"})


@dataclass
class History:
    """Parsed query and history of the episode."""

    words: WordSet
    intents: frozenset[Intent]
    constants: Sequence[ObservedValue]
    calls_left: int
    budget: int
    step: int = 0
    failures: int = 0
    status: int = -1
    made: set[tuple[str, str]] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    worked: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)

    def record(self, candidate: Candidate | None, status: int, calls_left: int, has_records: bool) -> None:
        """Record a step. `has_records` is True if the response contained records."""
        self.step += 1
        self.status, self.calls_left = int(status), calls_left
        self.failures += self.status != StatusCode.OK
        if candidate is None or candidate.tool is None:
            return
        self.made.add(key_of(candidate))
        (self.worked if has_records else self.failed).add(candidate.name)
        if has_records:
            self.used.update(str(value) for value in candidate.arguments.values())


class Topic(NamedTuple):
    """Shares of common words of a function's documentation and the query."""

    of_tool: float
    of_query: float


def key_of(candidate: Candidate) -> tuple[str, str]:
    """Return function and arguments as a key."""
    return candidate.name, repr(sorted(candidate.arguments.items()))


def describe(candidates: Sequence[Candidate], answers: Sequence[ToolResult], history: History) -> list[list[float]]:
    """Return the features of every candidate. Shape: (candidates, FEATURES)."""
    topics = {each.tool.name: _topic(each.tool, history) for each in candidates if each.tool}
    topics |= {each.tool.name: _topic(each.tool, history) for each in answers}
    best = max((topic.of_tool for topic in topics.values()), default=0.0)
    return [
        [*_sort(each), *_tool(_tool_of(each, answers), topics, best, history), *_call(each, history),
         *_answer(each, answers, history)]
        for each in candidates
    ]  # fmt: skip


def context_features(history: History, answers: Sequence[ToolResult]) -> list[float]:
    """Return the features of the episode. Shape: (CONTEXT,)."""
    used = sum(str(value.value) in history.used for value in history.constants)
    spoken = frozenset[str]().union(*(answer.tool.words for answer in answers))
    return [
        *(float(intent in history.intents) for intent in Intent),
        history.calls_left / history.budget,
        _count(history.step),
        _count(len(answers)),
        _count(history.failures),
        float(history.status == StatusCode.OK),
        float(history.status > StatusCode.OK),
        _count(len(history.constants)),
        used / max(1, len(history.constants)),
        _share(spoken & history.words, history.words),
    ]


def _sort(candidate: Candidate) -> list[float]:
    gives_up = candidate.arguments.get("return_type") == GIVE_UP and candidate.tool is None
    done = candidate.tool is None and candidate.source < 0 and not gives_up
    return [float(candidate.tool is not None), float(candidate.source >= 0), float(done), float(gives_up)]


def _tool_of(candidate: Candidate, answers: Sequence[ToolResult]) -> Tool | None:
    """Return the function that is called, or whose result is stated."""
    return answers[candidate.source].tool if candidate.source >= 0 else candidate.tool


def _topic(tool: Tool, history: History) -> Topic:
    shared = tool.words & history.words
    return Topic(_share(shared, tool.words), _share(shared, history.words))


def _tool(tool: Tool | None, topics: dict[str, Topic], best: float, history: History) -> list[float]:
    if tool is None:
        return [0.0] * len(_TOOL)
    topic = topics[tool.name]
    shared, unasked = tool.intents & history.intents, tool.intents - history.intents
    return [
        topic.of_tool,
        topic.of_query,
        topic.of_tool - best,
        _count(len(shared)),
        _count(len(unasked)),
        *(float(intent in tool.intents) for intent in Intent),
    ]


def _call(candidate: Candidate, history: History) -> list[float]:
    if candidate.tool is None:
        return [0.0] * len(_CALL)
    fits, count = candidate.fits, max(1, len(candidate.fits))
    values = [fit.value for fit in fits]
    latest = history.step - 1
    return [
        _count(len(fits)),
        sum(fit.named for fit in fits) / count,
        sum(fit.akin for fit in fits) / count,
        float(all(fit.akin or fit.named for fit in fits)),
        sum(fit.topical for fit in fits) / count,
        sum(value.step < 0 for value in values) / count,
        sum(value.step >= 0 for value in values) / count,
        sum(value.step == latest >= 0 for value in values) / count,
        sum(str(value.value) not in history.used for value in values) / count,
        *(sum(value.form is form for value in values) / count for form in Form),
        float(candidate.page > 1),
        float(key_of(candidate) in history.made),
        float(candidate.name in history.worked),
        float(candidate.name in history.failed),
    ]


def _answer(candidate: Candidate, answers: Sequence[ToolResult], history: History) -> list[float]:
    if candidate.source < 0:
        return [0.0] * len(_ANSWER)
    answer, shown = answers[candidate.source], candidate.shown
    asked = [_share(value.about & history.words, value.about) for value in shown]
    said = frozenset[str]().union(*(value.about for value in shown))
    return [
        len(shown) / 2.0,
        float(candidate.column),
        float(len(answer.rows) > 1),
        float(answer.page < answer.pages),
        min(asked),
        max(asked),
        sum(asked) / 2.0,
        _share(said & history.words, history.words),
        float(answer.step == history.step - 1),
        _count(list(answer.rows[0]).index(shown[0].field)),
        sum(bool(value.about & _TITLE) for value in shown) / len(shown),
        *(sum(value.form is form for value in shown) / len(shown) for form in Form),
    ]


def _share(part: WordSet, whole: WordSet) -> float:
    return len(part) / len(whole) if whole else 0.0


def _count(number: int) -> float:
    return min(1.0, number / _MANY)

"""Agents without a model: `no-tools` and `greedy-docs`, floors of ToolWorld."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.base import EpisodeAgent, Info
from agents.baselines.oracle import answer, response_of, write
from steptool_env.formats import Format, make_format
from steptool_env.types import FINISH

_WORD = re.compile(r"[a-z0-9]+")
_NAME = re.compile(r"\b(?:Dr\. )?[A-Z]\w*(?: (?:of|the|and|[A-Z(]\w*\)?))*")
_NUMBER = re.compile(r"\b\d[\d.,:-]*\b")
_ID = re.compile(r"\b[A-Z]{1,3}\d{3,6}\b")


class NoToolsAgent(EpisodeAgent[str]):
    """Agent that answers without a call: the longest name in the query, else a number. The state is its action."""

    def __init__(self) -> None:
        super().__init__("no-tools")

    def begin(self, info: Info) -> str:
        """See `EpisodeAgent.begin`."""
        return answer(make_format(info["format"]), _guess(query_of(info)))

    def decide(self, episode: str, observation: str, info: Info) -> str:  # noqa: ARG002
        """See `EpisodeAgent.decide`."""
        return episode


@dataclass
class _Greedy:
    format: Format
    functions: list[Mapping[str, Any]]
    query: str
    tried: set[str] = field(default_factory=set)
    found: dict[str, None] = field(default_factory=dict)
    last: Any = None


class GreedyDocsAgent(EpisodeAgent[_Greedy]):
    """Agent that calls the functions whose documentation has the largest word overlap with the query, each once.

    Arguments are names, numbers and ids from the query and from earlier responses; the answer is the last value of the
    last response.
    """

    def __init__(self, *, calls: int = 4) -> None:
        """`calls` is the number of functions to call before the answer."""
        super().__init__("greedy-docs")
        self.calls = calls

    def begin(self, info: Info) -> _Greedy:
        """See `EpisodeAgent.begin`."""
        query = query_of(info)
        words = set(_WORD.findall(query.lower()))
        functions = [each for each in info["functions"] if each["name"] != FINISH]
        functions.sort(key=lambda each: -_overlap(each, words))  # stable: equal overlaps keep their order
        return _Greedy(make_format(info["format"]), functions, query)

    def decide(self, episode: _Greedy, observation: str, info: Info) -> str:
        """See `EpisodeAgent.decide`."""
        if episode.tried:
            response = response_of(observation)
            if response:
                episode.last = response
                episode.found |= dict.fromkeys(_ID.findall(json.dumps(response)))
        left = [each for each in episode.functions if each["name"] not in episode.tried]
        if not left or len(episode.tried) >= self.calls or info["calls_left"] <= 1:
            return answer(episode.format, _last_value(episode.last))
        episode.tried.add(left[0]["name"])
        return write(episode.format, left[0]["name"], _filled(left[0]["parameters"], episode))


def query_of(info: Info) -> str:
    """Return the user's message of the prompt, without the number of calls left."""
    return str(info["messages"][-1]["content"]).partition("\nCalls left")[0].strip()


def _guess(query: str) -> str:
    names: list[str] = _NAME.findall(query.partition(" ")[2]) or _NUMBER.findall(query)
    return max(names, key=len, default="1")


def _overlap(function: Mapping[str, Any], words: set[str]) -> int:
    text = f"{function['name']} {function.get('description', '')}".lower().replace("_", " ")
    return len(words & set(_WORD.findall(text)))


def _filled(schema: Mapping[str, Any], episode: _Greedy) -> dict[str, Any]:
    names, numbers = _NAME.findall(episode.query.partition(" ")[2]), _NUMBER.findall(episode.query)
    ids = [*_ID.findall(episode.query), *reversed(episode.found)]
    arguments: dict[str, Any] = {}
    for name in schema.get("required", ()):
        kind = schema["properties"][name].get("type", "string")
        if kind in {"integer", "number"}:
            arguments[name] = float(numbers[0].replace(",", "").rstrip(".-:") or 1) if _is_number(numbers) else 1
        elif ids and ("id" in name.lower() or "code" in name.lower() or not names):
            arguments[name] = ids[0]
        else:
            arguments[name] = max(names, key=len) if names else episode.query
    return arguments


def _is_number(numbers: Sequence[str]) -> bool:
    return bool(numbers) and numbers[0].replace(",", "").replace(".", "", 1).isdigit()


def _last_value(response: Any) -> str:
    """Return the last scalar of a response, depth first."""
    while isinstance(response, dict | list) and response:
        response = list(response.values())[-1] if isinstance(response, dict) else response[-1]
    return str(response or "unknown")

"""Agents that show the floors and the ceiling of ToolWorld: `oracle`, `greedy-docs` and `no-tools`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.base import Info
from steptool_env.formats import Format, make_format
from steptool_env.toolworld import Oracle, OracleCall, gold_answer
from steptool_env.toolworld.suite import find_world_task
from steptool_env.types import FINISH, GIVE_ANSWER, GIVE_UP
from toolserver.catalog.api_schema import Provenance, StatusCode

_WORD = re.compile(r"[a-z0-9]+")
_NAME = re.compile(r"\b(?:Dr\. )?[A-Z]\w*(?: (?:of|the|and|[A-Z(]\w*\)?))*")
_NUMBER = re.compile(r"\b\d[\d.,:-]*\b")
_ID = re.compile(r"\b[A-Z]{1,3}\d{3,6}\b")


@dataclass
class OracleEpisode:
    """One episode of the oracle: its plan, and the call whose answer it waits for."""

    format: Format
    oracle: Oracle
    pending: OracleCall | None = None

    def learn(self, observation: str, info: Info) -> None:
        """Take note of the answer to the pending call."""
        if self.pending is not None:
            provenance = Provenance(info["provenance"] or Provenance.SERVICE)
            succeeded = info["status"] == StatusCode.OK
            self.oracle.observe(self.pending, succeeded, response_of(observation), provenance)
            self.pending = None

    def decide(self) -> str:
        """The next action of the gold solution."""
        self.pending = self.oracle.next_call()
        if self.pending is not None:
            return write(self.format, self.pending.api.spec.function_name, self.pending.arguments)
        if self.oracle.gives_up:
            return write(self.format, FINISH, {"return_type": GIVE_UP})
        return answer(self.format, gold_answer(self.oracle.task))


class OracleAgent:
    """Solves every task, because it looks up the gold solution of each task by its id."""

    def __init__(self) -> None:
        self.name = "oracle"
        self._episodes: dict[int, OracleEpisode] = {}

    def reset(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> None:
        """See `Agent.reset`. Raises `ConfigurationError` for a task that is not ToolWorld's."""
        del observations
        for index, info in zip(indices, infos, strict=True):
            self._episodes[index] = OracleEpisode(make_format(info["format"]), Oracle(find_world_task(info["task_id"])))

    def act(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """See `Agent.act`."""
        actions = []
        for index, observation, info in zip(indices, observations, infos, strict=True):
            self._episodes[index].learn(observation, info)
            actions.append(self._episodes[index].decide())
        return actions


class NoToolsAgent:
    """Answers at once, with the best guess that the query alone allows: a name or a number that it mentions."""

    def __init__(self) -> None:
        self.name = "no-tools"
        self._formats: dict[int, Format] = {}
        self._queries: dict[int, str] = {}

    def reset(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> None:
        """See `Agent.reset`."""
        del observations
        for index, info in zip(indices, infos, strict=True):
            self._formats[index] = make_format(info["format"])
            self._queries[index] = query_of(info)

    def act(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """See `Agent.act`."""
        del observations, infos
        return [answer(self._formats[index], _guess(self._queries[index])) for index in indices]


@dataclass
class _Greedy:
    format: Format
    functions: list[Mapping[str, Any]]
    query: str
    tried: set[str] = field(default_factory=set)
    found: dict[str, None] = field(default_factory=dict)
    last: Any = None


class GreedyDocsAgent:
    """Calls the functions whose documentation shares most words with the query, each once, best first.

    It fills parameters with names, numbers and ids that the query mentions or that answers brought, and ends with the
    last value that it was given. No learning, no model: what reading the documentation is worth.
    """

    def __init__(self, *, calls: int = 4) -> None:
        """`calls` is how many functions are tried before answering."""
        self.name = "greedy-docs"
        self.calls = calls
        self._episodes: dict[int, _Greedy] = {}

    def reset(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> None:
        """See `Agent.reset`."""
        del observations
        for index, info in zip(indices, infos, strict=True):
            query = query_of(info)
            words = set(_WORD.findall(query.lower()))
            functions = [each for each in info["functions"] if each["name"] != FINISH]
            # Stable: of two with the same overlap the one that is offered first.
            functions.sort(key=lambda each: -_overlap(each, words))
            self._episodes[index] = _Greedy(make_format(info["format"]), functions, query)

    def act(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """See `Agent.act`."""
        return [
            self._act(self._episodes[index], observation, info)
            for index, observation, info in zip(indices, observations, infos, strict=True)
        ]

    def _act(self, episode: _Greedy, observation: str, info: Info) -> str:
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


def write(call_format: Format, name: str, arguments: Mapping[str, Any]) -> str:
    """A call in the environment's format."""
    return call_format.render(name, json.dumps(arguments, ensure_ascii=False))


def answer(call_format: Format, text: str) -> str:
    """A `Finish` that gives an answer."""
    return write(call_format, FINISH, {"return_type": GIVE_ANSWER, "final_answer": text})


def query_of(info: Info) -> str:
    """The user's message of an episode's opening, without the number of calls."""
    return str(info["messages"][-1]["content"]).partition("\nCalls left")[0].strip()


def response_of(observation: str) -> Any:
    """The response inside an observation; `None` when it is cut or no JSON."""
    try:
        return json.loads(observation.rpartition("\nCalls left")[0])["response"]
    except (ValueError, KeyError, TypeError):
        return None


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
    """The last plain value in a response, depth first."""
    while isinstance(response, dict | list) and response:
        response = list(response.values())[-1] if isinstance(response, dict) else response[-1]
    return str(response or "unknown")

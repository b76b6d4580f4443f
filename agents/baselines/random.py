"""Random agent, the floor of every evaluation: valid random calls, then `Finish`."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from agents.base import EpisodeAgent, Info
from agents.baselines.oracle import answer, write
from agents.seeding import task_random, vary
from steptool_env.formats import Format, make_format
from steptool_env.types import FINISH


@dataclass
class _Episode:
    format: Format
    functions: list[Mapping[str, Any]]
    words: list[str]
    rng: Random


class RandomAgent(EpisodeAgent[_Episode]):
    """Agent that calls random offered functions with arguments valid for their schemas, and finishes at random.

    Text values are words of the query. Actions depend on the seed and the task only.
    """

    def __init__(self, *, seed: int = 0, finish: float = 0.25) -> None:
        """`finish` is the probability of `Finish` at each step; the last call of the budget is always `Finish`."""
        super().__init__("random")
        self.seed = seed
        self.finish = finish

    def begin(self, info: Info) -> _Episode:
        """See `EpisodeAgent.begin`."""
        functions = [function for function in info["functions"] if function["name"] != FINISH]
        words = info["messages"][-1]["content"].split() or ["nothing"]
        return _Episode(make_format(info["format"]), functions, words, task_random(self.seed, info))

    def vary(self, episode: _Episode, attempt: int) -> None:
        """See `EpisodeAgent.vary`."""
        vary(episode.rng, attempt)

    def decide(self, episode: _Episode, observation: str, info: Info) -> str:  # noqa: ARG002
        """See `EpisodeAgent.decide`."""
        rng = episode.rng
        if not episode.functions or info["calls_left"] <= 1 or rng.random() < self.finish:
            return answer(episode.format, " ".join(rng.choices(episode.words, k=8)))
        function = rng.choice(episode.functions)
        return write(episode.format, function["name"], _arguments(function["parameters"], episode))


def _arguments(schema: Mapping[str, Any], episode: _Episode) -> dict[str, Any]:
    """Return all required arguments and each optional one with probability 0.5."""
    required = set(schema.get("required", ()))
    return {
        name: _value(parameter, episode)
        for name, parameter in schema.get("properties", {}).items()
        if name in required or episode.rng.random() < 0.5
    }


def _value(parameter: Mapping[str, Any], episode: _Episode) -> Any:
    rng = episode.rng
    if parameter.get("enum"):
        return rng.choice(parameter["enum"])
    kind = parameter.get("type", "string")
    if kind in {"integer", "number"}:
        return rng.randint(0, 100)
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "array":
        return [rng.choice(episode.words)]
    if kind == "object":
        return {}
    example = parameter.get("example_value")
    return example if example and rng.random() < 0.5 else rng.choice(episode.words)

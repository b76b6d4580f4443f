"""Demonstrations for imitation learning: the gold solution with mistakes at a given rate."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from random import Random
from typing import Any, Self

from agents.base import EpisodeAgent, Info
from agents.baselines.heuristics import query_of
from agents.baselines.oracle import OracleEpisode, answer, begin_oracle, write
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.seeding import task_random, vary
from steptool_env.errors import ConfigurationError
from steptool_env.types import FINISH, Trajectory


@dataclass(frozen=True)
class Noise:
    """Probabilities of a mistake in place of the next correct action, per step. Their sum is at most 1.

    After a mistake the episode continues with the correct action; an early finish ends it.
    """

    wrong_tool: float = 0.0
    """Call another offered function, with the arguments of the correct one."""
    wrong_argument: float = 0.0
    """Call the correct function with one argument changed."""
    repetition: float = 0.0
    """Repeat the last call."""
    early_finish: float = 0.0
    """Finish with words of the query as the answer."""

    def __post_init__(self) -> None:
        rates = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, rate in rates.items():
            if not 0 <= rate <= 1:
                raise ConfigurationError(f"{name}={rate!r}: must be a probability, 0 to 1")
        if sum(rates.values()) > 1:
            raise ConfigurationError(f"noise: the rates {rates} add up to more than 1")

    @classmethod
    def evenly(cls, rate: float) -> Self:
        """Return equal rates of the four mistakes that sum to `rate`."""
        return cls(rate / 4, rate / 4, rate / 4, rate / 4)


@dataclass
class _Episode:
    inner: OracleEpisode
    functions: list[str]
    query: str
    rng: Random
    last: str = ""


class NoisyOracleAgent(EpisodeAgent[_Episode]):
    """Oracle with mistakes. Its actions depend on the seed and the task only.

    `rate` is the probability of a mistake per step, divided evenly among the four kinds; `noise` replaces it.
    """

    def __init__(self, rate: float = 0.2, *, seed: int = 0, noise: Noise | Mapping[str, float] | None = None) -> None:
        super().__init__("noisy-oracle")
        self.noise = noise if isinstance(noise, Noise) else Noise(**noise) if noise else Noise.evenly(float(rate))
        self.seed = seed

    def begin(self, info: Info) -> _Episode:
        """See `EpisodeAgent.begin`. Raises `ConfigurationError` as `begin_oracle` does."""
        functions = [function["name"] for function in info["functions"] if function["name"] != FINISH]
        return _Episode(begin_oracle(info), functions, query_of(info), task_random(self.seed, info))

    def vary(self, episode: _Episode, attempt: int) -> None:
        """See `EpisodeAgent.vary`."""
        vary(episode.rng, attempt)

    def decide(self, episode: _Episode, observation: str, info: Info) -> str:
        """See `EpisodeAgent.decide`."""
        episode.inner.observe(observation, info)
        if mistake := self._mistake(episode):
            return mistake
        episode.last = episode.inner.decide()
        return episode.last

    def _mistake(self, episode: _Episode) -> str:
        """Return a mistake; an empty text if none is drawn or possible."""
        noise, draw = self.noise, episode.rng.random()
        call = episode.inner.oracle.next_call()
        if draw < (edge := noise.wrong_tool):
            return _wrong_tool(episode, call) if call else ""
        if draw < (edge := edge + noise.wrong_argument):
            return _wrong_argument(episode, call) if call else ""
        if draw < (edge := edge + noise.repetition):
            return episode.last
        if draw < edge + noise.early_finish:
            words = episode.query.split()
            return answer(episode.inner.format, " ".join(episode.rng.choices(words, k=min(2, len(words)))))
        return ""


def demonstrate(
    evaluation: Evaluation,
    noise: Noise | None = None,
    seed: int = 0,
    on_episode: Callable[[Trajectory], None] = lambda _: None,
    on_start: Callable[[int], None] = lambda _: None,
) -> list[Trajectory]:
    """Return demonstrations of the tasks of an environment that has an oracle.

    `seed` is that of the mistakes, which the default leaves out. For `on_episode` and `on_start` see `evaluate`.
    """
    return evaluate(evaluation, NoisyOracleAgent(seed=seed, noise=noise or Noise()), on_episode, on_start)


def _wrong_tool(episode: _Episode, call: Any) -> str:
    others = [name for name in episode.functions if name != call.function]
    if not others:
        return ""
    return write(episode.inner.format, episode.rng.choice(others), call.arguments)


def _wrong_argument(episode: _Episode, call: Any) -> str:
    if not call.arguments:
        return ""
    name = episode.rng.choice(sorted(call.arguments))
    changed = {**call.arguments, name: _changed(call.arguments[name], episode.rng)}
    return write(episode.inner.format, call.function, changed)


def _changed(value: Any, rng: Random) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return json.dumps(value)
    if isinstance(value, int | float):
        return value + rng.randint(1, 9)
    place = rng.randrange(len(value)) if value else 0
    return value[:place] + value[place + 1 :] or "?"

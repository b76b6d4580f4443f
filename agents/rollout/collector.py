"""Rollout collection: a policy plays token-level episodes in an episode pool."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.base import Info
from agents.errors import ModelError
from agents.models.chat_template import Codec
from agents.rollout.engine import RolloutEngine
from agents.rollout.episode_loop import EpisodeLoop, Opening, Start
from agents.rollout.episode_pool import EpisodePool
from agents.rollout.types import End, Sampled, TokenEpisode, episode_metrics
from steptool_env.episodes.episode import Transition
from steptool_env.types import FINISHED
from toolserver.catalog.api_schema import StatusCode

_LOST_ROLLOUTS = 8  # consecutive rollouts without an episode that a run outlasts
_LONGEST_WAIT = 60.0  # seconds
INVALID = frozenset({StatusCode.NO_SUCH_FUNCTION, StatusCode.BAD_INPUT})
"""Status codes of steps without a valid call of an offered function."""


@dataclass(frozen=True)
class EpisodeSpec:
    """Seed of the environment and group id of one episode."""

    seed: int
    group: int = 0


@dataclass(frozen=True)
class RolloutJob:
    """Episodes to play: specs, seed of the sampler and stage of the curriculum."""

    specs: Sequence[EpisodeSpec]
    seed: int
    stage: int = 0


@dataclass
class Rollout:
    """Collected episodes, in the order of their specs.

    Attributes:
        episodes: Completed episodes.
        calls: Number of environment steps, without those that no tool server took.
        dropped: Number of episodes lost to an unreachable tool server; `episodes` excludes them.
        sample_seconds: Seconds spent in the engine.
        env_seconds: Seconds spent in the environment.
        outcomes: Number of episodes by the outcome of their harness; empty without one.
    """

    episodes: list[TokenEpisode] = field(default_factory=list)
    calls: int = 0
    dropped: int = 0
    sample_seconds: float = 0.0
    env_seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)

    def metrics(self) -> dict[str, float]:
        """Return `rollout/...`: means over the episodes, without branches, and the number of dropped ones."""
        whole = [episode for episode in self.episodes if not episode.is_branch]
        names = sorted({name for episode in whole for name in episode.metrics})
        means = {f"rollout/{n}": sum(e.metrics.get(n, 0.0) for e in whole) / max(1, len(whole)) for n in names}
        played = max(1, self.outcomes.total() - self.outcomes["silent"])
        ends = {f"rollout/harness_{name}": count / played for name, count in sorted(self.outcomes.items())}
        return {**means, **ends, "rollout/dropped": float(self.dropped)}

    def timing(self, total: float, training: float) -> dict[str, float]:
        """Return `time/...`: seconds of an iteration and of its parts, calls and sampled tokens per second."""
        playing = max(self.sample_seconds + self.env_seconds, 1e-9)
        sampled = sum(episode.action_tokens for episode in self.episodes)
        return {
            "time/iteration_seconds": total,
            "time/sample_seconds": self.sample_seconds,
            "time/env_seconds": self.env_seconds,
            "time/train_seconds": training,
            "time/calls_per_second": self.calls / playing,
            "time/sampled_tokens_per_second": sampled / playing,
        }


def merge_rollouts(rollouts: Sequence[Rollout]) -> Rollout:
    """Merge rollouts that were collected at the same time."""
    return Rollout(
        episodes=[episode for rollout in rollouts for episode in rollout.episodes],
        calls=sum(rollout.calls for rollout in rollouts),
        dropped=sum(rollout.dropped for rollout in rollouts),
        sample_seconds=max(rollout.sample_seconds for rollout in rollouts),
        env_seconds=max(rollout.env_seconds for rollout in rollouts),
        outcomes=sum((rollout.outcomes for rollout in rollouts), Counter()),
    )


@dataclass
class EpisodeBuilder:
    """Episode in progress."""

    order: int
    group: int
    ids: list[int]
    task: str
    state: str
    format: str
    lineage: tuple[int, ...] = ()
    spans: list[tuple[int, int]] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    hidden: list[NDArray[Any] | None] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    state_hashes: list[str] = field(default_factory=list)
    invalid: int = 0

    def act(self, sampled: Sampled) -> None:
        """Append a sampled action."""
        self.state_hashes.append(state_hash(self.task, self.state))
        self.spans.append((len(self.ids), len(self.ids) + len(sampled.ids)))
        self.ids.extend(sampled.ids)
        self.log_probs.extend(sampled.log_probs)
        self.hidden.append(sampled.hidden)

    def reward(self, reward: float, info: Info) -> None:
        """Append the reward of the last action."""
        self.rewards.append(reward)
        self.invalid += int(info.get("status", 0)) in INVALID

    def finish(self, end: End, info: Info) -> TokenEpisode:
        """Return the finished episode."""
        rewards = tuple(float(r) for r in info.get("step_rewards", self.rewards))[-len(self.spans) :]
        finished = end == "terminated" and info.get("status", StatusCode.FINAL_ANSWER) in FINISHED
        metrics = episode_metrics(info.get("outcome") or {}, rewards, invalid=self.invalid, finished=finished)
        metrics |= {"tokens": float(len(self.ids)), "context_full": float(end == "context")}
        states = [state for state in self.hidden if state is not None]
        return TokenEpisode(
            ids=tuple(self.ids),
            spans=tuple(self.spans),
            log_probs=tuple(self.log_probs),
            rewards=rewards,
            end=end,
            group=self.group,
            state_hashes=tuple(self.state_hashes),
            metrics=metrics,
            lineage=self.lineage,
            hidden=np.concatenate(states) if len(states) == len(self.spans) else None,
            trajectory=info.get("trajectory"),
        )


def collect_rollouts(pool: EpisodePool, engine: RolloutEngine, codec: Codec, specs: Sequence[EpisodeSpec]) -> Rollout:
    """Play one episode per spec. A slot whose episode ends takes the next spec.

    Raises:
        ModelError: A prompt leaves no room for an action in the model's context.
    """
    recorder = Recorder(pool, engine, codec, specs)
    return record_rollout(recorder, EpisodeLoop(pool, recorder))


def record_rollout(recorder: Recorder, loop: EpisodeLoop) -> Rollout:
    """Play the episodes of a recorder in its loop."""
    recorder.engine.clear()
    for _ in loop.play([Start(spec.seed) for spec in recorder.specs]):
        pass
    rollout = recorder.rollout
    rollout.episodes = [recorder.done[order] for order in sorted(recorder.done)]
    rollout.sample_seconds, rollout.env_seconds = loop.act_seconds, loop.step_seconds
    return rollout


class Recorder:
    """Player whose actions an engine samples. It records the episodes token by token."""

    def __init__(self, pool: EpisodePool, engine: RolloutEngine, codec: Codec, specs: Sequence[EpisodeSpec]) -> None:
        self.rollout = Rollout()
        self.done: dict[int, TokenEpisode] = {}
        self._pool, self.engine, self._codec, self.specs = pool, engine, codec, specs
        # An episode's actions depend neither on the number of slots nor on the other episodes, up to the rounding of
        # logits, which depends on the number of rows of a batch.
        self._streams = streams_of(specs)
        self._builders: dict[int, EpisodeBuilder] = {}
        self._stopped: dict[int, bool] = {}  # by slot, whether the last action reached its stop token

    def begin(self, openings: Mapping[int, Opening]) -> None:
        """See `Player.begin`."""
        for slot, (order, text, info) in openings.items():
            ids = self._codec.encode_prompt(text, info)
            self.engine.start(slot, ids, self._streams[order])
            if self.engine.remaining_tokens(slot) < 1:
                raise ModelError(
                    f"a prompt of {len(ids)} tokens leaves no room for an action; raise the context length, "
                    "or choose an environment with shorter prompts"
                )
            group = self.specs[order].group
            self._builders[slot] = EpisodeBuilder(
                order, group, ids, str(info.get("task_id", "")), text, str(info.get("format", ""))
            )
        self.engine.request(list(openings))

    def act(self) -> dict[int, str]:
        """See `Player.act`."""
        ended = self.engine.decode()
        for slot, sampled in ended.items():
            self._builders[slot].act(sampled)
            self._stopped[slot] = sampled.stopped
        return {slot: self._codec.decode_action(sampled.ids) for slot, sampled in ended.items()}

    def observe(self, slot: int, transition: Transition) -> bool:
        """See `Player.observe`."""
        observation, reward, terminated, truncated, info = transition
        if "transport_error" in info:  # no step: a server that is away uses up no calls of the run
            self.rollout.dropped += 1
            return self._free(slot)
        self.rollout.calls += 1
        self._builders[slot].reward(float(reward), info)
        if terminated:
            return self._end(slot, "terminated", info)
        if not self._append(slot, observation):
            return self._end(slot, "context", info if truncated else self._pool.truncate(slot))
        if truncated:
            return self._end(slot, "truncated", info)
        self.engine.request([slot])
        return True

    def _append(self, slot: int, observation: str) -> bool:
        """Append the observation if it leaves room for an action; else append nothing and return false.

        A stop token, which is not trained on, closes an action that was cut.
        """
        builder = self._builders[slot]
        ids = self._codec.encode_observation(observation, builder.format)
        ids = ids if self._stopped[slot] else [self._codec.stop_id, *ids]
        if len(ids) >= self.engine.remaining_tokens(slot):
            return False
        builder.state = observation
        builder.ids.extend(ids)
        self.engine.append(slot, ids)
        return True

    def _end(self, slot: int, end: End, info: Info) -> bool:
        builder = self._builders[slot]
        self.done[builder.order] = builder.finish(end, info)
        return self._free(slot)

    def _free(self, slot: int) -> bool:
        del self._builders[slot]
        self.engine.free(slot)
        return False


def streams_of(specs: Sequence[EpisodeSpec]) -> list[str]:
    """Return the names of the random streams of episodes."""
    numbers = numbered(spec.seed for spec in specs)
    return [f"{spec.seed}/{number}" for spec, number in zip(specs, numbers, strict=True)]


def numbered(keys: Iterable[int]) -> list[int]:
    """Return the number of each key among those equal to it, from 0."""
    numbers: defaultdict[int, Iterator[int]] = defaultdict(count)
    return [next(numbers[key]) for key in keys]


def state_hash(task: str, observation: str) -> str:
    """Return a hash of the state before an action: the task and the last observation."""
    return blake2b(f"{task}\0{observation}".encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class ServerBackoff:
    """Exponential backoff while the tool server is unreachable: 1, 2, 4, ... seconds, after the client's own retries.

    `tries` is the maximum number of consecutive rollouts without an episode.
    """

    def __init__(self, tries: int = _LOST_ROLLOUTS, sleep: Callable[[float], None] = time.sleep) -> None:
        self._tries, self._sleep = tries, sleep
        self._lost = 0

    def wait(self, rollout: Rollout) -> bool:
        """Wait after a rollout that lost every episode. Return False after too many of them in a row."""
        self._lost = self._lost + 1 if rollout.dropped and not rollout.episodes else 0
        if self._lost > self._tries:
            return False
        if self._lost:
            self._sleep(min(2.0 ** (self._lost - 1), _LONGEST_WAIT))
        return True

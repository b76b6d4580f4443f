"""Rollouts: many episodes at once, from a vector environment and an engine to token episodes."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple, cast

import numpy as np
from gymnasium.vector import SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from agents.errors import ModelError
from agents.models.chat_template import Codec
from agents.rollout.engine import RolloutEngine
from agents.rollout.sampler import Sampled
from agents.training.batch import End, Episode
from steptool_env.types import FINISHED
from toolserver.catalog.api_schema import StatusCode

_IDLE = ""  # the action of a slot that has nothing to do: no call, so no tool is reached
_INVALID = frozenset({1, 2})  # status codes of a text that is no valid call
Info = Mapping[str, Any]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class EpisodeSpec:
    """One episode to be played: the environment's seed, and the group that it is compared in."""

    seed: int
    group: int = 0


@dataclass
class Rollout:
    """Episodes in the order in which they were asked for, and what it took.

    Attributes:
        episodes: Those that came to an end.
        calls: Environment steps.
        dropped: Episodes lost to an unreachable tool server; they are not in `episodes`.
        sample_seconds: Time in the model.
        env_seconds: Time in the environment.
    """

    episodes: list[Episode] = field(default_factory=list)
    calls: int = 0
    dropped: int = 0
    sample_seconds: float = 0.0
    env_seconds: float = 0.0

    def metrics(self) -> dict[str, float]:
        """`rollout/...`: means over the episodes, and how many were dropped."""
        names = sorted({name for episode in self.episodes for name in episode.metrics})
        count = max(1, len(self.episodes))
        means = {f"rollout/{n}": sum(e.metrics.get(n, 0.0) for e in self.episodes) / count for n in names}
        return {**means, "rollout/dropped": float(self.dropped)}

    def timing(self, total: float, training: float) -> dict[str, float]:
        """`time/...`: seconds of an iteration and what they went into, calls and sampled tokens per second."""
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


def merged(rollouts: Sequence[Rollout]) -> Rollout:
    """Rollouts that were played at the same time, as one."""
    return Rollout(
        episodes=[episode for rollout in rollouts for episode in rollout.episodes],
        calls=sum(rollout.calls for rollout in rollouts),
        dropped=sum(rollout.dropped for rollout in rollouts),
        sample_seconds=max(rollout.sample_seconds for rollout in rollouts),
        env_seconds=max(rollout.env_seconds for rollout in rollouts),
    )


class _Step(NamedTuple):
    """What the environment gave one slot."""

    observation: str
    reward: float
    terminated: bool
    truncated: bool


@dataclass
class EpisodeBuilder:
    """An episode that is being played."""

    order: int
    group: int
    ids: list[int]
    task: str
    state: str
    format: str
    spans: list[tuple[int, int]] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    anchors: list[str] = field(default_factory=list)
    invalid: int = 0

    def act(self, sampled: Sampled) -> None:
        """Append a sampled action."""
        self.anchors.append(_anchor(self.task, self.state))
        self.spans.append((len(self.ids), len(self.ids) + len(sampled.ids)))
        self.ids.extend(sampled.ids)
        self.log_probs.extend(sampled.log_probs)

    def reward(self, reward: float, info: Info) -> None:
        """Append the reward of the last action."""
        self.rewards.append(reward)
        self.invalid += int(info.get("status", 0)) in _INVALID

    def finish(self, end: End, info: Info) -> Episode:
        """Return the finished episode."""
        rewards = tuple(float(r) for r in info.get("step_rewards", self.rewards))
        outcome = info.get("outcome") or {}
        metrics = {str(k): float(v) for k, v in outcome.items() if isinstance(v, int | float | np.number)}
        metrics |= {
            "return": sum(rewards),
            "calls": len(self.spans),
            "finished": float(end == "terminated" and info.get("status", StatusCode.FINAL_ANSWER) in FINISHED),
            "invalid_calls": self.invalid / len(self.spans),
            "tokens": len(self.ids),
            "context_full": float(end == "context"),
        }
        return Episode(
            ids=tuple(self.ids),
            spans=tuple(self.spans),
            log_probs=tuple(self.log_probs),
            rewards=rewards,
            end=end,
            group=self.group,
            anchors=tuple(self.anchors),
            metrics={"is_solved": 0.0, **metrics},
        )


class Collector:
    """Plays episodes.

    Args:
        envs: A vector environment of text in `AutoresetMode.DISABLED`, so that each slot is given its next
            episode here, by seed.
        engine: Samples the actions.
        codec: Text <-> tokens.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any], engine: RolloutEngine, codec: Codec) -> None:
        self._envs, self._engine, self._codec = envs, engine, codec
        self._drafts: dict[int, EpisodeBuilder] = {}
        self._streams: Sequence[str] = ()

    def collect(self, starts: Sequence[EpisodeSpec]) -> Rollout:
        """Play an episode for each start. A slot whose episode ends goes on with the next start.

        Raises:
            ModelError: A prompt leaves no room for an action in the model's context.
        """
        result, done = Rollout(), dict[int, Episode]()
        queue = deque(enumerate(starts))
        self._streams = _streams(starts)
        self._engine.clear()
        self._drafts.clear()
        self._reset(np.ones(self._envs.num_envs, dtype=np.bool_), queue)
        while self._drafts:
            over = self._step(result, done)
            if over.any() and (self._drafts or queue):
                self._reset(over, queue)
        result.episodes = [done[order] for order in sorted(done)]
        return result

    def _reset(self, mask: Flags, queue: deque[tuple[int, EpisodeSpec]]) -> None:
        """Give the masked slots their next episodes; a slot without one idles in an episode that nobody reads."""
        slots = [int(slot) for slot in np.flatnonzero(mask)]
        taken = {slot: queue.popleft() for slot in slots[: len(queue)]}
        seeds = [taken[slot][1].seed if slot in taken else 0 for slot in range(self._envs.num_envs)]
        observations, infos = self._envs.reset(seed=cast(int, seeds), options={"reset_mask": mask})
        for slot, (order, start) in taken.items():
            info = slot_info(infos, slot)
            text = str(observations[slot])
            ids = self._codec.opening(text, info)
            self._engine.start(slot, ids, self._streams[order])
            if self._engine.room(slot) < 1:
                raise ModelError(
                    f"a prompt of {len(ids)} tokens leaves no room for an action; raise the context length, "
                    "or choose an environment with shorter prompts"
                )
            self._drafts[slot] = EpisodeBuilder(
                order, start.group, ids, str(info.get("task_id", "")), text, str(info.get("format", ""))
            )

    def _step(self, result: Rollout, done: dict[int, Episode]) -> Flags:
        """One action in every slot. Returns the slots that need a reset."""
        begin = time.perf_counter()
        sampled = dict(zip(self._drafts, self._engine.act(list(self._drafts)), strict=True))
        sampled_at = time.perf_counter()
        observations, rewards, terminated, truncated, infos = self._envs.step(self._actions(sampled))
        result.sample_seconds += sampled_at - begin
        result.env_seconds += time.perf_counter() - sampled_at
        for slot in list(self._drafts):
            step = _Step(str(observations[slot]), float(rewards[slot]), bool(terminated[slot]), bool(truncated[slot]))
            self._absorb(slot, sampled[slot], step, slot_info(infos, slot), result, done)
        ended = [slot in sampled and slot not in self._drafts for slot in range(self._envs.num_envs)]
        return cast(Flags, np.array(ended) | terminated | truncated)

    def _actions(self, sampled: Mapping[int, Sampled]) -> tuple[str, ...]:
        """The text of every slot's action, noted in its draft."""
        texts = [_IDLE] * self._envs.num_envs
        for slot, draft in self._drafts.items():
            draft.act(sampled[slot])
            texts[slot] = self._codec.action_text(sampled[slot].ids)
        return tuple(texts)

    def _absorb(
        self, slot: int, sampled: Sampled, step: _Step, info: Info, result: Rollout, done: dict[int, Episode]
    ) -> None:
        """Take what came of one slot's action."""
        result.calls += 1
        if "transport_error" in info:
            result.dropped += 1
            self._drop(slot)
            return
        self._drafts[slot].reward(step.reward, info)
        if step.terminated:
            self._end(slot, "terminated", info, done)
        elif not self._observe(slot, step.observation, sampled):
            self._end(slot, "context", info if step.truncated else truncate(self._envs, slot), done)
        elif step.truncated:
            self._end(slot, "truncated", info, done)

    def _observe(self, slot: int, observation: str, sampled: Sampled) -> bool:
        """Append the tools' answer, where that leaves room for an action; else nothing, and return false.

        An action that was cut is closed by a stop token that nobody sampled.
        """
        draft = self._drafts[slot]
        ids = self._codec.continuation(observation, draft.format)
        ids = ids if sampled.stopped else [self._codec.stop_id, *ids]
        if len(ids) >= self._engine.room(slot):
            return False
        draft.state = observation
        draft.ids.extend(ids)
        self._engine.append(slot, ids)
        return True

    def _end(self, slot: int, end: End, info: Info, done: dict[int, Episode]) -> None:
        draft = self._drafts[slot]
        done[draft.order] = draft.finish(end, info)
        self._drop(slot)

    def _drop(self, slot: int) -> None:
        del self._drafts[slot]
        self._engine.free(slot)


def truncate(envs: VectorEnv[Any, Any, Any], slot: int) -> Info:
    """End one slot's episode where it is. Returns its last info, empty where the environment has no `truncate`."""
    vector = envs.unwrapped
    if isinstance(vector, SyncVectorEnv):
        single = getattr(vector.envs[slot].unwrapped, "truncate", None)
        return single() if single else {}
    several = getattr(vector, "truncate", None)
    return several(slot) if several else {}


def _streams(starts: Sequence[EpisodeSpec]) -> list[str]:
    """The name of each episode's draws: its seed, and which of the episodes with that seed it is.

    So an episode's actions do not depend on how many slots there are, or on which episodes end before it begins.
    """
    begun: Counter[int] = Counter()
    names = []
    for start in starts:
        names.append(f"{start.seed}/{begun[start.seed]}")
        begun[start.seed] += 1
    return names


def slot_info(infos: Info, slot: int) -> dict[str, Any]:
    """What a vector environment's `infos` say of one slot: entries whose `_key` mask is set there."""
    found: dict[str, Any] = {}
    for key, value in infos.items():
        mask = infos.get(f"_{key}")
        if mask is None or not mask[slot]:
            continue
        found[key] = slot_info(value, slot) if isinstance(value, Mapping) else value[slot]
    return found


def _anchor(task: str, observation: str) -> str:
    """A name for the state in which an action is chosen: the task and what was last seen."""
    return blake2b(f"{task}\0{observation}".encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

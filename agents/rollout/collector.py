"""Rollout collection: a vector environment and an engine play token-level episodes."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple, cast

import numpy as np
from gymnasium.vector import SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from agents.errors import ModelError
from agents.models.chat_template import Codec
from agents.rollout.engine import RolloutEngine
from agents.rollout.types import End, Sampled, TokenEpisode, episode_metrics
from steptool_env.types import FINISHED
from toolserver.catalog.api_schema import StatusCode

_LOST_ROLLOUTS = 8  # consecutive rollouts without an episode after which a run ends
_LONGEST_WAIT = 60.0  # seconds
_IDLE = ""  # action of an unused slot: no call, so no request to a tool
_INVALID = frozenset({StatusCode.NO_SUCH_FUNCTION, StatusCode.BAD_INPUT})
Info = Mapping[str, Any]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class EpisodeSpec:
    """Seed of the environment and group id of one episode."""

    seed: int
    group: int = 0


@dataclass
class Rollout:
    """Collected episodes, in the order of their specs.

    Attributes:
        episodes: Completed episodes.
        calls: Number of environment steps.
        dropped: Number of episodes lost to an unreachable tool server; `episodes` excludes them.
        sample_seconds: Seconds spent in the engine.
        env_seconds: Seconds spent in the environment.
    """

    episodes: list[TokenEpisode] = field(default_factory=list)
    calls: int = 0
    dropped: int = 0
    sample_seconds: float = 0.0
    env_seconds: float = 0.0

    def metrics(self) -> dict[str, float]:
        """Return `rollout/...`: means over the episodes, and the number of dropped ones."""
        names = sorted({name for episode in self.episodes for name in episode.metrics})
        count = max(1, len(self.episodes))
        means = {f"rollout/{n}": sum(e.metrics.get(n, 0.0) for e in self.episodes) / count for n in names}
        return {**means, "rollout/dropped": float(self.dropped)}

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
    )


class _Step(NamedTuple):
    """Result of one slot's step."""

    observation: str
    reward: float
    terminated: bool
    truncated: bool


@dataclass
class EpisodeBuilder:
    """Episode in progress."""

    order: int
    group: int
    ids: list[int]
    task: str
    state: str
    format: str
    spans: list[tuple[int, int]] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    state_hashes: list[str] = field(default_factory=list)
    invalid: int = 0

    def act(self, sampled: Sampled) -> None:
        """Append a sampled action."""
        self.state_hashes.append(state_hash(self.task, self.state))
        self.spans.append((len(self.ids), len(self.ids) + len(sampled.ids)))
        self.ids.extend(sampled.ids)
        self.log_probs.extend(sampled.log_probs)

    def reward(self, reward: float, info: Info) -> None:
        """Append the reward of the last action."""
        self.rewards.append(reward)
        self.invalid += int(info.get("status", 0)) in _INVALID

    def finish(self, end: End, info: Info) -> TokenEpisode:
        """Return the finished episode."""
        rewards = tuple(float(r) for r in info.get("step_rewards", self.rewards))
        finished = end == "terminated" and info.get("status", StatusCode.FINAL_ANSWER) in FINISHED
        metrics = episode_metrics(info.get("outcome") or {}, rewards, invalid=self.invalid, finished=finished)
        metrics |= {"tokens": float(len(self.ids)), "context_full": float(end == "context")}
        return TokenEpisode(
            ids=tuple(self.ids),
            spans=tuple(self.spans),
            log_probs=tuple(self.log_probs),
            rewards=rewards,
            end=end,
            group=self.group,
            state_hashes=tuple(self.state_hashes),
            metrics=metrics,
        )


def collect_rollouts(
    envs: VectorEnv[Any, Any, Any], engine: RolloutEngine, codec: Codec, specs: Sequence[EpisodeSpec]
) -> Rollout:
    """Play one episode per spec. A slot whose episode ends takes the next spec.

    Args:
        envs: Vector environment of text in `AutoresetMode.DISABLED`: each slot is reset here, with the spec's seed.
        engine: Samples the actions.
        codec: Text <-> tokens.
        specs: Episodes to play.

    Raises:
        ModelError: A prompt leaves no room for an action in the model's context.
    """
    return _Collection(envs, engine, codec, specs).run()


class _Collection:
    """State of one `collect_rollouts`."""

    def __init__(
        self, envs: VectorEnv[Any, Any, Any], engine: RolloutEngine, codec: Codec, specs: Sequence[EpisodeSpec]
    ) -> None:
        self._envs, self._engine, self._codec = envs, engine, codec
        self._queue, self._streams = deque(enumerate(specs)), _streams(specs)
        self._builders: dict[int, EpisodeBuilder] = {}
        self._done: dict[int, TokenEpisode] = {}
        self._rollout = Rollout()

    def run(self) -> Rollout:
        """Play all episodes."""
        self._engine.clear()
        self._reset(np.ones(self._envs.num_envs, dtype=np.bool_))
        while self._builders:
            ended = self._step()
            if ended.any() and (self._builders or self._queue):
                self._reset(ended)
        self._rollout.episodes = [self._done[order] for order in sorted(self._done)]
        return self._rollout

    def _reset(self, mask: Flags) -> None:
        """Start the next episodes in the masked slots. A slot without one plays an episode that is not recorded."""
        slots = [int(slot) for slot in np.flatnonzero(mask)]
        taken = {slot: self._queue.popleft() for slot in slots[: len(self._queue)]}
        seeds = [taken[slot][1].seed if slot in taken else 0 for slot in range(self._envs.num_envs)]
        observations, infos = self._envs.reset(seed=cast(int, seeds), options={"reset_mask": mask})
        for slot, (order, spec) in taken.items():
            info = slot_info(infos, slot)
            text = str(observations[slot])
            ids = self._codec.encode_prompt(text, info)
            self._engine.start(slot, ids, self._streams[order])
            if self._engine.room(slot) < 1:
                raise ModelError(
                    f"a prompt of {len(ids)} tokens leaves no room for an action; raise the context length, "
                    "or choose an environment with shorter prompts"
                )
            self._builders[slot] = EpisodeBuilder(
                order, spec.group, ids, str(info.get("task_id", "")), text, str(info.get("format", ""))
            )

    def _step(self) -> Flags:
        """Take one action in every slot. Return a mask of the slots that need a reset."""
        begin = time.perf_counter()
        sampled = dict(zip(self._builders, self._engine.act(list(self._builders)), strict=True))
        sampled_at = time.perf_counter()
        observations, rewards, terminated, truncated, infos = self._envs.step(self._actions(sampled))
        self._rollout.sample_seconds += sampled_at - begin
        self._rollout.env_seconds += time.perf_counter() - sampled_at
        for slot in list(self._builders):
            step = _Step(str(observations[slot]), float(rewards[slot]), bool(terminated[slot]), bool(truncated[slot]))
            self._record(slot, sampled[slot], step, slot_info(infos, slot))
        ended = [slot in sampled and slot not in self._builders for slot in range(self._envs.num_envs)]
        return cast(Flags, np.array(ended) | terminated | truncated)

    def _actions(self, sampled: Mapping[int, Sampled]) -> tuple[str, ...]:
        """Append the sampled actions to their episodes. Return the action text of every slot."""
        texts = [_IDLE] * self._envs.num_envs
        for slot, builder in self._builders.items():
            builder.act(sampled[slot])
            texts[slot] = self._codec.decode_action(sampled[slot].ids)
        return tuple(texts)

    def _record(self, slot: int, sampled: Sampled, step: _Step, info: Info) -> None:
        """Record the step of one slot; end its episode where the step was the last."""
        self._rollout.calls += 1
        if "transport_error" in info:
            self._rollout.dropped += 1
            self._free(slot)
            return
        self._builders[slot].reward(step.reward, info)
        if step.terminated:
            self._end(slot, "terminated", info)
        elif not self._observe(slot, step.observation, sampled):
            self._end(slot, "context", info if step.truncated else truncate(self._envs, slot))
        elif step.truncated:
            self._end(slot, "truncated", info)

    def _observe(self, slot: int, observation: str, sampled: Sampled) -> bool:
        """Append the observation if it leaves room for an action; else append nothing and return false.

        A stop token, which is not trained on, closes an action that was cut.
        """
        builder = self._builders[slot]
        ids = self._codec.encode_observation(observation, builder.format)
        ids = ids if sampled.stopped else [self._codec.stop_id, *ids]
        if len(ids) >= self._engine.room(slot):
            return False
        builder.state = observation
        builder.ids.extend(ids)
        self._engine.append(slot, ids)
        return True

    def _end(self, slot: int, end: End, info: Info) -> None:
        builder = self._builders[slot]
        self._done[builder.order] = builder.finish(end, info)
        self._free(slot)

    def _free(self, slot: int) -> None:
        del self._builders[slot]
        self._engine.free(slot)


def truncate(envs: VectorEnv[Any, Any, Any], slot: int) -> Info:
    """End one slot's episode. Return its last info, empty for an environment without `truncate`."""
    vector = envs.unwrapped
    if isinstance(vector, SyncVectorEnv):
        single = getattr(vector.envs[slot].unwrapped, "truncate", None)
        return single() if single else {}
    several = getattr(vector, "truncate", None)
    return several(slot) if several else {}


def _streams(specs: Sequence[EpisodeSpec]) -> list[str]:
    """Return the name of each episode's random stream: its seed and its index among the episodes with that seed.

    An episode's actions therefore do not depend on the number of slots or on the other episodes.
    """
    counts: Counter[int] = Counter()
    names = []
    for spec in specs:
        names.append(f"{spec.seed}/{counts[spec.seed]}")
        counts[spec.seed] += 1
    return names


def slot_info(infos: Info, slot: int) -> dict[str, Any]:
    """Return one slot's entries of a vector environment's `infos`: those whose `_key` mask is set."""
    found: dict[str, Any] = {}
    for key, value in infos.items():
        mask = infos.get(f"_{key}")
        if mask is None or not mask[slot]:
            continue
        found[key] = slot_info(value, slot) if isinstance(value, Mapping) else value[slot]
    return found


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

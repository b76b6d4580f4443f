"""Episodes played on from copies of their states: recorded steps restored, and the policy's own sampling."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gymnasium.utils import seeding

from agents.models.chat_template import Codec
from agents.rollout.collector import state_hash
from agents.rollout.engine import RolloutEngine
from agents.rollout.types import Sampled, TokenEpisode
from steptool_env.env import ToolEnv
from steptool_env.episodes.episode import Episode, step_episodes
from steptool_env.episodes.factory import EpisodeFactory

_REFILL = 64  # free slots that are filled together, so that equal prompts are read once


@dataclass(frozen=True)
class State:
    """State before a call.

    Attributes:
        group: Group of the episode: its task.
        record: The environment's episode, see `EpisodeFactory.record`.
        ids: Tokens so far.
        hash: Hash of the state, see `TokenEpisode.state_hashes`.
    """

    group: int
    record: dict[str, Any]
    ids: tuple[int, ...]
    hash: str


@dataclass(frozen=True)
class Played:
    """Episode from a state to its end.

    Attributes:
        episode: Tokens of the whole episode, with spans and rewards of the calls after the state.
        states: State before each of these calls.
        total: Sum of the rewards of the whole episode.
        solved: Final reward: `is_solved`.
    """

    episode: TokenEpisode
    states: tuple[State, ...]
    total: float
    solved: float


@dataclass
class _Running:
    """Episode in progress."""

    order: int
    episode: Episode
    ids: list[int]
    states: list[State]
    format: str
    spans: list[tuple[int, int]] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)


class Forks:
    """Plays episodes of one environment from any state.

    Args:
        env: Environment; its tasks, settings and client are used.
        engine: Engine that samples the calls.
        codec: Text <-> tokens.
        slots: Number of episodes at the same time.
    """

    def __init__(self, env: ToolEnv, engine: RolloutEngine, codec: Codec, slots: int) -> None:
        self._factory, self._client = EpisodeFactory(env.suite, env.config), env.client
        self._engine, self._codec, self._slots = engine, codec, slots

    def start(self, seed: int, group: int) -> State:
        """Return the first state of the task that `seed` draws."""
        episode = self._factory.start(seeding.np_random(seed)[0], None)
        text, info = episode.prompt()
        ids = tuple(self._codec.encode_prompt(text, info))
        return State(group, self._factory.record(episode), ids, state_hash(episode.task.id, text))

    def play(self, starts: Sequence[tuple[State, str]]) -> list[Played]:
        """Play on from each state, with a random stream of that name. Results are in the same order."""
        queue, live = deque(enumerate(starts)), dict[int, _Running]()
        done: dict[int, Played] = {}
        self._engine.clear()
        while queue or live:
            free = [slot for slot in range(self._slots) if slot not in live]
            if len(free) >= min(_REFILL, self._slots) or not live:
                for slot in free[: len(queue)]:
                    order, (state, stream) = queue.popleft()
                    episode = self._factory.restore(state.record)
                    live[slot] = _Running(order, episode, list(state.ids), [state], episode.prompt()[1]["format"])
                    self._engine.start(slot, state.ids, stream)
                    self._engine.request([slot])
            self._step(live, self._engine.decode(), done)
        return [done[order] for order in range(len(starts))]

    def _step(self, live: dict[int, _Running], sampled: dict[int, Sampled], done: dict[int, Played]) -> None:
        """Take the sampled calls; move the episodes that end from `live` to `done`."""
        moves = [(live[slot].episode, self._codec.decode_action(action.ids)) for slot, action in sampled.items()]
        for (slot, action), transition in zip(sampled.items(), step_episodes(self._client, moves), strict=True):
            draft, info = live[slot], transition.info
            draft.spans.append((len(draft.ids), len(draft.ids) + len(action.ids)))
            draft.ids.extend(action.ids)
            draft.log_probs.extend(action.log_probs)
            if not draft.episode.over:
                ids = self._codec.encode_observation(transition.observation, draft.format)
                ids = ids if action.stopped else [self._codec.stop_id, *ids]
                if len(ids) < self._engine.remaining_tokens(slot):
                    draft.ids.extend(ids)
                    self._engine.append(slot, ids)
                    hashed = state_hash(draft.episode.task.id, transition.observation)
                    record = self._factory.record(draft.episode)
                    draft.states.append(State(draft.states[0].group, record, tuple(draft.ids), hashed))
                    self._engine.request([slot])
                    continue
                info = draft.episode.truncate()
            done[draft.order] = _played(draft, info)
            del live[slot]
            self._engine.free(slot)


def _played(draft: _Running, info: dict[str, Any]) -> Played:
    rewards = [float(reward) for reward in info["step_rewards"]]
    episode = TokenEpisode(
        ids=tuple(draft.ids),
        spans=tuple(draft.spans),
        log_probs=tuple(draft.log_probs),
        rewards=tuple(rewards[len(rewards) - len(draft.spans) :]),
        group=draft.states[0].group,
        state_hashes=tuple(state.hash for state in draft.states),
    )
    return Played(episode, tuple(draft.states), sum(rewards), float(info["outcome"]["is_solved"]))

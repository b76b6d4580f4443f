"""Loop of concurrent episodes: a slot steps as soon as its action has ended, and takes the next episode at once."""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

from agents.base import AgentFailure
from agents.rollout.episode_pool import EpisodePool
from steptool_env.episodes.episode import Transition

_READY_SHARE = 1 / 8  # share of the episodes whose actions are ready at which a round of steps is awaited


class Start(NamedTuple):
    """Seed of an episode, and the index of its task; by default the seed draws the task."""

    seed: int
    task: int | None = None


class Opening(NamedTuple):
    """Index of an episode among the starts, and the observation and info of its reset."""

    episode: int
    observation: str
    info: dict[str, Any]


class Player(Protocol):
    """Chooses the actions of the episodes in a loop."""

    def begin(self, openings: Mapping[int, Opening]) -> None:
        """Start episodes, by slot. The player then chooses an action for each."""

    def act(self) -> Mapping[int, str]:
        """Go on choosing. Return the actions that are chosen, by slot; possibly none.

        An `AgentFailure` ends its episode.
        """

    def observe(self, slot: int, transition: Transition) -> bool:
        """Take the result of a slot's action. Return true if the episode goes on: the player then chooses the next."""


class EpisodeLoop:
    """Plays one episode per start in the slots of a pool.

    Where the steps of a pool wait for a server, they are taken in a thread: one round at a time, of all the actions
    that were chosen during the last one, while the player goes on choosing others. A round ends when a fixed share of
    the episodes waits for the next one, not when the server responds: equal runs have equal batches.

    Attributes:
        act_seconds: Seconds spent in `Player.act`.
        step_seconds: Seconds spent in steps of the environment, or waiting for them.
    """

    def __init__(self, pool: EpisodePool, player: Player) -> None:
        self._pool, self._player = pool, player
        self._live: dict[int, int] = {}  # episode of each slot in use
        self._ready: dict[int, str] = {}  # actions to take
        self._round: tuple[dict[int, str], Future[list[Transition]]] | None = None  # actions that are being taken
        self.act_seconds = self.step_seconds = 0.0

    def play(self, starts: Sequence[Start], slots: int | None = None) -> Iterator[tuple[int, Transition]]:
        """Yield index and last transition of each episode as it ends; use at most `slots` slots, by default all."""
        waiting = deque(enumerate(starts))
        free = list(range(self._pool.slots if slots is None else min(slots, self._pool.slots)))
        with ThreadPoolExecutor(1) as thread:
            while True:
                self._begin(free, waiting)
                if not self._live:
                    return
                begin = time.perf_counter()
                chosen = self._player.act() if self._choosing else {}
                failed = {slot: reason for slot, reason in chosen.items() if type(reason) is AgentFailure}
                self._ready |= {slot: action for slot, action in chosen.items() if slot not in failed}
                acted = time.perf_counter()
                transitions = [(slot, self._pool.abort(slot, str(reason))) for slot, reason in failed.items()]
                transitions += self._step(thread)
                self.act_seconds += acted - begin
                self.step_seconds += time.perf_counter() - acted
                for slot, transition in transitions:
                    if not self._player.observe(slot, transition):
                        yield self._live.pop(slot), transition
                        free.append(slot)

    @property
    def _choosing(self) -> bool:
        """True while the player has an action to choose."""
        taking = len(self._round[0]) if self._round else 0
        return len(self._live) > taking + len(self._ready)

    def _begin(self, free: list[int], waiting: deque[tuple[int, Start]]) -> None:
        openings = {}
        while free and waiting:
            slot, (episode, start) = free.pop(0), waiting.popleft()
            self._live[slot] = episode
            openings[slot] = Opening(episode, *self._pool.reset(slot, start.seed, start.task))
        if openings:
            self._player.begin(openings)

    def _step(self, thread: ThreadPoolExecutor) -> Iterable[tuple[int, Transition]]:
        """Take the actions that are ready. Return the transitions that are known."""
        if not self._pool.waits:
            actions, self._ready = self._ready, {}
            return zip(actions, self._pool.step(actions), strict=True)
        found: Iterable[tuple[int, Transition]] = ()
        waiting = len(self._ready) >= _READY_SHARE * len(self._live)
        if self._round is not None and (waiting or not self._choosing):
            found = list(zip(self._round[0], self._round[1].result(), strict=True))
            self._round = None
        if self._round is None and self._ready:
            self._round = self._ready, thread.submit(self._pool.step, self._ready)
            self._ready = {}
        return found

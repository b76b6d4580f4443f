"""Rollout collection with a harness: an agent of another framework plays the episodes.

One thread has the engine and the environments. Harnesses and the gateway's server post their requests for turns and
steps to it; requests that wait are taken together.
"""

import queue
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from agents.errors import HarnessError
from agents.gateway.episode import Event, HarnessEnd, HarnessEpisode, StepRequest, TurnRequest
from agents.gateway.gateway import Gateway
from agents.gateway.harness import start_harness
from agents.gateway.prefix_slots import PrefixSlots
from agents.models.bundle import PolicyBundle
from agents.rollout.collector import EpisodeSpec, Rollout, streams_of
from agents.rollout.engine import RolloutEngine
from agents.rollout.episode_pool import EpisodePool
from agents.rollout.types import End, TokenEpisode

_IDLE_SLOTS = 2  # of the engine, per episode: a harness that rewrites its history leaves one with each chat
_HUNG_PER_SLOT = 4  # harnesses per slot that may hang, each in a thread that cannot be ended


@dataclass(eq=False)
class _Live:
    """Episode in progress: its index, its slots in the pool and in the engine, its latest end, and its turns so far."""

    order: int
    slot: int
    prefixes: PrefixSlots
    deadline: float
    turns: int = 0


def collect_with_harness(
    pool: EpisodePool, engine: RolloutEngine, bundle: PolicyBundle, specs: Sequence[EpisodeSpec], gateway: Gateway
) -> Rollout:
    """Let a harness play one episode per spec. Draws are those of the environment's own loop for the same tokens.

    Episodes in which the harness asks the model for nothing have no tokens: they count in `Rollout.outcomes` alone, as
    `silent`.

    Raises:
        HarnessError: All episodes are silent, or too many harnesses hang.
    """
    return _HarnessCollector(pool, engine, bundle, specs, gateway).collect()


class _HarnessCollector:
    def __init__(
        self,
        pool: EpisodePool,
        engine: RolloutEngine,
        bundle: PolicyBundle,
        specs: Sequence[EpisodeSpec],
        gateway: Gateway,
    ) -> None:
        self._pool, self._engine, self._bundle, self._gateway = pool, engine, bundle, gateway
        self._specs, self._streams = specs, streams_of(specs)
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._numbers = count()
        self._live: dict[HarnessEpisode, _Live] = {}
        self._turns: dict[int, TurnRequest] = {}  # requests that the engine works on, by its slot
        self._done: dict[int, list[TokenEpisode]] = {}
        self._errors: list[str] = []
        self._hung = 0
        self._taken: list[Event] = []
        self.rollout = Rollout()

    def collect(self) -> Rollout:
        """Play the episodes."""
        self._engine.clear()
        waiting, free = deque(enumerate(self._specs)), list(range(self._pool.slots))
        try:
            while waiting or self._live:
                while waiting and free:
                    self._start(*waiting.popleft(), free.pop(0))
                free += self._advance()
        finally:
            self._close()
        rollout = self.rollout
        rollout.episodes = [episode for order in sorted(self._done) for episode in self._done[order]]
        if self._specs and not rollout.episodes and not rollout.dropped:
            reasons = f"; the first error: {self._errors[0]}" if self._errors else ""
            raise HarnessError(
                f"rollout.harness asked the policy for nothing in any of {len(self._specs)} episodes{reasons}; it must "
                "use `task.base_url` and `task.api_key`"
            )
        return rollout

    def _close(self) -> None:
        """Release the harnesses that still play: those that hang, and after an error all."""
        for episode in self._live:
            self._gateway.close_episode(episode)
        self._gateway.settle()
        for turn in self._turns.values():
            turn.refuse()
        while not self._events.empty():
            self._taken.append(self._events.get())
        for event in self._taken:
            if isinstance(event, TurnRequest):
                event.refuse()
            elif isinstance(event, StepRequest) and not event.future.done():
                event.future.set_result(None)

    def _start(self, order: int, spec: EpisodeSpec, slot: int) -> None:
        begin = time.perf_counter()
        observation, info = self._pool.reset(slot, spec.seed)
        self.rollout.env_seconds += time.perf_counter() - begin
        episode = HarnessEpisode(observation, info, self._bundle.codec, self._bundle.context, self._events.put)
        prefixes = PrefixSlots(self._engine, _IDLE_SLOTS, self._numbers)
        self._live[episode] = _Live(order, slot, prefixes, time.monotonic() + self._gateway.seconds)
        start_harness(self._gateway.harness, self._gateway.open(episode), episode, self._events.put)

    def _advance(self) -> list[int]:
        """Take the requests that wait, and go on with the answers. Return the slots of episodes that ended."""
        events = self._taken = self._next_events()
        begin = time.perf_counter()
        self._step([event for event in events if isinstance(event, StepRequest)])
        stepped = time.perf_counter()
        for event in events:
            if isinstance(event, TurnRequest):
                self._ask(event)
        for number, sampled in (self._engine.decode() if self._turns else {}).items():
            turn = self._turns.pop(number, None)
            if turn is not None:
                self._live[turn.episode].prefixes.release(number, sampled.ids)
                if turn.future.set_running_or_notify_cancel():
                    turn.future.set_result(sampled)
        self.rollout.env_seconds += stepped - begin
        self.rollout.sample_seconds += time.perf_counter() - stepped
        ended = [self._end(event) for event in events if isinstance(event, HarnessEnd) and event.episode in self._live]
        now = time.monotonic()
        late = [episode for episode, live in self._live.items() if live.deadline <= now]
        for episode in late:
            self._hung += 1
            ended.append(self._end(HarnessEnd(episode, "timed_out", error=f"took over {self._gateway.seconds:g} s")))
        if self._hung > _HUNG_PER_SLOT * self._pool.slots:
            raise HarnessError(
                f"{self._hung} episodes of a rollout took longer than rollout.harness_seconds="
                f"{self._gateway.seconds:g}; give the harness a limit of its own, or raise the setting"
            )
        return ended

    def _next_events(self) -> list[Event]:
        """Return the events that wait; wait for the first one where the engine has nothing to do."""
        events: list[Event] = []
        if not self._turns:
            deadline = min(live.deadline for live in self._live.values())
            try:
                events.append(self._events.get(timeout=max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                return []
        while not self._events.empty():
            events.append(self._events.get())
        return events

    def _ask(self, turn: TurnRequest) -> None:
        live = self._live.get(turn.episode)
        if live is None or turn.future.cancelled():
            turn.refuse()
            return
        stream = self._streams[live.order]
        number, turn.cached = live.prefixes.place(turn.ids, f"{stream}/turn-{live.turns}" if live.turns else stream)
        live.turns += 1
        self._turns[number] = turn
        self._engine.request([number])

    def _step(self, requests: Sequence[StepRequest]) -> None:
        """Take steps together: one of each episode at a time."""
        while requests:
            now: dict[int, StepRequest] = {}
            later = []
            for request in requests:
                live = self._live.get(request.episode)
                if live is None or request.episode.over:
                    request.future.set_result(None)
                elif live.slot in now:
                    later.append(request)
                else:
                    now[live.slot] = request
            if now:
                transitions = self._pool.step({slot: request.action for slot, request in now.items()})
                self.rollout.calls += sum("transport_error" not in transition.info for transition in transitions)
                for request, transition in zip(now.values(), transitions, strict=True):
                    request.episode.apply(request, transition)
                    request.future.set_result(transition)
            requests = later

    def _end(self, event: HarnessEnd) -> int:
        """End an episode. Return its slot."""
        episode = event.episode
        self._gateway.close_episode(episode)
        if event.answer is not None and not episode.over and (last := episode.answer(event.answer)) is not None:
            self._step([last])
        live = self._live.pop(episode)
        for number in [number for number, turn in self._turns.items() if turn.episode is episode]:
            self._turns.pop(number).refuse()
        live.prefixes.clear()
        self.rollout.outcomes[event.outcome] += 1
        if event.error:
            self._errors.append(event.error)
        if episode.lost:
            self.rollout.dropped += 1
            return live.slot
        end: End = "agent"
        last_step = episode.transition
        if last_step is not None and (last_step.terminated or last_step.truncated):
            info, end = last_step.info, "terminated" if last_step.terminated else "truncated"
        else:
            info = self._pool.truncate(live.slot)
            end = "context" if episode.context_full else "agent"
        if episode.turns:
            self._done[live.order] = episode.sequences(end, info, self._specs[live.order].group, event)
        else:
            self.rollout.outcomes["silent"] += 1
        return live.slot

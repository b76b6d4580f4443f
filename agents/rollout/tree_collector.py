"""Collection of trees: episodes that are left by branches before some of their calls."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from agents.models.chat_template import Codec
from agents.rollout.collector import EpisodeBuilder, EpisodeSpec, Recorder, Rollout, numbered, record_rollout
from agents.rollout.engine import RolloutEngine
from agents.rollout.episode_loop import EpisodeLoop, Opening, Start
from agents.rollout.episode_pool import EpisodePool
from steptool_env.episodes.episode import Transition


class TreePlan(NamedTuple):
    """Places of branches, chosen before an episode begins, so that they do not depend on its actions.

    Attributes:
        branches: Number of branches that leave an episode at each place.
        before: Calls before which they leave, numbered from 0.
    """

    branches: int
    before: tuple[int, ...]

    @property
    def slots(self) -> int:
        """Number of slots of an episode and its branches."""
        return 1 + self.branches * len(self.before)


def collect_trees(
    pool: EpisodePool, engine: RolloutEngine, codec: Codec, specs: Sequence[EpisodeSpec], plan: TreePlan
) -> Rollout:
    """Play one episode per spec, and its branches, each to its end.

    A branch is a copy of the environment and of the KV cache, with its own random stream. Its calls count in
    `Rollout.calls`. Branches follow the episodes in the result. The pool needs `plan.slots` slots.
    """
    recorder = _TreeRecorder(pool, engine, codec, specs, plan)
    return record_rollout(recorder, _TreeLoop(pool, recorder))


class _TreeRecorder(Recorder):
    """Recorder whose episodes are left by branches. `free` are the free slots of the loop, by reference."""

    def __init__(
        self, pool: EpisodePool, engine: RolloutEngine, codec: Codec, specs: Sequence[EpisodeSpec], plan: TreePlan
    ) -> None:
        super().__init__(pool, engine, codec, specs)
        self.plan = plan
        self.free: list[int] = []
        self.begun: dict[int, int] = {}  # episodes of branches that the loop does not know yet, by slot
        self._places = numbered(spec.group for spec in specs)
        self._reserved: dict[int, int] = {}  # slots for the branches to come, by the slot of the episode

    @property
    def reserved(self) -> int:
        """Number of slots for the branches to come of all episodes."""
        return sum(self._reserved.values())

    def begin(self, openings: Mapping[int, Opening]) -> None:
        """See `Player.begin`."""
        super().begin(openings)
        for slot, opening in openings.items():
            self._builders[slot].lineage = (self._places[opening.episode],)
            self._reserved[slot] = self.plan.slots - 1

    def observe(self, slot: int, transition: Transition) -> bool:
        """See `Player.observe`."""
        self._truncated = transition.truncated
        goes_on = super().observe(slot, transition)
        if not goes_on:
            self._reserved.pop(slot, None)
        return goes_on

    def _append(self, slot: int, observation: str) -> bool:
        appended = super()._append(slot, observation)
        if appended and slot in self._reserved and not self._truncated:
            self._branch(slot)
        return appended

    def _branch(self, slot: int) -> None:
        """Let the branches of the next call leave the episode of a slot."""
        builder, plan = self._builders[slot], self.plan
        call = len(builder.spans)
        if call not in plan.before:
            return
        self._reserved[slot] -= plan.branches
        for n in range(plan.branches):
            target = self.free.pop(0)
            self._pool.fork(slot, target)
            self.engine.fork(slot, target, f"{self._streams[builder.order]}/{call}/{n}")
            order = len(self.specs) + (builder.order * len(plan.before) + plan.before.index(call)) * plan.branches + n
            own = order, builder.group, list(builder.ids), builder.task, builder.state, builder.format
            self._builders[target] = EpisodeBuilder(*own, lineage=(*builder.lineage, call, n))
            self.begun[target] = order
            self.engine.request([target])


class _TreeLoop(EpisodeLoop):
    """Loop that starts an episode when there are slots for all its branches."""

    def __init__(self, pool: EpisodePool, recorder: _TreeRecorder) -> None:
        super().__init__(pool, recorder)
        self._recorder = recorder

    def _begin(self, free: list[int], waiting: deque[tuple[int, Start]]) -> None:
        recorder = self._recorder
        recorder.free = free
        self._live |= recorder.begun
        recorder.begun = {}
        trees = (len(free) - recorder.reserved) // recorder.plan.slots
        super()._begin(free, deque(waiting.popleft() for _ in range(min(trees, len(waiting)))))

"""A curriculum over the depth of tasks: deeper tasks are drawn once shallower ones are solved."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from agents.errors import ConfigurationError
from agents.rollout.config import EnvConfig
from agents.rollout.episode_pool import EpisodePool, open_pool
from agents.seeding import derive
from steptool_env.episodes.episode import Transition


class CurriculumPool:
    """Pool whose tasks have the first depths of a mixture, in proportion to their weights.

    `pools` and `weights` are by depth; the pools have the same slots.

    Attributes:
        stage: Number of depths that are drawn beside the smallest.
    """

    def __init__(self, pools: Mapping[int, EpisodePool], weights: Mapping[int, float]) -> None:
        self.stage = 0
        self._pools, self._weights = dict(pools), dict(weights)
        self._depths: dict[int, int] = {}  # by slot
        first = next(iter(self._pools.values()))
        self.slots, self.waits = first.slots, first.waits

    @property
    def drawn(self) -> list[int]:
        """Depths that are drawn, the deepest last."""
        return sorted(self._weights)[: self.stage + 1]

    def depth_of(self, seed: int) -> int:
        """Return the depth of the task that a seed draws at this stage."""
        weights = np.cumsum([self._weights[depth] for depth in self.drawn])
        place = derive(seed, "depth") / 2**31 * weights[-1]
        return self.drawn[int(np.searchsorted(weights, place, side="right"))]

    def next_stage(self, solved: Sequence[tuple[int, float]], threshold: float) -> int:
        """Return the stage after episodes of this one, given by seed and `is_solved`.

        The next depth joins when the deepest drawn tasks have a mean of at least `threshold`.
        """
        deepest = [each for seed, each in solved if self.depth_of(seed) == self.drawn[-1]]
        last = len(self.drawn) == len(self._weights)
        return self.stage + (not last and bool(deepest) and sum(deepest) >= threshold * len(deepest))

    def reset(self, slot: int, seed: int, task: int | None = None) -> tuple[str, dict[str, Any]]:
        """See `EpisodePool.reset`."""
        self._depths[slot] = depth = self.depth_of(seed)
        return self._pools[depth].reset(slot, seed, task)

    def step(self, actions: Mapping[int, str]) -> list[Transition]:
        """See `EpisodePool.step`."""
        found: dict[int, Transition] = {}
        for depth, pool in self._pools.items():
            mine = {slot: action for slot, action in actions.items() if self._depths[slot] == depth}
            found |= zip(mine, pool.step(mine), strict=True) if mine else ()
        return [found[slot] for slot in actions]

    def truncate(self, slot: int) -> dict[str, Any]:
        """See `EpisodePool.truncate`."""
        return self._pools[self._depths[slot]].truncate(slot)

    def abort(self, slot: int, reason: str) -> Transition:
        """See `EpisodePool.abort`."""
        return self._pools[self._depths[slot]].abort(slot, reason)

    def fork(self, source: int, target: int) -> None:
        """See `EpisodePool.fork`."""
        self._depths[target] = depth = self._depths[source]
        self._pools[depth].fork(source, target)

    def close(self) -> None:
        """See `EpisodePool.close`."""
        for pool in self._pools.values():
            pool.close()


def open_training_pool(config: EnvConfig) -> EpisodePool:
    """Return the pool of a training run, with a curriculum where `config.curriculum` is above 0.

    Raises:
        ConfigurationError: There is no mixture of depths for a curriculum, or see `open_pool`.
    """
    if not config.curriculum:
        return open_pool(config)
    depths = config.args.get("depths")
    try:
        # A depth of weight 0 is never drawn, so it would never be solved and the next one would not join.
        weights = {int(d): float(w) for d, w in depths.items() if float(w)} if isinstance(depths, Mapping) else {}
    except (TypeError, ValueError):
        weights = {}
    if len(weights) < 2 or not all(weight > 0 for weight in weights.values()):
        raise ConfigurationError(
            f"env.curriculum={config.curriculum} needs several depths in env.args with weights above 0, like "
            f'depths={{"3":1,"4":1}}; it has depths={depths!r}'
        )
    pools = {d: open_pool(replace(config, args={**config.args, "depths": {str(d): 1.0}})) for d in weights}
    return CurriculumPool(pools, weights)

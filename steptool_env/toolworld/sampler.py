"""Samples the tasks of a split by index: a plan, vendors for its calls, distractors and a query."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import NamedTuple

from steptool_env.options import is_number
from steptool_env.toolworld.planning import splits
from steptool_env.toolworld.planning.call_chains import MAX_DEPTH, CallChains
from steptool_env.toolworld.planning.columns import Columns
from steptool_env.toolworld.planning.families import family_of
from steptool_env.toolworld.planning.plan import Plan
from steptool_env.toolworld.planning.planner import Planner, Target
from steptool_env.toolworld.planning.sound_calls import SoundCalls
from steptool_env.toolworld.planning.toolset import ToolsetSampler, is_shown
from steptool_env.toolworld.planning.unsolvable import OBSTACLES, make_unsolvable
from steptool_env.toolworld.task import Obstacle, WorldTask
from steptool_env.toolworld.wording import query_of
from toolserver.errors import ConfigurationError
from toolserver.world.seeded_random import SeededRandom, digest
from toolserver.world.vendors import VendorApi, VendorRegistry

UNSOLVABLE = 0.05
"""Default share of unsolvable tasks in `train`."""

_ATTEMPTS = 4_000
_PATIENCE = 300  # attempts after which a family may have more than its share
_FAMILY, _EVEN = 0.05, 1.25  # maximum share of a family of plans, and the same times the number of families
_DRAFTS, _KEPT_FAMILY = 800, 0.03  # tasks that estimate the shares of families, and the maximum share aimed at
_REDRAW, _REDRAW_GOAL = 0.02, 0.2  # probabilities that another shape or goal is drawn after a failed attempt
_LITE_DEPTH, _LITE_LENGTH = 3, 690  # characters of query and offer, for which 256 tokens hold the whole prompt
_ID = re.compile(r"w(?P<seed>\d+)-(?P<level>[a-z]+)-(?P<split>.+)-(?P<index>\d+)")


class _Shape(NamedTuple):
    """Obstacle, depth, span of the tools and goal of the last call that a task must have."""

    obstacle: Obstacle
    depth: int
    span: str
    targets: Sequence[Target]


class TaskSampler:
    """Tasks of one split of one world.

    Args:
        vendors: The world's vendors.
        split: Name of the split.
        unsolvable: Share of unsolvable tasks, for `train` alone.
        depths: Depth -> weight, for splits that do not fix the depth; default: the weights of the level.

    Raises:
        ConfigurationError: The split is unknown, or a share or depth is out of range.
    """

    def __init__(
        self,
        vendors: VendorRegistry,
        split: str = "train",
        unsolvable: float = UNSOLVABLE,
        depths: Mapping[int, float] | None = None,
    ) -> None:
        if not is_number(unsolvable, 0, 1):
            raise ConfigurationError(f"unsolvable: {unsolvable!r} is not a share; use a number from 0 to 1")
        self.vendors = vendors
        self.world = vendors.world
        self.split: splits.Split = splits.split_of(split)
        self.unsolvable = unsolvable if self.split.unsolvable is None else self.split.unsolvable
        self.depths = dict(self.split.depths or depths or splits.DEPTHS[self.world.level.name])
        if splits.ONE_TOOL not in self.split.spans:
            self.depths.pop(1, None)  # one call uses one tool
        _check_depths(self.depths)
        unseen = splits.unseen_categories(self.world)
        self.toolsets = ToolsetSampler(vendors, lambda tool: splits.admits(self.split, self.world, tool, unseen))
        self.columns = Columns(self.world)
        self._calls = SoundCalls(self.world)
        self._variant = self._name_variant(unsolvable, depths)
        self._planners: dict[int | str, Planner] = {}
        self._made: list[WorldTask] = []
        self._signatures: set[bytes] = set()
        self._families = Counter[str]()
        self._kept: dict[str, float] | None = None
        self._lock = Lock()  # a task depends on those before it, so two threads must not make tasks at once

    def __len__(self) -> int:
        return self.split.size

    def task(self, index: int) -> WorldTask:
        """Return the task at `index`. Raises `IndexError` for an index out of range.

        Tasks for training are sampled independently and may repeat. Tasks of other splits differ from each other, and
        no family of plans has more than a twentieth of them (of less than 25 families: 1.25 times its even share) if
        the world has enough plans. So all tasks up to `index` are sampled in order. In splits for training whose
        `Split.even` is true, tasks of frequent families are kept with a probability that drafts estimate.
        """
        if not 0 <= index < self.split.size:
            raise IndexError(f"task {index}: {self.split.name} has {self.split.size}")
        with self._lock:
            if self.split.part == "train":
                if self.split.even and self._kept is None:
                    drafts = Counter(self._sample(number, "draft").family for number in range(_DRAFTS))
                    self._kept = kept_shares(drafts, _KEPT_FAMILY)
                return self._sample(index)
            while len(self._made) <= index:
                self._made.append(self._sample(len(self._made)))
                self._signatures.add(self._made[-1].plan.signature)
                self._families[self._made[-1].family] += 1
            return self._made[index]

    def task_id(self, index: int) -> str:
        """Return the id of the task at `index`."""
        return f"w{self.world.seed}-{self.world.level.name}-{self.split.name}{self._variant}-{index}"

    def _name_variant(self, unsolvable: float, depths: Mapping[int, float] | None) -> str:
        """Return the part of the task ids that depends on settings; empty for the default settings."""
        own_share = self.split.unsolvable is None and unsolvable != UNSOLVABLE
        settings = [
            f"unsolvable={unsolvable}" if own_share else "",
            f"depths={sorted(self.depths.items())}" if depths and not self.split.depths else "",
            f"tools={len(self.vendors)}" if len(self.vendors) != self.world.level.tools else "",
        ]
        if self.world.version > 1:
            settings.append(f"version={self.world.version}")
        return f".{digest(*settings)[:3].hex()}" if any(settings) else ""

    def _sample(self, index: int, purpose: str = "task") -> WorldTask:
        rng = SeededRandom(self.world.seed, purpose, self.world.level.name, self.split.name, index)
        unsolvable = rng.chance(self.unsolvable)
        shape = self._shape(unsolvable, rng)
        task_id = self.task_id(index)
        for attempt in range(_ATTEMPTS):
            is_rare = attempt < _PATIENCE and self.split.part != "train"
            task = self._attempt(task_id, shape, is_rare, rng)
            if task is not None:
                if self._is_kept(task, rng):
                    return task
                shape = self._shape_of(shape.obstacle, shape.depth, rng)
            elif rng.chance(_REDRAW):  # this world may have no task of the shape
                shape = self._shape(unsolvable, rng)
            elif rng.chance(_REDRAW_GOAL):
                shape = shape._replace(targets=self._goal(shape.depth, rng))
        raise ConfigurationError(
            f"split: {self.split.name!r} finds no task in this world after {_ATTEMPTS} attempts; use more tools"
        )

    def _is_kept(self, task: WorldTask, rng: SeededRandom) -> bool:
        """Draw whether a task for training is kept, where the shares of families are estimated."""
        probability = self._kept.get(task.family, 1.0) if self._kept else 1.0
        return probability == 1 or rng.chance(probability)

    def _has_room(self, plan: Plan) -> bool:
        """Return True if the family of a new plan has at most its share of the tasks so far and of the new one."""
        count, share = 1 + self._families[family_of(plan)], max(_FAMILY, _EVEN / (1 + len(self._families)))
        return count <= max(1.0, share * (1 + len(self._made)))

    def _shape(self, unsolvable: bool, rng: SeededRandom) -> _Shape:
        obstacle = rng.pick(OBSTACLES) if unsolvable else Obstacle.NONE
        draw = rng.unit() * sum(self.depths.values())
        depth = max(self.depths)
        for each, weight in self.depths.items():
            draw -= weight
            if draw < 0:
                depth = each
                break
        return self._shape_of(obstacle, depth, rng)

    def _shape_of(self, obstacle: Obstacle, depth: int, rng: SeededRandom) -> _Shape:
        span = rng.pick(self.split.spans) if depth > 1 else splits.ONE_TOOL
        return _Shape(obstacle, depth, span, self._goal(depth, rng))

    def _goal(self, depth: int, rng: SeededRandom) -> Sequence[Target]:
        """Return the possible last calls that do one thing, each thing with equal chances."""
        goals = self._planner("").goals(depth)
        return rng.pick(goals) if goals else ()

    def _attempt(self, task_id: str, shape: _Shape, is_rare: bool, rng: SeededRandom) -> WorldTask | None:
        depth = shape.depth
        if not shape.targets:
            return None
        target = rng.pick(shape.targets)
        drawn = (
            self._one_tool(depth, target, rng)
            if shape.span == splits.ONE_TOOL
            else self._several(depth, target, shape.span, rng)
        )
        if drawn is None:
            return None
        plan, bound = drawn
        if not self.split.contains(plan.signature) or plan.signature in self._signatures:
            return None
        if is_rare and not self._has_room(plan):
            return None
        if not is_shown(plan, bound):
            return None
        toolset = self.toolsets.complete(bound, rng)
        if toolset is None:
            return None
        task = WorldTask(task_id, self.split.name, "", plan, toolset, columns=self.columns)
        if shape.obstacle:
            unsolvable = make_unsolvable(task, shape.obstacle, self.toolsets, rng)
            if unsolvable is None:
                return None
            task = unsolvable
        # The query has its own random generator: its number of draws does not change the next plan.
        words = SeededRandom(task_id, "words", rng.below(1 << 30))
        task = replace(task, query=query_of(self.world, task.plan, words))
        is_bounded = self.world.level.name == "lite" and depth <= _LITE_DEPTH
        return None if is_bounded and len(task.query) + task.toolset.length > _LITE_LENGTH else task

    def _one_tool(self, depth: int, target: Target, rng: SeededRandom) -> tuple[Plan, tuple[VendorApi, ...]] | None:
        tool = self.toolsets.one_offering(target.operation.name, rng)
        if tool is None:
            return None
        plan = self._planner(tool.index).sample(rng, depth, target)
        bound = None if plan is None else self.toolsets.of_tool(plan, tool)
        return None if plan is None or bound is None else (plan, bound)

    def _several(
        self, depth: int, target: Target, span: str, rng: SeededRandom
    ) -> tuple[Plan, tuple[VendorApi, ...]] | None:
        category = self.world.domains[target.operation.domain].category if span == splits.ONE_CATEGORY else ""
        plan = self._planner(category).sample(rng, depth, target)
        bound = None if plan is None else self.toolsets.spread(plan, span, category, rng)
        return None if plan is None or bound is None else (plan, bound)

    def _planner(self, key: int | str) -> Planner:
        """Return the planner of a vendor (key: its index) or of a category (key: its name; empty for all)."""
        planner = self._planners.get(key)
        if planner is None:
            chains = CallChains(
                self.vendors.tool(key).operations if isinstance(key, int) else self.toolsets.operations(key)
            )
            planner = self._planners[key] = Planner(self.columns, self._calls, chains)
        return planner


def kept_shares(families: Mapping[str, int], share: float) -> dict[str, float]:
    """Return by family the probability of keeping a task, so that no family has more than `share` of the kept ones.

    `families` are the numbers of tasks before. Of few families each may have `_EVEN` times its even share.
    """
    share = max(share, _EVEN / len(families))
    most = float(max(families.values()))
    while most > share * (kept := sum(min(count, most) for count in families.values())) * (1 + 1e-6):
        most = share * kept
    return {family: min(1.0, most / count) for family, count in families.items()}


def _check_depths(depths: Mapping[int, float]) -> None:
    if not depths or any(not 1 <= depth <= MAX_DEPTH or weight < 0 for depth, weight in depths.items()):
        raise ConfigurationError(
            f"depths: {dict(depths)} must map depths from 1 to {MAX_DEPTH} to weights of at least 0"
        )
    if sum(depths.values()) <= 0:
        raise ConfigurationError(f"depths: {dict(depths)} has no weight above 0")


def read_task_id(task_id: str) -> tuple[int, str, str, int]:
    """Return world seed, level, split and index of a task id. Raises `ConfigurationError` for another text."""
    match = _ID.fullmatch(task_id)
    if match is None:
        raise ConfigurationError(f"task: {task_id!r} is not a task id of ToolWorld; ids look like w0-lite-train-17")
    return int(match["seed"]), match["level"], match["split"], int(match["index"])

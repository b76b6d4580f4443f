"""Suites of ToolWorld tasks."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from weakref import WeakValueDictionary

from steptool_env.errors import ConfigurationError
from steptool_env.options import shared_by_options
from steptool_env.suites.server_match import ServerMatch
from steptool_env.toolworld import TaskSampler, WorldTask, read_task_id
from steptool_env.types import Task
from toolserver.episodes.faults import is_down
from toolserver.episodes.state_token import opening_token
from toolserver.resolvers.world import WorldResolver
from toolserver.service.info import ServerInfo, world_info
from toolserver.service.service import ToolService
from toolserver.world import WORLD_VERSION, make_world
from toolserver.world.tokens import world_codec
from toolserver.world.vendors import Health, VendorApi, VendorRegistry

_SALTS = 64  # episode seeds that are tried for permanent faults that leave a task solvable

_SUITE_BY_FAMILY: WeakValueDictionary[str, ToolWorldSuite] = WeakValueDictionary()
"""Suites in use in this process, by the prefix of their task ids. An id has only a digest of settings other than the
defaults (`unsolvable`, `depths`, `tools`, `world_version`), so `find_world_task` cannot make such a suite from it."""


class ToolWorldSuite:
    """One split of one world.

    Args:
        split: Name of the split, one of `steptool_env.toolworld.SPLITS`.
        level: `lite`, `standard` or `full`.
        world_seed: Seed of the world.
        faults: Injected faults: `none`, `mild` or `harsh`.
        unsolvable: Share of unsolvable tasks, for `train` alone.
        depths: Depth -> weight, for splits that do not fix the depth; default: the weights of the level.
        tools: Number of vendors; default: that of the level. A server must be started with the same number.
        world_version: Version of the world, see `make_world`.

    Raises:
        ConfigurationError: An argument is invalid.
    """

    def __init__(
        self,
        split: str = "train",
        level: str = "lite",
        world_seed: int = 0,
        faults: str = "none",
        unsolvable: float = 0.05,
        depths: Mapping[int, float] | None = None,
        tools: int | None = None,
        world_version: int = WORLD_VERSION,
    ) -> None:
        weights = tuple((depths or {}).items())
        self._arguments = (split, level, world_seed, faults, unsolvable, weights, tools, world_version)
        self._world = world_seed, level, tools, world_version
        self._faults = faults
        opening_token(0, faults)
        self.vendors = _vendors(*self._world)
        self.sampler = TaskSampler(self.vendors, split, unsolvable, depths)
        self.name = split
        self._task = lru_cache(maxsize=4096)(self._made)
        _SUITE_BY_FAMILY[_family(self.sampler.task_id(0))] = self

    def __len__(self) -> int:
        return len(self.sampler)

    def task(self, index: int) -> Task:
        """See `TaskSuite.task`. `Task.solution` is the `WorldTask`."""
        return self._task(index)

    def find(self, task_id: str) -> Task:
        """See `TaskSuite.find`."""
        *_, index = read_task_id(task_id)
        if index >= len(self) or self.sampler.task_id(index) != task_id:
            first, last = self.sampler.task_id(0), self.sampler.task_id(len(self) - 1)
            raise ConfigurationError(f"task {task_id!r}: not in this suite, which has {first} to {last}")
        return self.task(index)

    def initial_state(self, task: Task, episode_seed: int) -> str:
        """Return the opening state token.

        With faults, a seed is skipped if its permanent failures leave a needed call without a working API.
        """
        seed = episode_seed
        if self._faults != "none":
            candidates = (episode_seed ^ salt for salt in range(_SALTS))
            seed = next((each for each in candidates if self._is_fair(task.solution, each)), episode_seed)
        return opening_token(seed, self._faults, task.id)

    @property
    def settings(self) -> Mapping[str, Any]:
        """See `TaskSuite.settings`."""
        names = ("level", "world_seed", "faults", "unsolvable", "depths", "tools", "world_version")
        return dict(zip(names, self._arguments[1:], strict=True))

    def service(self) -> ToolService:
        """See `TaskSuite.service`. Suites of one world share it."""
        return _service(*self._world)

    @property
    def server_match(self) -> ServerMatch:
        """Requirements on a server: this world of this package version."""
        return ServerMatch(("world", "both"), _info(*self._world).model_dump(exclude={"kind", "miss"}))

    def __reduce__(self) -> tuple[object, ...]:
        return load_suite, self._arguments

    def _made(self, index: int) -> Task:
        task = self.sampler.task(index)
        specs = tuple(api.spec for api in task.toolset.apis)
        relevant = tuple(api.spec.function_name for api in task.needed)
        return Task(task.id, self.name, task.query, specs, relevant, family=task.family, solution=task)

    def _is_fair(self, task: WorldTask, seed: int) -> bool:
        def up(needed: VendorApi) -> bool:
            # A broken or stale API of the same operation, which a toolset may have, is no other way.
            return any(
                not is_down(seed, task.id, self._faults, api.key[1], api.key[2])
                for api in task.toolset.apis
                if api is needed or (api.operation.name == needed.operation.name and api.health is Health.OK)
            )

        return all(map(up, task.needed))


@lru_cache(maxsize=4, typed=True)  # an argument of another type, such as True for 1, is refused
def _vendors(world_seed: int, level: str, tools: int | None, version: int) -> VendorRegistry:
    return VendorRegistry(make_world(world_seed, level, version), tools)


@lru_cache(maxsize=4)
def _service(world_seed: int, level: str, tools: int | None, version: int) -> ToolService:
    vendors = _vendors(world_seed, level, tools, version)
    resolver = WorldResolver(vendors)
    return ToolService(resolver, [resolver], codec=world_codec(vendors))


@lru_cache(maxsize=4)
def _info(world_seed: int, level: str, tools: int | None, version: int) -> ServerInfo:
    return world_info(_vendors(world_seed, level, tools, version))


@shared_by_options(32)
def load_suite(
    split: str = "train",
    level: str = "lite",
    world_seed: int = 0,
    faults: str = "none",
    unsolvable: float = 0.05,
    depths: tuple[tuple[int, float], ...] = (),
    tools: int | None = None,
    world_version: int = WORLD_VERSION,
) -> ToolWorldSuite:
    """Return the suite of these arguments; environments with the same arguments share it."""
    return ToolWorldSuite(split, level, world_seed, faults, unsolvable, dict(depths) or None, tools, world_version)


def make_suite(settings: Mapping[str, Any]) -> ToolWorldSuite:
    """Return the suite of some arguments of ToolWorld's environment by name; others than those of suites are left out.

    Raises:
        ConfigurationError: A value is invalid.
    """
    names = inspect.signature(load_suite).parameters
    chosen = {name: value for name, value in settings.items() if name in names and value is not None}
    depths = chosen.get("depths") or {}
    try:
        chosen["depths"] = tuple((int(depth), float(weight)) for depth, weight in dict(depths).items())
        return load_suite(**chosen)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"settings of ToolWorld: {error}") from error


def world_task_of(task: Task) -> WorldTask:
    """Return the `WorldTask` of a task; `find_world_task` finds that of a task without `solution`, e.g. from a file.

    Raises:
        ConfigurationError: The task is not of ToolWorld, no suite in this process has its settings, or its query is not
            that of the task of this id: it is of another version, so its solution is not known.
    """
    if isinstance(task.solution, WorldTask):
        return task.solution
    found = find_world_task(task.id)
    if found.query != task.query:
        raise ConfigurationError(
            f"task {task.id!r}: its query is {task.query!r:.80}, but {found.query!r:.80} in this version of the tasks; "
            "grade its episodes with the version of steptool-env that made them"
        )
    return found


def find_world_task(task_id: str) -> WorldTask:
    """Return the `WorldTask` of a task id. Raises `ConfigurationError` as `world_task_of` does."""
    suite = _SUITE_BY_FAMILY.get(_family(task_id))
    if suite is None:
        seed, level, split, _ = read_task_id(task_id)
        suite = load_suite(split, level, seed)
    task = suite.find(task_id).solution
    assert isinstance(task, WorldTask)
    return task


def _family(task_id: str) -> str:
    """Return a task id without its index."""
    return task_id.rpartition("-")[0]

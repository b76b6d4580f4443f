"""All vendors of a world. Their operations are drawn at once, their documentation on first use."""

import json
from collections.abc import Iterator
from functools import cached_property
from hashlib import blake2b
from typing import NamedTuple

from toolserver.calls.naming import api_key, standardize, standardize_category
from toolserver.catalog.api_schema import ApiSpec
from toolserver.errors import ConfigurationError
from toolserver.world.schema import Domain, Operation, OperationKind, ValueKind
from toolserver.world.seeded_random import SeededRandom
from toolserver.world.vendors.api import Health, VendorApi
from toolserver.world.vendors.naming import tool_names
from toolserver.world.vendors.style import draw_style
from toolserver.world.vendors.vendor import VendorTool
from toolserver.world.world import World

_SEARCH_TOO = 0.8  # probability that a vendor also offers the search for an id that its other APIs need
_BROKEN = 0.05  # probability that an API of an unreliable vendor does not work
_CLOSED = 0.2  # share of those APIs that are closed instead of broken

_MOST = 1_000_000  # vendors, whose plans take some twenty seconds


class VendorPlan(NamedTuple):
    """Settings of one vendor: domain, name, operations and reliability. `VendorRegistry.identity` contains a digest."""

    domain: str
    name: str
    operations: tuple[str, ...]
    reliable: bool


class VendorRegistry:
    """The vendors of a world, in a fixed order.

    With the default number of vendors, a reliable vendor offers every operation of the world: it needs no token, is not
    stale and has no broken API.

    Args:
        world: The world.
        tools: Number of vendors; default: that of the world's level.

    Raises:
        ConfigurationError: The number of vendors is invalid.
    """

    def __init__(self, world: World, tools: int | None = None) -> None:
        count = world.level.tools if tools is None else tools
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _MOST:
            raise ConfigurationError(f"tools: {count!r} is not a number of vendors; use an integer from 1 to {_MOST}")
        self.world = world
        self.plans = _plans(world, count)
        self._tools: dict[int, VendorTool] = {}
        self._by_key = {
            (standardize_category(world.domains[plan.domain].category), standardize(plan.name)): index
            for index, plan in enumerate(self.plans)
        }
        self._offering: dict[str, list[int]] = {}
        for index, plan in enumerate(self.plans):
            for operation in plan.operations:
                self._offering.setdefault(operation, []).append(index)

    def __len__(self) -> int:
        return len(self.plans)

    def __iter__(self) -> Iterator[VendorTool]:
        return (self.tool(index) for index in range(len(self.plans)))

    @cached_property
    def identity(self) -> str:
        """Short text that differs between worlds: level, seed, and a digest of the vendors' names and operations."""
        digest = blake2b(json.dumps(self.plans).encode(), digest_size=8).hexdigest()
        return f"{self.world.level.name}-{self.world.seed}-{digest}"

    def tool(self, index: int) -> VendorTool:
        """Return the vendor at `index`. Raises `IndexError` for an index out of range."""
        tool = self._tools.get(index)
        if tool is None:
            tool = self._tools.setdefault(index, self._made(index))  # of two threads, both get one: APIs have identity
        return tool

    def apis(self) -> Iterator[VendorApi]:
        """Iterate over all APIs, vendor by vendor."""
        return (api for tool in self for api in tool.apis)

    def specs(self) -> Iterator[ApiSpec]:
        """Iterate over the documentation of all APIs, vendor by vendor."""
        return (api.spec for api in self.apis())

    def find(self, category: str, tool: str, api: str) -> VendorApi | None:
        """Return the API with these names, which are standardised first; `None` if it does not exist."""
        return self.at(*api_key(category, tool, api))

    def at(self, category: str, tool: str, api: str) -> VendorApi | None:
        """Return the API with these standardised names; `None` if it does not exist."""
        index = self._by_key.get((category, tool))
        return None if index is None else self.tool(index).by_key.get(api)

    def offering(self, operation: str) -> list[int]:
        """Return the indexes of the vendors that offer the operation of this name."""
        return self._offering.get(operation, [])

    def _made(self, index: int) -> VendorTool:
        world, plan = self.world, self.plans[index]
        rng = SeededRandom(world.seed, "vendor", index)
        style = draw_style(rng, world.level, plan.reliable)
        broken = [name for name in plan.operations if not plan.reliable and rng.chance(_BROKEN)]
        outages = {name: Health.CLOSED if rng.chance(_CLOSED) else Health.BROKEN for name in broken}
        operations = [world.operations[name] for name in plan.operations]
        return VendorTool(index, plan.name, world.domains[plan.domain], style, operations, outages, world.level)


def _plans(world: World, count: int) -> list[VendorPlan]:
    """Distribute the operations of every domain over its vendors; the domains alternate."""
    domains = list(world.domains.values())
    each = -(-count // len(domains))
    columns = [_domain_plans(world, domain, each) for domain in domains]
    return [plan for row in zip(*columns, strict=True) for plan in row][:count]


def _domain_plans(world: World, domain: Domain, count: int) -> list[VendorPlan]:
    """Draw the first `count` vendors of a domain. Every operation is used once before any is used again."""
    rng = SeededRandom(world.seed, "deal", domain.name)
    names = tool_names(world.seed, domain, count, world.level)
    operations = [each for each in world.operations.values() if each.domain == domain.name]
    plans: list[VendorPlan] = []
    lap = 0
    while len(plans) < count:
        for batch in _batches(rng, operations, world.level.operations, mixed=lap % 2 == 1):
            if len(plans) < count:
                offered = _with_searches(rng, batch, world)
                plans.append(VendorPlan(domain.name, names[len(plans)], offered, reliable=lap == 0))
        lap += 1
    return plans


def _batches(
    rng: SeededRandom, operations: list[Operation], sizes: tuple[int, int], *, mixed: bool
) -> Iterator[list[Operation]]:
    """Yield the operations in batches, in random order; unless `mixed`, operations of one subject are consecutive."""
    remaining = rng.shuffled(operations)
    if not mixed:
        subjects = list(dict.fromkeys(each.subject for each in remaining))
        remaining.sort(key=lambda each: subjects.index(each.subject))
    while remaining:
        size = rng.between(*sizes)
        yield remaining[:size]
        remaining = remaining[size:]


def _with_searches(rng: SeededRandom, batch: list[Operation], world: World) -> tuple[str, ...]:
    """Return the names of a batch, and for most of its id inputs the search for the id."""
    names = {operation.name: None for operation in batch}
    wanted = {slot.type.entity for each in batch for slot in each.inputs.values() if slot.type.kind is ValueKind.ID}
    for entity in sorted(wanted):
        search = f"{entity}.search"
        if search in world.operations and rng.chance(_SEARCH_TOO):
            names.setdefault(search)
    order = {kind: position for position, kind in enumerate(OperationKind)}
    return tuple(sorted(names, key=lambda name: (order[world.operations[name].kind], name)))

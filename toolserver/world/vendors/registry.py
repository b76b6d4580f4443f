"""All vendors of a world. Who offers what is decided at once; documentation is written when it is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from hashlib import blake2b
from typing import NamedTuple

from toolserver.calls.naming import api_key, standardize
from toolserver.catalog.api_schema import ApiSpec
from toolserver.errors import ConfigurationError
from toolserver.world.schema import Domain, Kind, Operation, OperationKind
from toolserver.world.seeded_random import SeededRandom
from toolserver.world.vendors.api import Health, VendorApi
from toolserver.world.vendors.naming import tool_names
from toolserver.world.vendors.style import draw_style
from toolserver.world.vendors.vendor import VendorTool
from toolserver.world.world import World

_SEARCH_TOO = 0.8  # probability that a vendor also offers the search for an id that its other APIs want
_BROKEN = 0.05  # probability that an API of a vendor that is not reliable answers with errors only
_CLOSED = 0.2  # share of those that refuse the caller instead of failing


class Plan(NamedTuple):
    """What one vendor will be: its domain, its name, what it offers, and whether it is reliable."""

    domain: str
    name: str
    operations: tuple[str, ...]
    reliable: bool


class VendorRegistry:
    """The vendors of a world, in a fixed order.

    Every operation of the world is offered by a reliable vendor: one that needs no token, is not stale and has no
    broken API.

    Args:
        world: The world.
        tools: How many vendors there are; by default what the world's level says.
    """

    def __init__(self, world: World, tools: int | None = None) -> None:
        count = world.level.tools if tools is None else tools
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ConfigurationError(f"tools: {count!r} is no number of vendors; use an integer of at least 1")
        self.world = world
        self.plans = _plans(world, count)
        self._tools: dict[int, VendorTool] = {}
        self._by_key = {
            (_category(world, plan), standardize(plan.name)): index for index, plan in enumerate(self.plans)
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
        """Short text that differs between worlds: level, seed, and a digest of the vendors' names and offers."""
        digest = blake2b(json.dumps(self.plans).encode(), digest_size=8).hexdigest()
        return f"{self.world.level.name}-{self.world.seed}-{digest}"

    def tool(self, index: int) -> VendorTool:
        """The vendor at `index`. Raises `IndexError` beyond the end."""
        tool = self._tools.get(index)
        if tool is None:
            tool = self._tools[index] = self._made(index)
        return tool

    def apis(self) -> Iterator[VendorApi]:
        """Every API, vendor by vendor."""
        return (api for tool in self for api in tool.apis)

    def specs(self) -> Iterator[ApiSpec]:
        """The documentation of every API, vendor by vendor."""
        return (api.spec for api in self.apis())

    def find(self, category: str, tool: str, api: str) -> VendorApi | None:
        """The API of these names, in any spelling that standardises to them; `None` when there is none."""
        category, tool, api = api_key(category, tool, api)
        index = self._by_key.get((category, tool))
        return None if index is None else self.tool(index).by_key.get(api)

    def offering(self, operation: str) -> list[int]:
        """The indexes of the vendors that offer an operation, by its name."""
        return self._offering.get(operation, [])

    def _made(self, index: int) -> VendorTool:
        world, plan = self.world, self.plans[index]
        stream = SeededRandom(world.seed, "vendor", index)
        style = draw_style(stream, world.level, plan.reliable)
        outages = {} if plan.reliable else _outages(plan, stream)
        operations = [world.operations[name] for name in plan.operations]
        return VendorTool(index, plan.name, world.domains[plan.domain], style, operations, outages, world.level)


def _outages(plan: Plan, stream: SeededRandom) -> dict[str, Health]:
    """The operations of a vendor that do not work, and why."""
    broken = [name for name in plan.operations if stream.chance(_BROKEN)]
    return {name: Health.CLOSED if stream.chance(_CLOSED) else Health.BROKEN for name in broken}


def _category(world: World, plan: Plan) -> str:
    return api_key(world.domains[plan.domain].category, "", "")[0]


def _plans(world: World, count: int) -> list[Plan]:
    """Deal the operations of every domain to its vendors; the domains take turns."""
    domains = list(world.domains.values())
    each = -(-count // len(domains))
    columns = [_domain_plans(world, domain, each) for domain in domains]
    return [plan for row in zip(*columns, strict=True) for plan in row][:count]


def _domain_plans(world: World, domain: Domain, count: int) -> list[Plan]:
    """The first `count` vendors of a domain. All operations are dealt once before any is dealt again."""
    stream = SeededRandom(world.seed, "deal", domain.name)
    names = tool_names(world.seed, domain, count, world.level)
    operations = [each for each in world.operations.values() if each.domain == domain.name]
    plans: list[Plan] = []
    lap = 0
    while len(plans) < count:
        for hand in _batches(stream, operations, world.level.operations, mixed=lap % 2 == 1):
            if len(plans) < count:
                offered = _with_searches(stream, hand, world)
                plans.append(Plan(domain.name, names[len(plans)], offered, reliable=lap == 0))
        lap += 1
    return plans


def _batches(
    stream: SeededRandom, operations: list[Operation], sizes: tuple[int, int], *, mixed: bool
) -> Iterator[list[Operation]]:
    """The operations in random order, cut into hands; unless `mixed`, those of one subject stay together."""
    cards = stream.shuffled(operations)
    if not mixed:
        subjects = list(dict.fromkeys(card.subject for card in cards))
        cards.sort(key=lambda card: subjects.index(card.subject))
    while cards:
        size = stream.between(*sizes)
        yield cards[:size]
        cards = cards[size:]


def _with_searches(stream: SeededRandom, hand: list[Operation], world: World) -> tuple[str, ...]:
    """The hand, and for most ids that it wants the search that finds them."""
    names = {operation.name: None for operation in hand}
    wanted = {slot.type.entity for each in hand for slot in each.inputs.values() if slot.type.kind is Kind.ID}
    for entity in sorted(wanted):
        search = f"{entity}.search"
        if search in world.operations and stream.chance(_SEARCH_TOO):
            names.setdefault(search)
    order = {kind: position for position, kind in enumerate(OperationKind)}
    return tuple(sorted(names, key=lambda name: (order[world.operations[name].kind], name)))

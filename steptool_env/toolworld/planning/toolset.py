"""Chooses the vendors of a task's calls, and the other tools that are offered beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from steptool_env.toolworld.planning.plan import Plan
from steptool_env.toolworld.planning.splits import CROSS
from toolserver.catalog.api_schema import OBSERVATION_LENGTH, encode_body
from toolserver.world.schema import Operation, Result
from toolserver.world.seeded_random import SeededRandom
from toolserver.world.vendors import Health, VendorApi, VendorRegistry, VendorTool

COUNTS = {"lite": (5, 5), "standard": (8, 12), "full": (20, 20)}
"""Level -> fewest and most APIs that are offered."""

_TRAP = {"lite": 0.08, "standard": 0.15, "full": 0.2}
"""Level -> how often a stale or broken twin of a needed API is among the offered ones."""
_LOOKS = 8  # vendors looked at for one API before another plan is tried
_FEW_ROWS = 4  # rows that fit into an observation in every layout
_SAME_TOOL, _SAME_SUBJECT = 0.45, 0.3  # shares of the distractors; the rest is from anywhere


@dataclass(frozen=True, slots=True)
class Toolset:
    """What a task offers.

    Attributes:
        apis: All offered APIs, in the order in which they are shown.
        bound: The API that the gold solution calls, per node of the plan.
    """

    apis: tuple[VendorApi, ...]
    bound: tuple[VendorApi, ...]

    @property
    def length(self) -> int:
        """Characters of the offered APIs, each written as one line of signature and description."""
        return sum(
            len(api.spec.function_name)
            + len(api.spec.description)
            + sum(len(name) + 7 for name in api.parameters.values())
            for api in self.apis
        )

    @property
    def needed(self) -> tuple[VendorApi, ...]:
        """The APIs that the gold solution calls, log-ins included, each once."""
        logins = [api.login_api for api in self.bound if api.login_api is not None]
        return tuple(dict.fromkeys([*logins, *self.bound]))


class Offers:
    """Makes offers from the vendors that a split admits.

    Args:
        vendors: All vendors of the world.
        admitted: Whether a vendor may be offered.
    """

    def __init__(self, vendors: VendorRegistry, admitted: Callable[[VendorTool], bool]) -> None:
        self.vendors = vendors
        self.tools = [tool for tool in vendors if admitted(tool)]
        self._indexes = {tool.index for tool in self.tools}
        self.categories = sorted({tool.domain.category for tool in self.tools})
        self._level = vendors.world.level.name

    def operations(self, category: str) -> list[Operation]:
        """What the admitted vendors of a category (of all, when it is empty) offer, in the world's order."""
        offered = {
            operation.name
            for tool in self.tools
            if category in ("", tool.domain.category)
            for operation in tool.operations
        }
        return [operation for name, operation in self.vendors.world.operations.items() if name in offered]

    def of_tool(self, plan: Plan, tool: VendorTool) -> tuple[VendorApi, ...] | None:
        """The plan's calls, all bound to one vendor; `None` when it cannot serve them."""
        bound = [tool.api_of(node.operation) for node in plan.nodes]
        sound = [api for api in bound if api is not None and api.health is Health.OK]
        return tuple(sound) if len(sound) == len(bound) else None

    def spread(self, plan: Plan, span: str, category: str, stream: SeededRandom) -> tuple[VendorApi, ...] | None:
        """The plan's calls bound to several vendors, of `category` or of several; `None` when that fails."""
        chosen: dict[str, VendorApi] = {}
        for node in plan.nodes:
            if node.operation in chosen:
                continue
            api = self._one(node.operation, category, stream)
            if api is None:
                return None
            chosen[node.operation] = api
        tools = {api.vendor.index for api in chosen.values()}
        categories = {api.spec.category for api in chosen.values()}
        if len(tools) < 2 or (len(categories) > 1) != (span == CROSS):
            return None
        return tuple(chosen[node.operation] for node in plan.nodes)

    def complete(self, bound: tuple[VendorApi, ...], stream: SeededRandom) -> Toolset | None:
        """The offer of these calls, with distractors, shuffled; `None` when the calls need more APIs than fit."""
        needed = Toolset((), bound).needed
        low, high = COUNTS[self._level]
        size = stream.between(low, high)
        if len(needed) > max(size, len({api.operation.name for api in bound})):
            return None
        apis = {api.spec.function_name: api for api in needed}
        if len(apis) < len(needed):
            return None
        for api in self._distractors(needed, stream):
            if len(apis) >= size:
                break
            apis.setdefault(api.spec.function_name, api)
        return Toolset(tuple(stream.shuffled(list(apis.values()))), bound)

    def refilled(
        self, offer: Toolset, bound: tuple[VendorApi, ...], allowed: Callable[[VendorApi], bool], stream: SeededRandom
    ) -> Toolset | None:
        """The offer with other calls bound and only APIs that are `allowed` beside them; `None` when none fill it."""
        apis = {api.spec.function_name: api for api in Toolset((), bound).needed}
        alike = Toolset((), (*offer.bound, *bound)).needed  # also like the calls that are no longer bound
        for api in (*offer.apis, *self._distractors(alike, stream)):
            if len(apis) >= len(offer.apis):
                break
            if allowed(api):
                apis.setdefault(api.spec.function_name, api)
        return Toolset(tuple(stream.shuffled(list(apis.values()))), bound) if len(apis) == len(offer.apis) else None

    def twin(self, operation: str, health: Health, stream: SeededRandom) -> VendorApi | None:
        """An API that does `operation` but is broken or stale; `None` when a look around finds none."""
        indexes = [index for index in self.vendors.offering(operation) if index in self._indexes]
        for index in stream.sample(indexes, 3 * _LOOKS):
            api = self.vendors.tool(index).api_of(operation)
            if api is not None and api.health is health and not api.needs_token:
                return api
        return None

    def _one(self, operation: str, category: str, stream: SeededRandom) -> VendorApi | None:
        indexes = self.vendors.offering(operation)
        for _ in range(_LOOKS if indexes else 0):
            index = stream.pick(indexes)
            if index in self._indexes:
                api = self.vendors.tool(index).api_of(operation)
                if api is not None and api.health is Health.OK and category in ("", api.spec.category):
                    return api
        return None

    def _distractors(self, needed: tuple[VendorApi, ...], stream: SeededRandom) -> Iterator[VendorApi]:
        """Other APIs: of the same vendors, about the same things, from elsewhere; none that does a needed job well."""
        operations = {api.operation.name for api in needed}
        tools = [self.vendors.tool(index) for index in dict.fromkeys(api.vendor.index for api in needed)]
        if stream.chance(_TRAP[self._level]):
            health = Health.BROKEN if stream.chance(0.5) else Health.STALE
            twin = self.twin(stream.pick(sorted(operations)), health, stream)
            if twin is not None:
                yield twin
        subjects = {api.operation.subject for api in needed}
        for _ in range(400):
            draw = stream.unit()
            near = draw < _SAME_TOOL
            api = stream.pick(stream.pick(tools if near else self.tools).apis)
            operation = api.operation
            if operation.name in operations:
                continue
            if near or draw >= _SAME_TOOL + _SAME_SUBJECT or operation.subject in subjects:
                yield api


def is_shown(plan: Plan, bound: Sequence[VendorApi]) -> bool:
    """True where a policy sees every value that the plan needs, under the default length of observations.

    Only an answer that lists all rows reads behind the first one; each page of such a response must fit.

    Args:
        plan: The plan.
        bound: The API that is called, per node of the plan.
    """
    listed = (asked.node for asked in plan.asked if asked.every)
    return all(
        length <= OBSERVATION_LENGTH
        for node in listed
        if len(plan.results[node].rows) > _FEW_ROWS
        for length in _lengths(bound[node], plan.results[node])
    )


def _lengths(api: VendorApi, result: Result) -> Iterator[int]:
    """The characters of each page of a response."""
    size = api.layout.page_size or len(result.rows)
    for page in range(1, 1 + -(-len(result.rows) // size)):
        yield len(encode_body("", api.render(api.shown(result, page), page)).decode())

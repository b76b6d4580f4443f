"""Samples the toolset of a task: vendors for its calls, and distractors."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from steptool_env.toolworld.planning.plan import Plan
from steptool_env.toolworld.planning.splits import CROSS
from toolserver.catalog.api_schema import OBSERVATION_LENGTH, encode_body
from toolserver.world.schema import Operation, Result
from toolserver.world.seeded_random import SeededRandom
from toolserver.world.vendors import Health, VendorApi, VendorRegistry, VendorTool

COUNTS = {"lite": (5, 5), "standard": (8, 12), "full": (20, 20)}
"""Level -> least and greatest number of offered APIs."""

_UNHEALTHY = {"lite": 0.08, "standard": 0.15, "full": 0.2}
"""Level -> probability that a stale or broken API for a needed operation is offered."""
_LOOKS = 8  # vendors that are tried for one call
_FEW_ROWS = 4  # rows that fit into an observation in every layout
_SAME_TOOL, _SAME_SUBJECT = 0.45, 0.3  # shares of the distractors; the others are from any vendor


@dataclass(frozen=True, slots=True)
class Toolset:
    """APIs of a task.

    Attributes:
        apis: All offered APIs, in display order.
        bound: API that the gold solution calls, per node of the plan.
    """

    apis: tuple[VendorApi, ...]
    bound: tuple[VendorApi, ...]

    @property
    def length(self) -> int:
        """Number of characters of the offered APIs, each as one line of signature and description."""
        return sum(
            len(api.spec.function_name)
            + len(api.spec.description)
            + sum(len(name) + 7 for name in api.parameters.values())
            for api in self.apis
        )

    @property
    def needed(self) -> tuple[VendorApi, ...]:
        """APIs that the gold solution calls, including logins, each once."""
        logins = [api.login_api for api in self.bound if api.login_api is not None]
        return tuple(dict.fromkeys([*logins, *self.bound]))


class ToolsetSampler:
    """Samples toolsets from the vendors that a split admits.

    Args:
        vendors: All vendors of the world.
        admitted: Predicate of the vendors that may be offered.
    """

    def __init__(self, vendors: VendorRegistry, admitted: Callable[[VendorTool], bool]) -> None:
        self.vendors = vendors
        self.tools = [tool for tool in vendors if admitted(tool)]
        self._indexes = {tool.index for tool in self.tools}
        self.categories = sorted({tool.domain.category for tool in self.tools})
        self._level = vendors.world.level.name

    def operations(self, category: str) -> list[Operation]:
        """Return the operations of the admitted vendors of a category (all if it is empty), in the world's order."""
        offered = {
            operation.name
            for tool in self.tools
            if category in ("", tool.domain.category)
            for operation in tool.operations
        }
        return [operation for name, operation in self.vendors.world.operations.items() if name in offered]

    def one_offering(self, operation: str, rng: SeededRandom) -> VendorTool | None:
        """Return an admitted vendor that offers an operation; `None` if no tried vendor does."""
        return next(self._tried(operation, rng), None)

    def of_tool(self, plan: Plan, tool: VendorTool) -> tuple[VendorApi, ...] | None:
        """Bind the plan's calls to one vendor; `None` if it does not offer them all."""
        bound = [tool.api_of(node.operation) for node in plan.nodes]
        sound = [api for api in bound if api is not None and api.health is Health.OK]
        return tuple(sound) if len(sound) == len(bound) else None

    def spread(self, plan: Plan, span: str, category: str, rng: SeededRandom) -> tuple[VendorApi, ...] | None:
        """Bind the plan's calls to several vendors of `category` (of several if it is empty); `None` on failure."""
        chosen: dict[str, VendorApi] = {}
        for node in plan.nodes:
            if node.operation in chosen:
                continue
            api = self._one(node.operation, category, rng)
            if api is None:
                return None
            chosen[node.operation] = api
        tools = {api.vendor.index for api in chosen.values()}
        categories = {api.spec.category for api in chosen.values()}
        if len(tools) < 2 or (len(categories) > 1) != (span == CROSS):
            return None
        return tuple(chosen[node.operation] for node in plan.nodes)

    def complete(self, bound: tuple[VendorApi, ...], rng: SeededRandom) -> Toolset | None:
        """Return the toolset of these calls with distractors, shuffled; `None` if the calls need too many APIs."""
        needed = Toolset((), bound).needed
        low, high = COUNTS[self._level]
        size = rng.between(low, high)
        if len(needed) > max(size, len({api.operation.name for api in bound})):
            return None
        apis = {api.spec.function_name: api for api in needed}
        if len(apis) < len(needed):
            return None
        for api in self._distractors(needed, rng):
            if len(apis) >= size:
                break
            apis.setdefault(api.spec.function_name, api)
        return Toolset(tuple(rng.shuffled(list(apis.values()))), bound)

    def refilled(
        self, toolset: Toolset, bound: tuple[VendorApi, ...], allowed: Callable[[VendorApi], bool], rng: SeededRandom
    ) -> Toolset | None:
        """Return the toolset with other bound calls and with `allowed` distractors; `None` if there are too few."""
        apis = {api.spec.function_name: api for api in Toolset((), bound).needed}
        resembled = Toolset(
            (), (*toolset.bound, *bound)
        ).needed  # distractors also resemble the calls that were removed
        for api in (*toolset.apis, *self._distractors(resembled, rng)):
            if len(apis) >= len(toolset.apis):
                break
            if allowed(api):
                apis.setdefault(api.spec.function_name, api)
        return Toolset(tuple(rng.shuffled(list(apis.values()))), bound) if len(apis) == len(toolset.apis) else None

    def unhealthy(self, operation: str, health: Health, rng: SeededRandom) -> VendorApi | None:
        """Return a broken or stale API of `operation`; `None` if no tried vendor has one."""
        indexes = [index for index in self.vendors.offering(operation) if index in self._indexes]
        for index in rng.sample(indexes, 3 * _LOOKS):
            api = self.vendors.tool(index).api_of(operation)
            if api is not None and api.health is health and not api.needs_token:
                return api
        return None

    def _one(self, operation: str, category: str, rng: SeededRandom) -> VendorApi | None:
        for tool in self._tried(operation, rng):
            api = tool.api_of(operation)
            if api is not None and api.health is Health.OK and category in ("", api.spec.category):
                return api
        return None

    def _tried(self, operation: str, rng: SeededRandom) -> Iterator[VendorTool]:
        """Draw vendors that offer an operation, and yield the admitted ones."""
        indexes = self.vendors.offering(operation)
        for _ in range(_LOOKS if indexes else 0):
            index = rng.pick(indexes)
            if index in self._indexes:
                yield self.vendors.tool(index)

    def _distractors(self, needed: tuple[VendorApi, ...], rng: SeededRandom) -> Iterator[VendorApi]:
        """Yield other APIs: of the same vendors, of the same subject, or any; none is a healthy needed operation."""
        operations = {api.operation.name for api in needed}
        tools = [self.vendors.tool(index) for index in dict.fromkeys(api.vendor.index for api in needed)]
        if rng.chance(_UNHEALTHY[self._level]):
            health = Health.BROKEN if rng.chance(0.5) else Health.STALE
            api = self.unhealthy(rng.pick(sorted(operations)), health, rng)
            if api is not None:
                yield api
        subjects = {api.operation.subject for api in needed}
        unit, every = rng.unit, self.tools
        for _ in range(400):  # without calls of `pick` for speed: a toolset takes dozens of draws
            draw = unit()
            near = draw < _SAME_TOOL
            among = tools if near else every
            apis = among[int(unit() * len(among))].apis
            api = apis[int(unit() * len(apis))]
            operation = api.operation
            if operation.name in operations:
                continue
            if near or draw >= _SAME_TOOL + _SAME_SUBJECT or operation.subject in subjects:
                yield api


def is_shown(plan: Plan, bound: Sequence[VendorApi]) -> bool:
    """Return True if observations of the default length contain every value that the plan needs from its bound APIs.

    Only an answer that lists all rows needs rows after the first: each page of such a response must fit.
    """
    listed = (asked.node for asked in plan.asked if asked.every)
    return all(
        length <= OBSERVATION_LENGTH
        for node in listed
        if len(plan.results[node].rows) > _FEW_ROWS
        for length in _lengths(bound[node], plan.results[node])
    )


def _lengths(api: VendorApi, result: Result) -> Iterator[int]:
    """Yield the number of characters of each page of a response."""
    size = api.layout.page_size or len(result.rows)
    for page in range(1, 1 + -(-len(result.rows) // size)):
        yield len(encode_body("", api.render(api.shown(result, page), page)).decode())

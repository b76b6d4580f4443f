"""A task of ToolWorld with its plan and answer, which the agent does not see."""

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from steptool_env.toolworld.planning.columns import Columns
from steptool_env.toolworld.planning.families import family_of
from steptool_env.toolworld.planning.plan import Plan
from steptool_env.toolworld.planning.toolset import Toolset
from toolserver.world.vendors import VendorApi


class Obstacle(StrEnum):
    """Reason for which a task cannot be solved with the offered tools."""

    NONE = ""
    MISSING = "missing"  # no offered API does a needed operation
    BROKEN = "broken"  # the only offered API of a needed operation answers every call with an error
    UNKNOWN = "unknown"  # a name in the query does not exist


@dataclass(frozen=True, eq=False)
class WorldTask:
    """One task of ToolWorld.

    Attributes:
        id: Unique id among all worlds, levels and splits.
        split: Name of its split.
        query: Query of the user.
        plan: Calls that solve it, with their results.
        toolset: Offered APIs, and those that the plan calls.
        obstacle: Reason for which it cannot be solved; giving up is then correct.
        blocked: Node of the plan that cannot be called in an unsolvable task; else -1.
        columns: Columns of its world.
    """

    id: str
    split: str
    query: str
    plan: Plan
    toolset: Toolset
    obstacle: Obstacle = Obstacle.NONE
    blocked: int = -1
    columns: Columns = field(compare=False, repr=False, kw_only=True)

    @cached_property
    def family(self) -> str:
        """Family of the plan, see `family_of`."""
        return family_of(self.plan)

    @property
    def solvable(self) -> bool:
        """True if the offered tools suffice."""
        return self.obstacle is Obstacle.NONE

    @property
    def needed(self) -> tuple[VendorApi, ...]:
        """APIs of a perfect episode, each once."""
        return Toolset((), tuple(self.toolset.bound[node] for node in self.calls)).needed

    @property
    def calls(self) -> list[int]:
        """Nodes that a perfect episode calls, in order.

        For a solvable task these are all nodes. A missing tool is visible without a call. The other obstacles are
        visible in the answer to the blocked call, which needs its parents.
        """
        if self.solvable:
            return list(range(len(self.plan.nodes)))
        if self.obstacle is Obstacle.MISSING:
            return []
        waiting, found = [self.blocked], {self.blocked}
        while waiting:
            parents = set(self.plan.nodes[waiting.pop()].parents()) - found
            found |= parents
            waiting.extend(parents)
        return sorted(found)

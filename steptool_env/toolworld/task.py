"""What is known about a task and kept from whoever solves it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from steptool_env.toolworld.planning.columns import Columns
from steptool_env.toolworld.planning.plan import Plan
from steptool_env.toolworld.planning.toolset import Toolset
from toolserver.world.vendors import VendorApi


class Obstacle(StrEnum):
    """Why a task cannot be solved with the offered tools."""

    NONE = ""
    MISSING = "missing"  # no offered tool does what a call needs; the offer shows it
    BROKEN = "broken"  # the only offered tool that does it answers every call with an error
    UNKNOWN = "unknown"  # what the query names does not exist


@dataclass(frozen=True, eq=False)
class WorldTask:
    """One task of ToolWorld.

    Attributes:
        id: Unique among all worlds, levels and splits; a task is found again by it.
        split: Name of its split.
        query: What the user asks.
        plan: The calls that solve it and what they give.
        offer: The offered APIs and which of them the plan calls.
        obstacle: Why it cannot be solved; then giving up is right.
        blocked: For an unsolvable task, the node of the plan that cannot be done; else -1.
        columns: The columns of its world.
    """

    id: str
    split: str
    query: str
    plan: Plan
    offer: Toolset
    obstacle: Obstacle = Obstacle.NONE
    blocked: int = -1
    columns: Columns = field(compare=False, repr=False, kw_only=True)

    @property
    def solvable(self) -> bool:
        """Whether the offered tools suffice."""
        return self.obstacle is Obstacle.NONE

    @property
    def needed(self) -> tuple[VendorApi, ...]:
        """The APIs of a perfect episode, each once."""
        return Toolset((), tuple(self.offer.bound[node] for node in self.calls)).needed

    @property
    def calls(self) -> list[int]:
        """The nodes that a perfect episode calls, in order.

        All of the plan where the task is solvable. The offer shows that a tool is missing, so nothing is called then;
        the other obstacles show in the answer to the blocked call, which needs the calls before it.
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

"""What is known about a task and kept from whoever solves it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from toolserver.world.tasks.columns import Columns
from toolserver.world.tasks.offers import Offer
from toolserver.world.tasks.plan import Plan
from toolserver.world.vendors import VendorApi


class Obstacle(StrEnum):
    """Why a task cannot be solved with the offered tools."""

    NONE = ""
    MISSING = "missing"  # no offered tool does what a later call needs
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
    offer: Offer
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
        if self.solvable:
            return self.offer.needed
        nodes = self.before()
        if self.obstacle is not Obstacle.MISSING:
            nodes.append(self.blocked)
        return Offer((), tuple(self.offer.bound[node] for node in nodes)).needed

    def before(self) -> list[int]:
        """For an unsolvable task, the nodes that the blocked one waits for, in order."""
        waiting, found = [self.blocked], set[int]()
        while waiting:
            parents = set(self.plan.nodes[waiting.pop()].parents()) - found
            found |= parents
            waiting.extend(parents)
        return sorted(found)

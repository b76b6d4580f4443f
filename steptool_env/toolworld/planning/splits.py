"""Splits of ToolWorld: their tools, categories and instructions.

The six test splits have StableToolBench's names and meanings: new instructions (`G1_instruction`, `G2_instruction`,
`G3_instruction`), new tools of seen categories (`G1_tool`), new categories (`G1_category`, `G2_category`); G1 uses one
tool, G2 several tools of a category, G3 tools of several categories. `demonstrations` and `practice` are disjoint
halves of the instructions of `train`, for imitation and for reinforcement learning.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from toolserver.errors import ConfigurationError
from toolserver.world.seeded_random import number
from toolserver.world.vendors import VendorTool
from toolserver.world.world import World

ONE_TOOL, ONE_CATEGORY, CROSS = "one tool", "one category", "across categories"
PANEL = 400
"""Number of tasks of each split but those for training."""
_SHARES = 10  # instructions are split into tenths: 7 for training, 1 for validation, 2 for tests
_UNSEEN_TOOLS = 6  # one in six tools is held out for G1_tool
_UNSEEN_CATEGORIES = 5  # one in five categories is held out for G1_category and G2_category


@dataclass(frozen=True, slots=True)
class Split:
    """One split.

    Attributes:
        name: Name.
        size: Number of tasks.
        part: Part of the instructions: `train`, `validation` or `test`.
        spans: Possible spans of a task's tools, equally likely.
        depths: Depth -> weight; `None` for the weights of the level.
        tools: `seen`, or `unseen` for tools that are not in training.
        categories: `seen`, or `unseen` for categories that are not in training.
        unsolvable: Share of unsolvable tasks; `None` for the setting of the suite.
        half: Half of the training instructions, 0 or 1; `None` for both.
        even: True if a split for training limits the expected share of a family of plans, as other splits do.
    """

    name: str
    size: int
    part: str = "test"
    spans: tuple[str, ...] = (ONE_TOOL, ONE_CATEGORY, CROSS)
    depths: Mapping[int, float] | None = None
    tools: str = "seen"
    categories: str = "seen"
    unsolvable: float | None = 0.0
    half: int | None = None
    even: bool = False

    def contains(self, signature: bytes) -> bool:
        """Return True if the split may have a task with the plan of this signature."""
        if part_of(signature) != self.part:
            return False
        return self.half is None or number("half", signature.decode()) % 2 == self.half


SPLITS = {
    split.name: split
    for split in (
        Split("train", 20_000, "train", unsolvable=None),
        Split("demonstrations", 40_000, "train", unsolvable=None, half=0),
        Split("practice", 40_000, "train", unsolvable=None, half=1, even=True),
        Split("validation", PANEL, "validation"),
        Split("G1_instruction", PANEL, spans=(ONE_TOOL,)),
        Split("G1_tool", PANEL, spans=(ONE_TOOL,), tools="unseen"),
        Split("G1_category", PANEL, spans=(ONE_TOOL,), categories="unseen"),
        Split("G2_instruction", PANEL, spans=(ONE_CATEGORY,)),
        Split("G2_category", PANEL, spans=(ONE_CATEGORY,), categories="unseen"),
        Split("G3_instruction", PANEL, spans=(CROSS,)),
        *(Split(f"depth-{depth}", PANEL, depths={depth: 1.0}) for depth in range(1, 7)),
        Split("unsolvable", PANEL, unsolvable=1.0),
    )
}

DEPTHS: dict[str, dict[int, float]] = {
    "lite": {1: 0.3, 2: 0.45, 3: 0.25},
    "standard": {1: 0.15, 2: 0.3, 3: 0.25, 4: 0.15, 5: 0.1, 6: 0.05},
    "full": {1: 0.1, 2: 0.25, 3: 0.25, 4: 0.2, 5: 0.12, 6: 0.08},
}
"""Level -> depth -> weight, for splits that do not fix the depth."""


def split_of(name: str) -> Split:
    """Return the split called `name`. Raises `ConfigurationError` for an unknown name."""
    if name not in SPLITS:
        raise ConfigurationError(f"split: {name!r} is not a split of ToolWorld; use one of {', '.join(SPLITS)}")
    return SPLITS[name]


def part_of(signature: bytes) -> str:
    """Return the part of a plan. It depends on the plan alone, so no plan is in two parts."""
    share = number("part", signature.decode()) % _SHARES
    if share < 7:
        return "train"
    return "validation" if share == 7 else "test"


def unseen_categories(world: World) -> frozenset[str]:
    """Return the categories that are held out for the category splits: a fifth, at least one."""
    categories = sorted({domain.category for domain in world.domains.values()})
    categories.sort(key=lambda category: number("unseen category", world.seed, category))
    return frozenset(categories[: max(1, len(categories) // _UNSEEN_CATEGORIES)])


def is_unseen_tool(world: World, index: int) -> bool:
    """Return True if the vendor at `index` is held out for the split of new tools."""
    return number("unseen tool", world.seed, index) % _UNSEEN_TOOLS == 0


def admits(split: Split, world: World, tool: VendorTool, unseen: frozenset[str]) -> bool:
    """Return True if a task of a split may offer a tool."""
    if (tool.domain.category in unseen) != (split.categories == "unseen"):
        return False
    # All tools of unseen categories are new. In other categories, held-out tools are for `G1_tool` alone.
    return split.categories == "unseen" or is_unseen_tool(world, tool.index) == (split.tools == "unseen")

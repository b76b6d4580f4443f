"""Train, validation and test share no task; unseen tools and categories are not in training."""

from itertools import combinations

from steptool_env.toolworld import SPLITS
from steptool_env.toolworld.planning.splits import admits, split_of, unseen_categories
from tests.toolserver.world.worlds import sampler, tasks, vendors

TESTS = [name for name, split in SPLITS.items() if split.part == "test"]


def signatures(split: str, count: int) -> set[bytes]:
    return {task.plan.signature for task in tasks(split, count=count) if task.solvable}


def test_no_instruction_is_in_two_parts() -> None:
    test = set[bytes]().union(*(signatures(split, 60) for split in TESTS if not split.startswith("depth-")))
    parts = [signatures("train", 600), signatures("validation", 60), test]
    assert all(not one & other for one, other in combinations(parts, 2))


def test_demonstrations_and_practice_are_disjoint_halves_of_training() -> None:
    train, first, second = (signatures(split, 400) for split in ("train", "demonstrations", "practice"))
    assert not first & second
    inside = [sum(split_of(half).contains(each) for each in train) for half in ("demonstrations", "practice")]
    assert sum(inside) == len(train)
    assert min(inside) > 0.4 * len(train)


def offered_tools(split: str, count: int = 60) -> set[int]:
    return {api.vendor.index for task in tasks(split, count=count) for api in task.toolset.apis}


def offered_categories(split: str, count: int = 60) -> set[str]:
    return {api.spec.category for task in tasks(split, count=count) for api in task.toolset.apis}


def test_the_tools_of_g1_tool_are_new_and_their_categories_are_not() -> None:
    train = sampler("train").toolsets
    assert not offered_tools("G1_tool") & {tool.index for tool in train.tools}
    assert offered_categories("G1_tool") <= set(train.categories)


def test_the_categories_of_the_category_splits_are_new() -> None:
    train, validation = (set(sampler(split).toolsets.categories) for split in ("train", "validation"))
    for split in ("G1_category", "G2_category"):
        assert not offered_categories(split) & (train | validation)


def test_the_other_splits_offer_only_what_training_meets() -> None:
    train = {tool.index for tool in sampler("train").toolsets.tools}
    for split in ("validation", "G1_instruction", "G2_instruction", "G3_instruction", "depth-3", "unsolvable"):
        assert offered_tools(split, 30) <= train


def test_every_tool_belongs_to_exactly_one_of_seen_new_and_new_category() -> None:
    world = vendors().world
    unseen = unseen_categories(world)
    for tool in vendors():
        homes = [split for split in ("train", "G1_tool", "G1_category") if admits(split_of(split), world, tool, unseen)]
        assert len(homes) == 1

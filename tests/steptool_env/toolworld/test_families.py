"""Families of plans: what differs in names alone is one family, and none has more than its share of a panel."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steptool_env.toolworld import TaskSampler, WorldTask
from steptool_env.toolworld.planning.families import family_of
from steptool_env.toolworld.planning.plan import From, Given, Node, Plan
from steptool_env.toolworld.sampler import kept_shares
from tests.toolserver.world.worlds import LEVELS, tasks, vendors
from toolserver.world.changes import NO_CHANGES
from toolserver.world.vendors import VendorRegistry

SHARE, EVEN = 0.05, 1.25


def plan(*calls: tuple[str, dict[str, Given | From]]) -> Plan:
    """Execute calls of the world `full` as one plan."""
    world = vendors("full").world
    nodes, results = [], []
    for name, inputs in calls:
        values = {
            each: source.value if isinstance(source, Given) else results[source.node].rows[0].values[source.output]
            for each, source in inputs.items()
        }
        nodes.append(Node(name, inputs))
        results.append(world.execute(world.operations[name], values, NO_CHANGES))
    return Plan(tuple(nodes), tuple(results), ())


def best_in_city(entity: str, city: int, **order: Given) -> str:
    name = vendors("full").world.table("city").names[city]
    search = ("city.search", {"name": Given(name)})
    return family_of(plan(search, (f"{entity}.top_rating_by_city", {"city_id": From(0, "city_id"), **order})))


def test_names_kinds_of_rows_and_stated_words_make_no_family_and_operations_do() -> None:
    assert best_in_city("hotel", 3) == "search a; rank b #1:a"
    assert best_in_city("hotel", 5) == best_in_city("hotel", 3)
    assert best_in_city("restaurant", 3) == best_in_city("hotel", 3)
    assert best_in_city("hotel", 3, order=Given("ascending")) == best_in_city("hotel", 3)
    city = vendors("full").world.table("city").names[3]
    search = ("city.search", {"name": Given(city)})
    assert family_of(plan(search, ("hotel.by_city", {"city_id": From(0, "city_id")}))) == "search a; related b #1:a"


def test_a_family_says_which_call_supplies_what_and_which_id_is_stated() -> None:
    first, second = vendors("full").world.ids("city")[:2]
    two = plan(("city.distance", {"origin_id": Given(first), "destination_id": Given(second)}))
    assert family_of(two) == "city.distance :a :a"
    names = vendors("full").world.table("city").names
    searches = [("city.search", {"name": Given(name)}) for name in names[:2]]
    ids = {"origin_id": From(0, "city_id"), "destination_id": From(1, "city_id")}
    assert family_of(plan(*searches, ("city.distance", dict(ids)))) == ("search a; search a; city.distance #1:a #2:a")


def shares(drawn: list[WorldTask]) -> Counter[str]:
    return Counter(task.family for task in drawn)


@pytest.mark.parametrize("level", ["lite", *(pytest.param(level, marks=pytest.mark.slow) for level in LEVELS[1:])])
@pytest.mark.parametrize("split", ["validation", "G3_instruction", "depth-1", "depth-2", "depth-4"])
def test_no_family_has_more_than_its_share_of_a_panel(split: str, level: str) -> None:
    drawn = tasks(split, level, 120)
    found = shares(drawn)
    allowed = max(SHARE, EVEN / len(found))
    assert max(found.values()) <= allowed * len(drawn) + 1, found.most_common(3)


@pytest.mark.parametrize(("depth", "families"), [(3, 35), (4, 45), (5, 60)])
def test_training_tasks_of_a_depth_are_of_many_families_and_none_is_large(depth: int, families: int) -> None:
    """Shares of 1,000 tasks in the demonstration's world; once, two plans made 39 % of the chains of four calls."""
    sampler = TaskSampler(VendorRegistry(vendors().world, 26), "practice", 0.0, {depth: 1.0})
    found = shares([sampler.task(index) for index in range(1000)])
    assert len(found) >= families
    assert max(found.values()) <= SHARE * 1000, found.most_common(3)


@given(st.dictionaries(st.text(min_size=1, max_size=3), st.integers(1, 500), min_size=1, max_size=60))
def test_keeping_some_tasks_of_frequent_families_leaves_none_with_more_than_its_share(counts: dict[str, int]) -> None:
    probabilities = kept_shares(counts, SHARE)
    kept = {family: counts[family] * probabilities[family] for family in counts}
    allowed = max(SHARE, EVEN / len(counts))
    assert max(kept.values()) <= allowed * sum(kept.values()) * (1 + 1e-5)
    assert probabilities[min(counts, key=counts.__getitem__)] == 1
    if max(counts.values()) <= allowed * sum(counts.values()):
        assert set(probabilities.values()) == {1.0}

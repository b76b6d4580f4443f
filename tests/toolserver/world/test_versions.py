"""A new domain appears in a new version of the world and leaves the older versions as they are."""

import pytest

from tests.toolserver.world.test_digest import DIGESTS
from toolserver.errors import ConfigurationError
from toolserver.world import Domain, EntityType, VendorRegistry, World, make_world
from toolserver.world.digest import DIGESTED_APIS, world_digest
from toolserver.world.domains import DOMAINS
from toolserver.world.generators import names
from toolserver.world.generators.columns import integers, link, measure, named
from toolserver.world.types import COUNT

ZOO = EntityType(
    "zoo", "zoos", "zoo", "ZO", (10, 20, 40),
    (named("zoo", names.landmark), measure("animals", COUNT, integers(50, 5000), "number of animals"), link("city")),
)  # fmt: skip
ZOOS = Domain("zoos", "Animals", (ZOO,), words=("Zoo", "Safari", "Animal"), since=2)


def world(version: int, level: str = "lite") -> World:
    return make_world(0, level, version, (*DOMAINS, ZOOS))


def test_a_new_domain_leaves_the_first_version_as_it_is() -> None:
    first = VendorRegistry(world(1))
    assert world_digest(first, DIGESTED_APIS) == DIGESTS[0, "lite"]
    assert first.identity == VendorRegistry(make_world()).identity
    assert "zoo.search" not in first.world.operations


@pytest.mark.parametrize("level", ["lite", "full"])
def test_a_new_domain_is_in_its_version_and_changes_no_table_of_another(level: str) -> None:
    first, second = VendorRegistry(world(1, level)), VendorRegistry(world(2, level))
    assert "zoo.top_animals_by_city" in second.world.operations
    assert second.offering("zoo.search")
    assert second.identity != first.identity
    assert all(second.world.table(entity).rows == first.world.table(entity).rows for entity in first.world.entities)


@pytest.mark.parametrize("version", [0, 3, True, "1"])
def test_an_unknown_version_names_the_valid_ones(version: object) -> None:
    with pytest.raises(ConfigurationError, match="use 1 to 2"):
        world(version)  # type: ignore[arg-type]

"""The world's data: complete, linked, typed, reproducible, and independent of the order in which it is made."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from toolserver.errors import ConfigurationError
from toolserver.world import SemanticType, ValueKind, World, make_world
from toolserver.world.changes import NO_CHANGES, Change
from toolserver.world.domains import DOMAINS

LEVELS = ("lite", "standard", "full")


@pytest.fixture(scope="module", params=LEVELS)
def world(request: pytest.FixtureRequest) -> World:
    return make_world(11, request.param)


def test_there_are_at_least_fourteen_domains_of_their_own_category() -> None:
    assert len(DOMAINS) >= 14
    assert len({domain.category for domain in DOMAINS}) == len(DOMAINS)


def test_every_domain_is_linked_to_another_one() -> None:
    home = {entity.name: domain.name for domain in DOMAINS for entity in domain.entities}
    for domain in DOMAINS:
        targets = {link.type.entity for entity in domain.entities for link in entity.references()}
        inwards = {
            home[entity.name]
            for other in DOMAINS
            for entity in other.entities
            for link in entity.references()
            if home[link.type.entity] == domain.name
        }
        assert ({home[target] for target in targets} | inwards) - {domain.name}, domain.name


def test_ids_are_unique_over_the_whole_world(world: World) -> None:
    ids = [row_id for entity in world.entities for row_id in world.ids(entity)]
    assert len(set(ids)) == len(ids)
    prefixes = [entity.prefix for entity in world.entities.values()]
    assert len(set(prefixes)) == len(prefixes)


CHECKS: dict[ValueKind, Callable[[World, SemanticType, Any], bool]] = {
    ValueKind.ID: lambda world, kind, value: value in world.ids(kind.entity),
    ValueKind.TEXT: lambda world, kind, value: value == value.strip() != "",
    ValueKind.ENUM: lambda world, kind, value: value in kind.values,
    ValueKind.INTEGER: lambda world, kind, value: type(value) is int,
    ValueKind.NUMBER: lambda world, kind, value: round(value, kind.decimals) == value,
    ValueKind.DATE: lambda world, kind, value: date.fromisoformat(value).isoformat() == value,
    ValueKind.TIME: lambda world, kind, value: "00:00" <= value < "24:00" and len(value) == 5,
    ValueKind.BOOLEAN: lambda world, kind, value: type(value) is bool,
}


def test_every_value_is_of_its_semantic_type(world: World) -> None:
    for entity in world.entities.values():
        for row in world.table(entity.name).rows.values():
            assert list(row) == [attribute.name for attribute in entity.attributes]
            for attribute in entity.attributes:
                kind, value = attribute.type, row[attribute.name]
                assert CHECKS[kind.kind](world, kind, value), (entity.name, attribute.name, value)


def test_names_are_unique_within_a_table(world: World) -> None:
    for entity in world.entities:
        folded = list(world.table(entity).folded.values())
        assert len(set(folded)) == len(folded), entity


def test_a_train_or_flight_never_ends_where_it_starts(world: World) -> None:
    for entity, start, end in (
        ("flight", "origin_id", "destination_id"),
        ("train", "origin_id", "destination_id"),
        ("match", "home_team_id", "away_team_id"),
    ):
        assert all(row[start] != row[end] for row in world.table(entity).rows.values())


def test_the_same_seed_gives_the_same_tables_in_any_order() -> None:
    forwards, backwards = make_world(3), make_world(3)
    names = list(forwards.entities)
    first = {name: forwards.table(name).rows for name in names}
    second = {name: backwards.table(name).rows for name in reversed(names)}
    assert first == second


def test_other_seeds_and_levels_give_other_rows() -> None:
    rows = [make_world(seed, level).table("city").rows for seed, level in ((0, "lite"), (1, "lite"), (0, "standard"))]
    assert rows[0] != rows[1]
    assert len(rows[0]) < len(rows[2])


@pytest.mark.parametrize("seed", [-1, 2**63, "7", 1.0, True])
def test_a_wrong_seed_is_refused(seed: object) -> None:
    with pytest.raises(ConfigurationError, match="seed"):
        make_world(seed)  # type: ignore[arg-type]


def test_an_unknown_level_names_the_valid_ones() -> None:
    with pytest.raises(ConfigurationError, match="lite, standard, full"):
        make_world(0, "huge")


@pytest.mark.parametrize("descending", [True, False])
def test_a_ranking_is_sorted_stable_and_follows_changes(world: World, descending: bool) -> None:
    parent = world.ids("city")[0]
    rows = world.table("hotel").rows

    def expected(values: dict[str, Any], ids: list[str]) -> list[str]:
        return sorted(ids, key=values.__getitem__, reverse=descending)

    prices = {row_id: row["price"] for row_id, row in rows.items()}
    for of, value in (("city_id", parent), ("", None)):
        ids = world.where("hotel", of, value) if of else list(world.ids("hotel"))
        ranked = world.ranked("hotel", "price", of, value, descending=descending, changes=NO_CHANGES)
        assert list(ranked) == expected(prices, ids)
    dearest = Change("hotel", world.ids("hotel")[-1], {"price": max(prices.values()) + 1})
    after = world.ranked("hotel", "price", descending=descending, changes=NO_CHANGES.then(dearest))
    assert after[0 if descending else -1] == dearest.id
    assert list(world.ranked("hotel", "price", descending=descending, changes=NO_CHANGES)) == expected(
        prices, list(world.ids("hotel"))
    )


def test_tables_named_gives_every_table_in_which_a_name_stands(world: World) -> None:
    names = {entity: [name.casefold() for name in world.table(entity).names] for entity in world.entities}
    shared = 0
    for name in sorted({name for column in names.values() for name in column})[::7]:
        expected = tuple(entity for entity, column in names.items() if name in column)
        assert world.tables_named(f" {name.upper()} ") == expected
        shared += len(expected) > 1
    assert shared  # the world has such names, so the test can fail
    assert world.tables_named("No Such Name") == ()

"""Operations that every entity type has by its shape: searching, showing, listing, ranking, comparing, averaging.

Each function here takes an entity type and gives the operations of one kind; `operations.py` calls them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import fsum
from typing import TYPE_CHECKING, Any

from toolserver.world.delta import Delta
from toolserver.world.levels import Level
from toolserver.world.schema import (
    Answer,
    Attribute,
    EntityType,
    Kind,
    Operation,
    OperationKind,
    Output,
    Row,
    SemanticType,
    Slot,
)
from toolserver.world.types import COUNT, ORDER, id_of

if TYPE_CHECKING:
    from toolserver.world.world import World

_MEAN_DECIMALS = 2
_TOP = 3
_MOST = 20


def id_output(entity: EntityType, name: str = "") -> Output:
    """The output that carries a row's own id."""
    return Output(id_of(entity.name), f"{entity.name}.id", f"{entity.label} id", ("id",) if not name else ())


def output(entity: EntityType, attribute: Attribute) -> Output:
    """The output that carries one attribute of a row."""
    fact = f"{entity.name}.{attribute.name}"
    return Output(attribute.type, fact, attribute.label, attribute.aka, volatile=attribute.volatile)


def listing(entity: EntityType, level: Level, *more: Attribute) -> dict[str, Output]:
    """The outputs of a row in a list: id, name, what else the level shows, and `more`."""
    shown = [entity.attributes[0], *_brief(entity, level), *more]
    return {entity.id_name: id_output(entity)} | {each.name: output(entity, each) for each in shown}


def rows_of(world: World, entity: EntityType, ids: list[str], outputs: Mapping[str, Output], delta: Delta) -> list[Row]:
    """Rows with these outputs, id included where it is one of them."""
    names = [name for name in outputs if name != entity.id_name]
    rows = []
    for row_id in ids:
        row = world.row(entity.name, row_id, delta) or {}
        values = {entity.id_name: row_id} if entity.id_name in outputs else {}
        for name in names:
            values[name] = row[name]
        rows.append(Row(row_id, values))
    return rows


def _brief(entity: EntityType, level: Level) -> list[Attribute]:
    """Attributes shown in lists: descriptive ones, never a measure or a reference, which would save a needed call."""
    shown = [each for each in entity.attributes[1:] if not each.measure and each.type.kind is Kind.ENUM]
    return shown[: level.brief]


def measures(entity: EntityType, level: Level) -> list[Attribute]:
    """The measures that get operations of their own at this level."""
    return [each for each in entity.attributes if each.measure][: level.measures]


def search(entity: EntityType, domain: str, level: Level) -> Iterator[Operation]:
    """Name -> ids."""
    named = entity.attributes[0]
    outputs = listing(entity, level)

    def run(world: World, values: Mapping[str, Any], delta: Delta) -> Answer:
        return rows_of(world, entity, world.find(entity.name, values[named.name], delta), outputs, delta), delta

    slot = Slot(named.type, f"{named.label} of the {entity.label}, or a part of it", aka=("query", "q", "keyword"))
    yield Operation(
        f"{entity.name}.search", domain, OperationKind.SEARCH, entity.name, {named.name: slot}, outputs, run,
        many=True, phrase=f"Find {entity.plural} by {named.label}",
        verbs=(f"search {entity.plural}", f"find {entity.label}", f"{entity.label} search"),
    )  # fmt: skip


def details(entity: EntityType, domain: str, level: Level) -> Iterator[Operation]:
    """Id -> attributes."""
    shown = entity.attributes[: level.detail + 1]
    outputs = {each.name: output(entity, each) for each in shown}

    def run(world: World, values: Mapping[str, Any], delta: Delta) -> Answer:
        row_id = values[entity.id_name]
        row = world.need(entity.name, row_id, delta)
        return [Row(row_id, {name: row[name] for name in outputs})], delta

    yield Operation(
        f"{entity.name}.details", domain, OperationKind.DETAILS, entity.name, {entity.id_name: _id_slot(entity)},
        outputs, run, phrase=f"Details of one {entity.label}",
        verbs=(f"get {entity.label} details", f"{entity.label} info", f"{entity.label} by id"),
    )  # fmt: skip


def lookups(entity: EntityType, domain: str, level: Level) -> Iterator[Operation]:
    """Id -> one measure."""
    for each in measures(entity, level):
        yield _lookup(entity, domain, each)


def _lookup(entity: EntityType, domain: str, attribute: Attribute) -> Operation:
    def run(world: World, values: Mapping[str, Any], delta: Delta) -> Answer:
        row_id = values[entity.id_name]
        row = world.need(entity.name, row_id, delta)
        return [Row(row_id, {attribute.name: row[attribute.name]})], delta

    return Operation(
        f"{entity.name}.{attribute.name}", domain, OperationKind.LOOKUP, entity.name,
        {entity.id_name: _id_slot(entity)}, {attribute.name: output(entity, attribute)}, run, attribute.name,
        phrase=f"The {attribute.label} of one {entity.label}",
        verbs=(f"get {attribute.label}", f"{entity.label} {attribute.label}", f"{attribute.label} of {entity.label}"),
    )  # fmt: skip


def lists(entity: EntityType, domain: str, level: Level) -> Iterator[Operation]:
    """Optional filters -> ids."""
    filters = _filters(entity, level)
    if not filters:
        return
    outputs = listing(entity, level)

    def run(world: World, values: Mapping[str, Any], delta: Delta) -> Answer:
        ids = _filtered(world, entity, filters, values, delta)
        return rows_of(world, entity, ids, outputs, delta), delta

    yield Operation(
        f"{entity.name}.list", domain, OperationKind.LIST, entity.name, filters, outputs, run,
        many=True, phrase=f"List {entity.plural} with filters",
        verbs=(f"list {entity.plural}", f"filter {entity.plural}", f"browse {entity.plural}"),
    )  # fmt: skip


def _filters(entity: EntityType, level: Level) -> dict[str, Slot]:
    """One required enumeration, if the type has any, then bounds on its measures."""
    filters: dict[str, Slot] = {}
    for each in (each for each in entity.attributes if each.type.kind is Kind.ENUM):
        filters[each.name] = Slot(
            each.type, each.label, required=not filters, aka=each.aka, test="is", attribute=each.name
        )
    for each in measures(entity, level) if level.brief or not filters else ():
        for bound in ("min", "max") if level.brief else ("min",):
            filters[f"{bound}_{each.name}"] = Slot(
                each.type, f"{bound}imum {each.label}", not filters, test=bound, attribute=each.name
            )
    return filters


def _filtered(
    world: World, entity: EntityType, filters: Mapping[str, Slot], values: Mapping[str, Any], delta: Delta
) -> list[str]:
    tests = [(slot, values[name]) for name, slot in filters.items() if values.get(name) is not None]
    if tests and tests[0][0].test == "is":
        slot, wanted = tests.pop(0)
        ids = world.where(entity.name, slot.attribute, wanted, delta)
    else:
        ids = world.every(entity.name, delta)
    if not tests:
        return ids
    return [i for i in ids if all(_passes(world.need(entity.name, i, delta), slot, wanted) for slot, wanted in tests)]


def _passes(row: Mapping[str, Any], slot: Slot, wanted: Any) -> bool:
    value = row[slot.attribute]
    if slot.test == "min":
        return bool(value >= wanted)
    return bool(value <= wanted) if slot.test == "max" else bool(value == wanted)


def related(entity: EntityType, domain: str, level: Level, types: Mapping[str, EntityType]) -> Iterator[Operation]:
    """Parent id -> ids of its children, for every reference."""
    for reference in entity.references():
        yield _related(entity, domain, level, reference, types[reference.type.entity])


def _related(entity: EntityType, domain: str, level: Level, reference: Attribute, parent: EntityType) -> Operation:
    outputs = listing(entity, level)

    def run(world: World, values: Mapping[str, Any], delta: Delta) -> Answer:
        parent_id = values[reference.name]
        world.need(parent.name, parent_id, delta)
        ids = world.where(entity.name, reference.name, parent_id, delta)
        return rows_of(world, entity, ids, outputs, delta), delta

    word = reference.label
    return Operation(
        f"{entity.name}.by_{reference.name.removesuffix('_id')}", domain, OperationKind.RELATED, entity.name,
        {reference.name: _id_slot(parent, word)}, outputs, run, parent=parent.name, many=True,
        phrase=f"{entity.plural.capitalize()} of one {word}",
        verbs=(f"{entity.plural} by {word}", f"get {word} {entity.plural}", f"{word} {entity.plural}"),
    )  # fmt: skip


def ranks(entity: EntityType, domain: str, level: Level, types: Mapping[str, EntityType]) -> Iterator[Operation]:
    """The children of a parent with the highest value of a measure; without references, the rows of the whole table."""
    references = list(entity.references())[: level.measures]
    for each in measures(entity, level):
        for reference in references:
            yield _rank(entity, domain, level, each, reference, types[reference.type.entity])
        if not references:
            yield _rank(entity, domain, level, each, None, None)


def _rank(
    entity: EntityType, domain: str, level: Level, by: Attribute, reference: Attribute | None, parent: EntityType | None
) -> Operation:
    outputs = listing(entity, level, by)

    def run(world: World, values: Mapping[str, Any], delta: Delta) -> Answer:
        if reference is not None and parent is not None:
            world.need(parent.name, values[reference.name], delta)
            ids = world.where(entity.name, reference.name, values[reference.name], delta)
        else:
            ids = world.every(entity.name, delta)
        descending = values.get("order") != "ascending"
        ranked = sorted(ids, key=lambda i: world.need(entity.name, i, delta)[by.name], reverse=descending)
        return rows_of(world, entity, ranked[: values["limit"]], outputs, delta), delta

    inputs = {reference.name: _id_slot(parent, reference.label)} if reference and parent else {}
    inputs["limit"] = Slot(COUNT, "how many to return", False, _TOP, ("count", "top", "n"), low=1, high=_MOST)
    if level.brief:
        inputs["order"] = Slot(ORDER, "sort order", False, "descending", ("sort", "direction"))
    scope = f" of one {reference.label}" if reference else ""
    within = f"_by_{reference.name.removesuffix('_id')}" if reference else ""
    return Operation(
        f"{entity.name}.top_{by.name}{within}", domain, OperationKind.RANK, entity.name, inputs, outputs, run, by.name,
        parent.name if parent else "", many=True, phrase=f"{entity.plural.capitalize()}{scope} by highest {by.label}",
        verbs=(
            f"top {entity.plural} by {by.label}" + (f" in {reference.label}" if reference else ""),
            f"rank {entity.plural} by {by.label}" + (f" for {reference.label}" if reference else ""),
            f"highest {by.label} {entity.plural}" + (f" of {reference.label}" if reference else ""),
        ),
    )  # fmt: skip


def aggregates(entity: EntityType, domain: str, level: Level, types: Mapping[str, EntityType]) -> Iterator[Operation]:
    """Parent id -> how many children there are, and the mean of a measure over them."""
    references = list(entity.references())[:1]
    for each in measures(entity, level)[:1]:
        for reference in references:
            yield _aggregate(entity, domain, each, reference, types[reference.type.entity])


def _aggregate(entity: EntityType, domain: str, over: Attribute, reference: Attribute, parent: EntityType) -> Operation:
    name = f"{entity.name}.average_{over.name}_by_{reference.name.removesuffix('_id')}"
    mean_name = f"average_{over.name}"

    def run(world: World, values: Mapping[str, Any], delta: Delta) -> Answer:
        world.need(parent.name, values[reference.name], delta)
        ids = world.where(entity.name, reference.name, values[reference.name], delta)
        numbers = [world.need(entity.name, row_id, delta)[over.name] for row_id in ids]
        row: dict[str, Any] = {"count": len(numbers)}
        if numbers:
            row[mean_name] = round(fsum(numbers) / len(numbers), _MEAN_DECIMALS)
        return [Row("", row)], delta

    mean_type = SemanticType(over.type.name, Kind.NUMBER, over.type.unit, decimals=_MEAN_DECIMALS)
    outputs = {
        "count": Output(COUNT, f"{name}.count", f"number of {entity.plural}", ("total",), derived=True),
        mean_name: Output(mean_type, f"{name}.mean", f"average {over.label}", ("average", "mean"), derived=True),
    }
    word = reference.label
    return Operation(
        name, domain, OperationKind.AGGREGATE, entity.name, {reference.name: _id_slot(parent, word)}, outputs, run,
        over.name, parent.name, phrase=f"Number of {entity.plural} of one {word} and their average {over.label}",
        verbs=(f"average {over.label} by {word}", f"{word} {entity.label} statistics", f"mean {over.label} for {word}"),
    )  # fmt: skip


def compares(entity: EntityType, domain: str, level: Level) -> Iterator[Operation]:
    """Two ids -> which has more of a measure, and by how much."""
    for each in measures(entity, level)[:1]:
        yield _compare(entity, domain, each)


def _compare(entity: EntityType, domain: str, by: Attribute) -> Operation:
    name = f"{entity.name}.compare_{by.name}"
    named = entity.attributes[0]

    def run(world: World, values: Mapping[str, Any], delta: Delta) -> Answer:
        first, second = values["first_id"], values["second_id"]
        one = world.need(entity.name, first, delta)[by.name]
        other = world.need(entity.name, second, delta)[by.name]
        winner = first if one >= other else second
        row = world.need(entity.name, winner, delta)
        difference = round(abs(one - other), by.type.decimals)
        return [Row(winner, {entity.id_name: winner, named.name: row[named.name], "difference": difference})], delta

    outputs = {
        entity.id_name: id_output(entity),
        named.name: output(entity, named),
        "difference": Output(by.type, f"{name}.difference", f"difference in {by.label}", ("diff", "gap"), derived=True),
    }
    inputs = {
        "first_id": _id_slot(entity, f"first {entity.label}"),
        "second_id": _id_slot(entity, f"second {entity.label}"),
    }
    return Operation(
        name, domain, OperationKind.COMPARE, entity.name, inputs, outputs, run, by.name,
        phrase=f"Which of two {entity.plural} has the higher {by.label}",
        verbs=(f"compare {by.label}", f"compare {entity.plural} by {by.label}", f"{by.label} comparison"),
    )  # fmt: skip


def _id_slot(entity: EntityType, word: str = "") -> Slot:
    return Slot(id_of(entity.name), f"id of the {word or entity.label}", aka=(entity.name, f"{entity.name}_code"))

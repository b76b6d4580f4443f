"""Operations that find and show rows: search, details, one attribute, filtered list, children of a row.

Each public function yields the operations of one kind for an entity type; `registry.py` calls them.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from toolserver.world.changes import Changes
from toolserver.world.levels import WorldLevel
from toolserver.world.operations.result_rows import id_slot, measures, output, row_maker, row_outputs, words_of
from toolserver.world.schema import (
    Answer,
    Attribute,
    EntityType,
    Operation,
    OperationKind,
    Output,
    Row,
    Run,
    Slot,
    ValueKind,
    WorldView,
)

IdRow = tuple[str, dict[str, Any]]


def search(entity: EntityType, level: WorldLevel) -> Iterator[Operation]:
    """Yield: name -> ids."""
    named = entity.attributes[0]
    outputs = row_outputs(entity, level)
    rows_of = row_maker(entity, outputs)

    def run(world: WorldView, values: Mapping[str, Any], changes: Changes) -> Answer:
        return rows_of(world, world.find(entity.name, values[named.name], changes), changes), changes

    slot = Slot(named.type, f"{named.label} of the {entity.label}, or a part of it", aka=("query", "q", "keyword"))
    yield Operation(
        f"{entity.name}.search", OperationKind.SEARCH, entity.name, {named.name: slot}, outputs, run,
        many=True, phrase=f"Find {entity.plural} by {named.label}",
        paraphrases=(
            f"Look up {_a(entity.label)} by {named.label}",
            f"Search our {entity.plural} by {named.label}",
            f"Gives the ids of {entity.plural} with a {named.label}",
        ),
        verbs=(f"search {entity.plural}", f"find {entity.label}", f"{entity.label} search"),
    )  # fmt: skip


def details(entity: EntityType, level: WorldLevel) -> Iterator[Operation]:
    """Yield: id -> attributes."""
    shown = entity.attributes[: level.detail + 1]
    outputs = {each.name: output(entity, each) for each in shown}
    yield Operation(
        f"{entity.name}.details", OperationKind.DETAILS, entity.name, {entity.id_name: id_slot(entity)},
        outputs, _one_row(entity, outputs), phrase=f"Details of one {entity.label}",
        paraphrases=(
            f"Shows {_a(entity.label)} in full",
            f"What we know about {_a(entity.label)}",
            f"Facts about {_a(entity.label)} by id",
        ),
        verbs=(f"get {entity.label} details", f"{entity.label} info", f"{entity.label} by id"),
    )  # fmt: skip


def lookups(entity: EntityType, level: WorldLevel) -> Iterator[Operation]:
    """Yield: id -> one measure."""
    for each in measures(entity, level):
        word, outputs = words_of(each), {each.name: output(entity, each)}
        yield Operation(
            f"{entity.name}.{each.name}", OperationKind.LOOKUP, entity.name, {entity.id_name: id_slot(entity)},
            outputs, _one_row(entity, outputs), each.name, phrase=f"The {each.label} of one {entity.label}",
            paraphrases=(
                f"Get the {each.label} of {_a(entity.label)}",
                f"Returns the {each.label} of the given {entity.label}",
                f"Tells the {each.label} for {_a(entity.label)} id",
            ),
            verbs=(f"get {entity.label} {word}", f"{entity.label} {word}", f"{word} of {entity.label}"),
        )  # fmt: skip


def _one_row(entity: EntityType, outputs: Mapping[str, Output]) -> Run:
    """Return the implementation that shows these outputs of the row whose id is given."""
    id_name, entity_name = entity.id_name, entity.name

    def run(world: WorldView, values: Mapping[str, Any], changes: Changes) -> Answer:
        row_id = values[id_name]
        row = world.need(entity_name, row_id, changes)
        shown = {}
        for name in outputs:  # a comprehension would cost a call
            shown[name] = row[name]
        return [Row(row_id, shown)], changes

    return run


def lists(entity: EntityType, level: WorldLevel) -> Iterator[Operation]:
    """Yield: filters -> ids."""
    filters = _filters(entity, level)
    if not filters:
        return
    outputs = row_outputs(entity, level)
    rows_of = row_maker(entity, outputs)
    words_of_filters = " or ".join(dict.fromkeys(slot.attribute.replace("_", " ") for slot in filters.values()))

    def run(world: WorldView, values: Mapping[str, Any], changes: Changes) -> Answer:
        ids = _filtered(world, entity, filters, values, changes)
        return rows_of(world, ids, changes), changes

    yield Operation(
        f"{entity.name}.list", OperationKind.LIST, entity.name, filters, outputs, run,
        many=True, phrase=f"List {entity.plural} by {words_of_filters}",
        paraphrases=(
            f"Browse {entity.plural} by {words_of_filters}",
            f"All {entity.plural} of a given {words_of_filters}",
            f"Filter {entity.plural} by {words_of_filters}",
        ),
        verbs=(f"list {entity.plural}", f"filter {entity.plural}", f"browse {entity.plural}"),
    )  # fmt: skip


def _filters(entity: EntityType, level: WorldLevel) -> dict[str, Slot]:
    """Return the filters of a list: enumerations, the first one required, then bounds on measures."""
    filters: dict[str, Slot] = {}
    for each in (each for each in entity.attributes if each.type.kind is ValueKind.ENUM):
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
    world: WorldView, entity: EntityType, filters: Mapping[str, Slot], values: Mapping[str, Any], changes: Changes
) -> list[str]:
    tests = [(slot, values[name]) for name, slot in filters.items() if values.get(name) is not None]
    if tests and tests[0][0].test == "is":
        slot, wanted = tests.pop(0)
        ids = world.where(entity.name, slot.attribute, wanted, changes)
    else:
        ids = world.every(entity.name, changes)
    rows = list(world.rows(entity.name, ids, changes)) if tests else []
    for slot, wanted in tests:
        rows = _passing(rows, slot.test, slot.attribute, wanted)
    return [row_id for row_id, _ in rows] if tests else ids


def _passing(rows: list[IdRow], test: str, attribute: str, wanted: Any) -> list[IdRow]:
    """Return the rows that pass one filter. One loop per test: testing `test` per row would double the time."""
    if test == "min":
        return [each for each in rows if each[1][attribute] >= wanted]
    if test == "max":
        return [each for each in rows if each[1][attribute] <= wanted]
    return [each for each in rows if each[1][attribute] == wanted]


def related(entity: EntityType, level: WorldLevel, types: Mapping[str, EntityType]) -> Iterator[Operation]:
    """Yield for every reference: parent id -> ids of its children."""
    for reference in entity.references():
        yield _related(entity, level, reference, types[reference.type.entity])


def _related(entity: EntityType, level: WorldLevel, reference: Attribute, parent: EntityType) -> Operation:
    outputs = row_outputs(entity, level)
    rows_of = row_maker(entity, outputs)

    def run(world: WorldView, values: Mapping[str, Any], changes: Changes) -> Answer:
        parent_id = values[reference.name]
        world.need(parent.name, parent_id, changes)
        ids = world.where(entity.name, reference.name, parent_id, changes)
        return rows_of(world, ids, changes), changes

    word = reference.label
    return Operation(
        f"{entity.name}.by_{reference.name.removesuffix('_id')}", OperationKind.RELATED, entity.name,
        {reference.name: id_slot(parent, word)}, outputs, run, parent=parent.name, many=True,
        phrase=f"{entity.plural.capitalize()} of one {word}",
        paraphrases=(
            f"Lists the {entity.plural} of {_a(word)}",
            f"All {entity.plural} that belong to {_a(word)}",
            f"Get {entity.plural} by {word} id",
        ),
        verbs=(f"{entity.plural} by {word}", f"get {word} {entity.plural}", f"{word} {entity.plural}"),
    )  # fmt: skip


def _a(noun: str) -> str:
    """Return the noun with its indefinite article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"

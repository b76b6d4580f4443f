"""Operations over several rows: rank the children of a parent, average over them, compare two rows.

Each public function yields the operations of one kind for an entity type; `registry.py` calls them.
"""

from collections.abc import Iterator, Mapping
from math import fsum
from typing import Any

from toolserver.world.changes import Changes
from toolserver.world.levels import WorldLevel
from toolserver.world.operations.result_rows import (
    id_output,
    id_slot,
    measures,
    output,
    row_maker,
    row_outputs,
    words_of,
)
from toolserver.world.schema import (
    Answer,
    Attribute,
    EntityType,
    Operation,
    OperationKind,
    Output,
    Row,
    SemanticType,
    Slot,
    ValueKind,
    WorldView,
)
from toolserver.world.types import COUNT, ORDER

_MEAN_DECIMALS = 2
_TOP = 3
_MOST = 20


def ranks(entity: EntityType, level: WorldLevel, types: Mapping[str, EntityType]) -> Iterator[Operation]:
    """Yield: parent id -> children by a measure. For a type without references: rows of the table by a measure."""
    references = list(entity.references())[: level.measures]
    for each in measures(entity, level):
        for reference in references:
            yield _rank(entity, level, each, reference, types[reference.type.entity])
        if not references:
            yield _rank(entity, level, each, None, None)


def _rank(
    entity: EntityType, level: WorldLevel, by: Attribute, reference: Attribute | None, parent: EntityType | None
) -> Operation:
    outputs = row_outputs(entity, level, by)
    rows_of = row_maker(entity, outputs)

    def run(world: WorldView, values: Mapping[str, Any], changes: Changes) -> Answer:
        of, value = "", None
        if reference is not None and parent is not None:
            of, value = reference.name, values[reference.name]
            world.need(parent.name, value, changes)
        descending = values.get("order") != "ascending"
        ranked = world.ranked(entity.name, by.name, of, value, descending=descending, changes=changes)
        return rows_of(world, ranked[: values["limit"]], changes), changes

    inputs = {reference.name: id_slot(parent, reference.label)} if reference and parent else {}
    inputs["limit"] = Slot(COUNT, "how many to return", False, _TOP, ("count", "top", "n"), low=1, high=_MOST)
    if level.brief:
        inputs["order"] = Slot(ORDER, "sort order", False, "descending", ("sort", "direction"))
    word, scope = words_of(by), f" of one {reference.label}" if reference else ""
    within = f"_by_{reference.name.removesuffix('_id')}" if reference else ""
    return Operation(
        f"{entity.name}.top_{by.name}{within}", OperationKind.RANK, entity.name, inputs, outputs, run, by.name,
        parent.name if parent else "", many=True, phrase=f"{entity.plural.capitalize()}{scope} by highest {by.label}",
        paraphrases=(
            f"Ranks {entity.plural}{scope} by {by.label}",
            f"The {entity.plural}{scope} with the highest {by.label}",
            f"Sorts {entity.plural}{scope} by {by.label}, highest first",
        ),
        verbs=(
            f"top {entity.plural} by {word}" + (f" in {reference.label}" if reference else ""),
            f"rank {entity.plural} by {word}" + (f" for {reference.label}" if reference else ""),
            f"highest {word} {entity.plural}" + (f" of {reference.label}" if reference else ""),
        ),
    )  # fmt: skip


def aggregates(entity: EntityType, level: WorldLevel, types: Mapping[str, EntityType]) -> Iterator[Operation]:
    """Yield: parent id -> number of children and mean of a measure over them."""
    references = list(entity.references())[:1]
    for each in measures(entity, level)[:1]:
        for reference in references:
            yield _aggregate(entity, each, reference, types[reference.type.entity])


def _aggregate(entity: EntityType, over: Attribute, reference: Attribute, parent: EntityType) -> Operation:
    name = f"{entity.name}.average_{over.name}_by_{reference.name.removesuffix('_id')}"
    mean_name = f"average_{over.name}"

    def run(world: WorldView, values: Mapping[str, Any], changes: Changes) -> Answer:
        world.need(parent.name, values[reference.name], changes)
        ids = world.where(entity.name, reference.name, values[reference.name], changes)
        numbers = [row[over.name] for _, row in world.rows(entity.name, ids, changes)]
        row: dict[str, Any] = {"count": len(numbers)}
        if numbers:
            row[mean_name] = round(fsum(numbers) / len(numbers), _MEAN_DECIMALS)
        return [Row("", row)], changes

    mean_type = SemanticType(over.type.name, ValueKind.NUMBER, over.type.unit, decimals=_MEAN_DECIMALS)
    outputs = {
        "count": Output(COUNT, f"{name}.count", f"number of {entity.plural}", ("total",), derived=True),
        mean_name: Output(mean_type, f"{name}.mean", f"average {over.label}", ("average", "mean"), derived=True),
    }
    word = reference.label
    return Operation(
        name, OperationKind.AGGREGATE, entity.name, {reference.name: id_slot(parent, word)}, outputs, run,
        over.name, parent.name, phrase=f"Number of {entity.plural} of one {word} and their average {over.label}",
        paraphrases=(
            f"Counts the {entity.plural} of one {word} and averages their {over.label}",
            f"Average {over.label} and count of {entity.plural} for one {word}",
            f"Statistics of {entity.plural} of one {word}: count and mean {over.label}",
        ),
        verbs=(
            f"average {entity.label} {words_of(over)}",
            f"{word} {entity.label} statistics",
            f"mean {words_of(over)} of {word} {entity.plural}",
        ),
    )  # fmt: skip


def compares(entity: EntityType, level: WorldLevel) -> Iterator[Operation]:
    """Yield: two ids -> the row with the higher value of a measure, and the difference."""
    for each in measures(entity, level)[:1]:
        yield _compare(entity, each)


def _compare(entity: EntityType, by: Attribute) -> Operation:
    name = f"{entity.name}.compare_{by.name}"
    named = entity.attributes[0]

    def run(world: WorldView, values: Mapping[str, Any], changes: Changes) -> Answer:
        first, second = values["first_id"], values["second_id"]
        one = world.need(entity.name, first, changes)[by.name]
        other = world.need(entity.name, second, changes)[by.name]
        winner = first if one >= other else second
        row = world.need(entity.name, winner, changes)
        difference = round(abs(one - other), by.type.decimals)
        return [Row(winner, {entity.id_name: winner, named.name: row[named.name], "difference": difference})], changes

    outputs = {
        entity.id_name: id_output(entity),
        named.name: output(entity, named),
        "difference": Output(by.type, f"{name}.difference", f"difference in {by.label}", ("diff", "gap"), derived=True),
    }
    inputs = {
        "first_id": id_slot(
            entity, f"first {entity.label}", f"first_{entity.name}", f"{entity.name}_a", f"one_{entity.name}"
        ),
        "second_id": id_slot(
            entity, f"second {entity.label}", f"second_{entity.name}", f"{entity.name}_b", f"other_{entity.name}"
        ),
    }
    word = words_of(by)
    return Operation(
        name, OperationKind.COMPARE, entity.name, inputs, outputs, run, by.name,
        phrase=f"Which of two {entity.plural} has the higher {by.label}",
        paraphrases=(
            f"Compares two {entity.plural} by {by.label}",
            f"Tells which of two {entity.plural} leads in {by.label}, and the difference",
            f"Difference in {by.label} between two {entity.plural}",
        ),
        verbs=(
            f"compare {entity.label} {word}",
            f"compare {entity.plural} by {word}",
            f"{entity.label} {word} comparison",
        ),
    )  # fmt: skip

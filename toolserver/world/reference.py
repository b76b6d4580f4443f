"""The reference page of ToolWorld, written from its tables: `python -m toolserver.world.reference > docs/FILE`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping

from toolserver.world.domains import DOMAINS
from toolserver.world.levels import LEVELS
from toolserver.world.operations.registry import operations_of
from toolserver.world.schema import (
    Attribute,
    Domain,
    EntityType,
    Kind,
    Operation,
    OperationKind,
    Output,
    SemanticType,
    Slot,
)

_HEAD = """# ToolWorld: domains, tables and operations

Written by `python -m toolserver.world.reference`; a test keeps it true. How tasks are made of all this is told in
[toolworld.md](toolworld.md).

Every table gets the operations that its shape allows, here with the table `hotel` as the example:

| kind | operation | from | to |
|---|---|---|---|"""
_EXAMPLES = (
    "hotel.search", "hotel.details", "hotel.price", "hotel.list", "hotel.by_city", "hotel.top_price_by_city",
    "hotel.average_price_by_city", "hotel.compare_price",
)  # fmt: skip
_JOINS = """## Joins

An output of a semantic type can feed any input of the same type. Ids join tables; these types join values (level
`full`; "given by" counts operations with such an output, "taken by" computations and writes with such an input):

| type | unit | given by | taken by |
|---|---|---|---|"""

_TAKING = (OperationKind.COMPUTE, OperationKind.CREATE, OperationKind.UPDATE)


def reference() -> str:
    """The page, in Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    operations = operations_of(DOMAINS, LEVELS["full"])
    yield _HEAD
    for name in _EXAMPLES:
        yield _derived_row(operations[name])
    yield "\nRecords, which writes create, are only searched, shown and listed by what they belong to. At the level"
    yield "`lite` one measure per table has operations of its own, at the other levels two."
    for domain in DOMAINS:
        yield from _domain_lines(domain)
    yield f"\n{_JOINS}"
    yield from _joins(operations.values())


def _derived_row(operation: Operation) -> str:
    return f"| {operation.kind} | `{operation.name}` | {_inputs(operation.inputs)} | {_outputs(operation.outputs)} |"


def _domain_lines(domain: Domain) -> Iterator[str]:
    yield f"\n## {domain.name.capitalize()} (category {domain.category})\n"
    yield "| table | ids | rows: lite, standard, full | attributes |"
    yield "|---|---|---|---|"
    for entity in domain.entities:
        yield _table_row(entity)
    if domain.operations:
        yield "\n| operation | kind | from | to |"
        yield "|---|---|---|---|"
    for operation in domain.operations:
        yield (
            f"| `{operation.name}`: {operation.phrase} | {operation.kind} | {_inputs(operation.inputs)} "
            f"| {_outputs(operation.outputs)} |"
        )


def _table_row(entity: EntityType) -> str:
    name = f"`{entity.name}` (record)" if entity.record else f"`{entity.name}`"
    counts = ", ".join(f"{count:,}" for count in entity.counts)
    return f"| {name} | `{entity.prefix}{'0' * entity.digits}` | {counts} | {_attributes(entity.attributes)} |"


def _attributes(attributes: Iterable[Attribute]) -> str:
    return ", ".join(f"{each.name}{_of_type(each.type)}" for each in attributes)


def _of_type(kind: SemanticType) -> str:
    if kind.kind is Kind.ID:
        return f" → {kind.entity}"
    if kind.kind is Kind.ENUM:
        return f" ({len(kind.values)} values)"
    return f" [{kind.unit}]" if kind.unit else ""


def _inputs(slots: Mapping[str, Slot]) -> str:
    return ", ".join(name if slot.required else f"{name}?" for name, slot in slots.items())


def _outputs(outputs: Mapping[str, Output]) -> str:
    return ", ".join(outputs)


def _joins(operations: Iterable[Operation]) -> Iterator[str]:
    given: dict[str, set[str]] = {}
    taken: dict[str, set[str]] = {}
    units: dict[str, str] = {}
    for operation in operations:
        for output in operation.outputs.values():
            given.setdefault(output.type.name, set()).add(operation.name)
        for slot in operation.inputs.values() if operation.kind in _TAKING else ():
            if slot.type.kind is not Kind.ID:
                taken.setdefault(slot.type.name, set()).add(operation.name)
                units[slot.type.name] = slot.type.unit
    for name in sorted(taken.keys() & given.keys()):
        yield f"| {name} | {units[name]} | {len(given[name])} | {len(taken[name])} |"


if __name__ == "__main__":
    sys.stdout.write(reference())

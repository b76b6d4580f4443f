"""Constructors for operations that change the world: create (a sale), cancel and update.

A sale decreases the stock of a target (free rooms, seats, tickets) and creates a record (a reservation). Cancelling
sets the record's status and increases the stock again. An operation that is not allowed ends with a typed outcome.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from toolserver.catalog.api_schema import Outcome
from toolserver.world import calendar
from toolserver.world.changes import Change, Changes
from toolserver.world.operations.result_rows import id_output, id_slot, output, reference_names
from toolserver.world.schema import (
    Answer,
    Attribute,
    EntityType,
    Operation,
    OperationKind,
    Output,
    Refusal,
    Row,
    Slot,
    ValueKind,
    WorldView,
)
from toolserver.world.types import COUNT, PERSON

_MOST = 20
ACTIVE, CANCELLED = "active", "cancelled"


@dataclass(frozen=True, slots=True)
class Sale:
    """Entity types of a sale, and names of their attributes.

    Attributes:
        target: Entity type that is sold.
        made: Entity type of the record that a sale creates.
        quantity: Attribute of `made` with the quantity; empty if it is always one.
        customer: Attribute of `made` with the customer's name (the first).
        stock: Attribute of `target` that a sale decreases; empty if there is no limit.
        price: Attribute of `target` with the unit price; empty if it is free.
        chosen: Attributes of `made` that the customer chooses beside the quantity: a date, a city.
        once: A customer can hold one active record per target (subscriptions, applications).
    """

    target: EntityType
    made: EntityType
    quantity: str
    customer: str
    stock: str = ""
    price: str = ""
    chosen: tuple[str, ...] = ()
    once: bool = False


def create(name: str, sale: Sale, phrase: str, *verbs: str) -> Operation:
    """Return the write that creates a record of type `sale.made` for a row of `sale.target`."""
    target, made = sale.target, sale.made
    shown = {made.id_name: id_output(made)}
    if sale.price:
        shown["total"] = output(made, made.attribute("total"))
    shown |= _status(made)

    def run(world: WorldView, values: Mapping[str, Any], changes: Changes) -> Answer:
        row_id, row, written = _sell(world, sale, values, changes)
        after = changes.then(*written)
        return [Row(row_id, {key: row_id if key == made.id_name else row[key] for key in shown})], after

    inputs = {
        target.id_name: id_slot(target),
        sale.customer: Slot(PERSON, f"full name of the {sale.customer}", aka=made.attributes[0].aka),
    }
    for each in (made.attribute(name) for name in sale.chosen):
        inputs[each.name] = Slot(each.type, each.label, aka=each.aka)
    if sale.quantity:
        many = made.attribute(sale.quantity)
        inputs[sale.quantity] = Slot(COUNT, many.label, False, 1, many.aka, low=1, high=_MOST)
    return Operation(
        name, OperationKind.CREATE, target.name, inputs, shown, run, made=made.name, phrase=phrase, verbs=verbs,
        stock=sale.stock,
    )  # fmt: skip


def _sell(
    world: WorldView, sale: Sale, values: Mapping[str, Any], changes: Changes
) -> tuple[str, dict[str, Any], list[Change]]:
    """Return the id and the values of a sale's record, and the changes. Raises `Refusal` if it is not allowed."""
    target, made = sale.target, sale.made
    target_id, many = values[target.id_name], values.get(sale.quantity, 1)
    goods = world.need(target.name, target_id, changes)
    customer = str(values[sale.customer]).strip()
    _check_sale(world, sale, goods, customer, values, changes)
    row_id = _new_id(world, made, changes)
    row: dict[str, Any] = {each.name: None for each in made.attributes}
    row |= {sale.customer: customer, target.id_name: target_id, "status": ACTIVE}
    if sale.quantity:
        row[sale.quantity] = many
    row |= {name: values[name] for name in sale.chosen}
    if sale.price:
        row["total"] = round(goods[sale.price] * many, 2)
    written = [Change(made.name, row_id, row)]
    if sale.stock:
        written.append(Change(target.name, target_id, {sale.stock: goods[sale.stock] - many}))
    return row_id, row, written


def _check_sale(
    world: WorldView, sale: Sale, goods: Mapping[str, Any], customer: str, values: Mapping[str, Any], changes: Changes
) -> None:
    target, made = sale.target, sale.made
    if not customer:
        raise Refusal(Outcome.INVALID_ARGUMENTS, f"Parameter '{sale.customer}' must not be empty.")
    for name in sale.chosen:
        _check_value(world, made.attribute(name), values[name], changes)
    many = values.get(sale.quantity, 1)
    if sale.stock and goods[sale.stock] < many:
        raise Refusal(Outcome.CONFLICT, f"Not available: {goods[sale.stock]} left, {many} requested.")
    held = world.where(made.name, target.id_name, values[target.id_name], changes) if sale.once else ()
    if any(
        row["status"] == ACTIVE and str(row[sale.customer]).casefold() == customer.casefold()
        for _, row in world.rows(made.name, held, changes)
    ):
        raise Refusal(Outcome.CONFLICT, f"{customer} already has an active {made.label} for this {target.label}.")


def _new_id(world: WorldView, made: EntityType, changes: Changes) -> str:
    """Return an id with one digit more than the ids of base rows."""
    low = 10**made.digits
    return f"{made.prefix}{low + changes.new_number(world.seed, made.name) % (9 * low)}"


def cancel(name: str, sale: Sale, phrase: str, *verbs: str) -> Operation:
    """Return the write that cancels a record of type `sale.made` and increases the stock again."""
    target, made = sale.target, sale.made

    def run(world: WorldView, values: Mapping[str, Any], changes: Changes) -> Answer:
        row_id = values[made.id_name]
        row = _active(world, made, row_id, changes)
        written = [Change(made.name, row_id, {"status": CANCELLED})]
        if sale.stock:
            goods = world.need(target.name, row[target.id_name], changes)
            many = row[sale.quantity] if sale.quantity else 1
            written.append(Change(target.name, row[target.id_name], {sale.stock: goods[sale.stock] + many}))
        return [Row(row_id, {"status": CANCELLED})], changes.then(*written)

    return Operation(
        name, OperationKind.CANCEL, made.name, {made.id_name: _record_slot(made)}, _status(made), run,
        made=made.name, phrase=phrase, verbs=verbs,
    )  # fmt: skip


def update(name: str, made: EntityType, attribute: str, phrase: str, *verbs: str) -> Operation:
    """Return the write that sets an attribute of a record of type `made`: another date, another city."""
    changed = made.attribute(attribute)
    new = f"new_{attribute}"

    def run(world: WorldView, values: Mapping[str, Any], changes: Changes) -> Answer:
        row_id, value = values[made.id_name], values[new]
        _active(world, made, row_id, changes)
        _check_value(world, changed, value, changes)
        after = changes.then(Change(made.name, row_id, {attribute: value}))
        return [Row(row_id, {attribute: value, "status": ACTIVE})], after

    inputs = {
        made.id_name: _record_slot(made),
        new: Slot(changed.type, f"new {changed.label}", aka=tuple(f"new_{word}" for word in changed.aka)),
    }
    shown = {attribute: output(made, changed), **_status(made)}
    return Operation(
        name, OperationKind.UPDATE, made.name, inputs, shown, run, attribute, made=made.name,
        phrase=phrase, verbs=verbs,
    )  # fmt: skip


def _check_value(world: WorldView, attribute: Attribute, value: Any, changes: Changes) -> None:
    """Raise `Refusal` for a date in the past or an unknown id."""
    if attribute.type.kind is ValueKind.DATE and calendar.offset_of(value) < 0:
        raise Refusal(Outcome.CONFLICT, f"The date lies in the past; today is {calendar.day(0)}.")
    if attribute.type.kind is ValueKind.ID:
        world.need(attribute.type.entity, value, changes)


def _record_slot(made: EntityType) -> Slot:
    return id_slot(made, "", *reference_names(made.name), "reference")


def _status(made: EntityType) -> dict[str, Output]:
    return {"status": output(made, made.attribute("status"))}


def _active(world: WorldView, made: EntityType, row_id: str, changes: Changes) -> dict[str, Any]:
    row = world.need(made.name, row_id, changes)
    if row["status"] != ACTIVE:
        raise Refusal(Outcome.CONFLICT, f"The {made.label} '{row_id}' is already {row['status']}.")
    return row

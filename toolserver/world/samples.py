"""Valid sample arguments for any API, for digests, benchmarks and tests."""

from typing import Any

from toolserver.world import calendar
from toolserver.world.changes import NO_CHANGES
from toolserver.world.schema import Slot, ValueKind
from toolserver.world.types import PERSON, TOKEN
from toolserver.world.vendors import VendorApi
from toolserver.world.world import World

_CUSTOMER = "Ada Lindt"
_AHEAD = 9  # days


def sample_arguments(api: VendorApi, world: World, pick: int = 0) -> dict[str, Any]:
    """Return semantic values for the required inputs of an API, including its token. A sale may still be sold out.

    Args:
        api: The API.
        world: World of the API. The token is that of a call without state.
        pick: Index of the rows for ids and names; inputs of one type get different rows.
    """
    values: dict[str, Any] = {}
    for position, (name, slot) in enumerate(api.slots.items()):
        if slot.type is TOKEN:
            values[name] = api.vendor.token(world.seed, NO_CHANGES)
        elif slot.required:
            values[name] = sample_value(slot, world, pick + position)
    return values


def sample_value(slot: Slot, world: World, pick: int = 0) -> Any:
    """Return a valid semantic value for an input."""
    kind = slot.type
    if kind.entity:
        ids = world.ids(kind.entity)
        row_id = ids[pick % len(ids)]
        table = world.table(kind.entity)
        return row_id if kind.kind is ValueKind.ID else table.rows[row_id][table.named]
    if kind.kind is ValueKind.ENUM:
        return kind.values[pick % len(kind.values)]
    if kind.kind is ValueKind.DATE:
        return calendar.day(_AHEAD)
    if kind.kind is ValueKind.TEXT:
        return _CUSTOMER if kind is PERSON else "sample"
    return slot.low or 1

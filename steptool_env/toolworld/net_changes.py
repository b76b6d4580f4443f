"""Net effect of the changes of an episode."""

from collections.abc import Mapping
from typing import Any

from toolserver.world.changes import Changes
from toolserver.world.operations.mutations import CANCELLED
from toolserver.world.world import World


def net_state(world: World, changes: Changes) -> tuple[list[str], dict[tuple[str, str], Mapping[str, Any]]]:
    """Return the created rows without their ids, and the changed values of other rows by table and id.

    A created row that was cancelled, and a row with its first values, are left out: an undone mistake does not count.
    """
    if not changes:
        return [], {}
    created: list[str] = []
    changed: dict[tuple[str, str], Mapping[str, Any]] = {}
    for entity in sorted({change.entity for change in changes.changes}):
        for row_id in changes.rows(entity):
            before = world.row(entity, row_id)
            after = world.row(entity, row_id, changes) or {}
            if before is None and after.get("status") != CANCELLED:
                created.append(f"{entity}: {sorted(after.items())}")
            elif before is not None:
                different = {name: value for name, value in after.items() if before[name] != value}
                if different:
                    changed[entity, row_id] = different
    return sorted(created), changed

"""Families of plans: the same operations in the same order, apart from vendors, names and kinds of rows."""

from __future__ import annotations

from steptool_env.toolworld.planning.plan import Given, Plan
from toolserver.world.schema import Operation, OperationKind, ValueKind


def verb_of(operation: Operation) -> str:
    """Return what an operation does: its kind; of a computation, whose formula is its own, its name."""
    return operation.name if operation.kind is OperationKind.COMPUTE else operation.kind.value


def family_of(plan: Plan) -> str:
    """Return the family of a plan, e.g. `search a; details a #1:a; rank b #2:c`.

    Each call is written as the verb of its operation, a letter for the type of its rows (none for a computation), and
    its inputs in the operation's order: `#1:a` is an id of type `a` from call 1, `#1:date` a date from call 1, `:a` an
    id that the query states. Other stated values are left out. Letters are given in the order of first occurrence, so
    plans that differ in the types of their rows alone are of one family.
    """
    letters: dict[str, str] = {}

    def letter(entity: str) -> str:
        return letters.setdefault(entity, chr(ord("a") + len(letters)))

    calls = []
    for node, result in zip(plan.nodes, plan.results, strict=True):
        operation = result.operation
        words = [verb_of(operation)]
        if operation.kind is not OperationKind.COMPUTE:
            words.append(letter(operation.subject))
        for name, slot in operation.inputs.items():
            source = node.inputs.get(name)
            is_id = slot.type.kind is ValueKind.ID
            if source is None or (isinstance(source, Given) and not is_id):
                continue
            value = letter(slot.type.entity) if is_id else slot.type.name
            words.append(f":{value}" if isinstance(source, Given) else f"#{source.node + 1}:{value}")
        calls.append(" ".join(words))
    return "; ".join(calls)

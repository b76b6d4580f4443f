"""Meaning of a plan, independent of its calls: nested terms for rows and values."""

from typing import Any, NamedTuple

from steptool_env.toolworld.planning.plan import Given, Plan, Source
from toolserver.world.schema import OperationKind, ValueKind

CONST, NAMED, ID, ATTR, RANK, ONLY, MORE, OUT = "const", "named", "id", "attr", "rank", "only", "more", "out"
_LEFT = ("limit", "order")

Args = tuple[tuple[str, "Term"], ...]


class Term(NamedTuple):
    """A row or a value.

    Attributes:
        head: Kind of term: a constant, a row by name or id, an attribute of a row, the first or last row of a ranking,
            the only row of a list, the row of two with the higher value, or an output of another operation.
        value: Constant; entity type and name or id; qualified attribute; operation and order of a ranking; operation;
            operation and output.
        args: Terms of its inputs, by input name (`of` for an attribute).
    """

    head: str
    value: Any
    args: Args = ()


def inputs_of(plan: Plan, node: int) -> Args:
    """Return the terms of a call's inputs by name, without `limit` and `order`."""
    operation = plan.results[node].operation
    inputs = plan.nodes[node].inputs
    return tuple(
        (name, _source(plan, node, name, inputs[name]))
        for name in operation.inputs
        if name in inputs and name not in _LEFT
    )


def _source(plan: Plan, node: int, name: str, source: Source) -> Term:
    if not isinstance(source, Given):
        return term_of(plan, source.node, source.output)
    kind = plan.results[node].operation.inputs[name].type
    return Term(ID, (kind.entity, source.value)) if kind.kind is ValueKind.ID else Term(CONST, source.value)


def term_of(plan: Plan, node: int, output: str) -> Term:
    """Return the term for one output of a call."""
    operation, inputs = plan.results[node].operation, plan.nodes[node].inputs
    subject, kind = operation.subject, operation.outputs[output]
    if operation.kind in (OperationKind.DETAILS, OperationKind.LOOKUP):
        ((_, row),) = inputs_of(plan, node)
        return Term(ATTR, f"{subject}.{output}", (("of", row),))
    if kind.derived or operation.kind in (OperationKind.COMPUTE, OperationKind.AGGREGATE):
        return Term(OUT, (operation.name, output), inputs_of(plan, node))
    if operation.kind is OperationKind.SEARCH:
        ((_, source),) = inputs.items()
        row = Term(NAMED, (subject, plan.value(source)))
    elif operation.kind is OperationKind.RANK:
        row = Term(RANK, (operation.name, is_low(plan, node)), inputs_of(plan, node))
    else:
        head = MORE if operation.kind is OperationKind.COMPARE else ONLY
        row = Term(head, operation.name, inputs_of(plan, node))
    return row if output == f"{subject}_id" else Term(ATTR, f"{subject}.{output}", (("of", row),))


def is_low(plan: Plan, node: int) -> bool:
    """Return True if a ranking starts with the lowest value."""
    return bool(plan.arguments(node).get("order") == "ascending")

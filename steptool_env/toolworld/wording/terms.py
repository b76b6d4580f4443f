"""Meaning of a plan, independent of its calls: nested terms for rows and values."""

from __future__ import annotations

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

    def normal(self) -> Term:
        """Return the term with sorted inputs and with the two rows of a comparison in a fixed order."""
        return Term(self.head, self.value, _normal(self.args))


class Meaning(NamedTuple):
    """Request of a query.

    Attributes:
        operation: Last operation of the plan if it changes the world or all its rows are asked; else empty.
        terms: Asked values by output name, or the inputs of the change or list by input name.
    """

    operation: str
    terms: Args

    def normal(self) -> Meaning:
        """Return the meaning with every term in its normal form."""
        return Meaning(self.operation, _normal(self.terms))


def _normal(args: Args) -> Args:
    terms = {name: arg.normal() for name, arg in args}
    if "first_id" in terms:
        terms = dict(zip(("first_id", "second_id"), sorted(terms.values(), key=repr), strict=True))
    return tuple(sorted(terms.items()))


def meaning_of(plan: Plan) -> Meaning:
    """Return the request of a plan."""
    last = len(plan.nodes) - 1
    if plan.writes or any(asked.every for asked in plan.asked):
        return Meaning(plan.nodes[last].operation, inputs_of(plan, last))
    return Meaning("", tuple((asked.output, _output(plan, asked.node, asked.output)) for asked in plan.asked))


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
        return _output(plan, source.node, source.output)
    kind = plan.results[node].operation.inputs[name].type
    return Term(ID, (kind.entity, source.value)) if kind.kind is ValueKind.ID else Term(CONST, source.value)


def _output(plan: Plan, node: int, output: str) -> Term:
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

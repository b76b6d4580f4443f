"""Meaning of a query, independent of its words: what the parser of queries reads, and what a plan asks."""

from typing import NamedTuple

from steptool_env.toolworld.planning.plan import Plan
from steptool_env.toolworld.wording.terms import Args, Term, inputs_of, term_of


class Meaning(NamedTuple):
    """Request of a query.

    Attributes:
        operation: Last operation of the plan if it changes the world or all its rows are asked; else empty.
        terms: Asked values by output name, or the inputs of the change or list by input name.
    """

    operation: str
    terms: Args


def meaning_of(plan: Plan) -> Meaning:
    """Return the request of a plan, in normal form."""
    last = len(plan.nodes) - 1
    if plan.writes or any(asked.every for asked in plan.asked):
        return normal(Meaning(plan.nodes[last].operation, inputs_of(plan, last)))
    return normal(Meaning("", tuple((each.output, term_of(plan, each.node, each.output)) for each in plan.asked)))


def normal(meaning: Meaning) -> Meaning:
    """Return a meaning with sorted inputs and with the two rows of a comparison in a fixed order."""
    return Meaning(meaning.operation, _normal(meaning.terms))


def _normal(args: Args) -> Args:
    terms = {name: Term(arg.head, arg.value, _normal(arg.args)) for name, arg in args}
    if "first_id" in terms:
        terms = dict(zip(("first_id", "second_id"), sorted(terms.values(), key=repr), strict=True))
    return tuple(sorted(terms.items()))

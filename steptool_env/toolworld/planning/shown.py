"""Checks that the responses of a plan can be read in full: an environment cuts what is too long to show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from steptool_env.toolworld.planning.plan import Plan
from toolserver.catalog.api_schema import OBSERVATION_LENGTH, encode_body
from toolserver.world.schema import Result
from toolserver.world.vendors import VendorApi

_FEW = 4
"""Rows that fit into an observation in every layout, so that most responses need not be written down."""


def is_shown(plan: Plan, bound: Sequence[VendorApi]) -> bool:
    """True where a policy sees every value that the plan needs, under the default length of observations.

    Only an answer that lists all rows reads behind the first one; each page of such a response must fit.

    Args:
        plan: The plan.
        bound: The API that is called, per node of the plan.
    """
    listed = (asked.node for asked in plan.asked if asked.every)
    return all(
        length <= OBSERVATION_LENGTH
        for node in listed
        if len(plan.results[node].rows) > _FEW
        for length in _lengths(bound[node], plan.results[node])
    )


def _lengths(api: VendorApi, result: Result) -> Iterator[int]:
    """The characters of each page of a response."""
    size = api.layout.page_size or len(result.rows)
    for page in range(1, 1 + -(-len(result.rows) // size)):
        yield len(encode_body("", api.render(api.shown(result, page), page)).decode())

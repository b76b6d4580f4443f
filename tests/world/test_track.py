"""Which calls count as the needed ones: equal arguments, with room for converted units and for nothing else."""

import pytest

from tests.world.worlds import LEVELS, vendors
from toolserver.world.tasks.track import same_call

CASES = (  # operation, wanted arguments, one argument and values of it that ask the same, or something else
    ("company.position_value", {"company_id": "CO1234", "shares": 1000}, "shares", (1000, 1000.0), (1001, 1003, 999)),
    ("bill.split", {"amount": 500, "percent": 10, "people": 300}, "people", (300,), (301, 299)),
    ("bill.split", {"amount": 500, "percent": 10, "people": 300}, "amount", (500.0, 500.4), (505, 495)),
    ("currency.to_usd", {"foreign_amount": 4000, "currency_id": "K123"}, "foreign_amount", (4000.0,), (4010, 3990)),
    ("travel.time", {"distance": 120.1, "speed": 90}, "distance", (120.1, 120.2), (121.3, 118.9)),
    ("city.search", {"name": "Calstad"}, "name", ("Calstad", " calstad "), ("Calsta",)),
)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("operation", "wanted", "name", "same", "others"), CASES)
def test_only_the_rounding_of_a_unit_leaves_a_call_the_same(
    level: str,
    operation: str,
    wanted: dict[str, object],
    name: str,
    same: tuple[object, ...],
    others: tuple[object, ...],
) -> None:
    kind = vendors(level).world.operations[operation]
    assert all(same_call(kind, wanted, wanted | {name: value}) for value in same)
    assert not any(same_call(kind, wanted, wanted | {name: value}) for value in others)

"""Which calls count as the needed ones: equal arguments, with room for converted units and for nothing else."""

import pytest

from steptool_env.toolworld import Tracker, WorldTask
from steptool_env.toolworld.grading.progress_tracker import same_call
from tests.toolserver.world.worlds import LEVELS, tasks, vendors
from toolserver.world import OperationKind, ValueKind
from toolserver.world.vendors import Health, VendorApi

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


def test_an_id_counts_as_found_only_where_it_is_stated_whose_it_is() -> None:
    """The search for the city of a restaurant by the city's name tells its id, but not that the restaurant is there."""
    seen = 0
    for task in tasks("train", count=400):
        for place, milestone in enumerate(Tracker(task).milestones if task.solvable else ()):
            result = task.plan.results[milestone.node]
            for name in task.plan.used_outputs(milestone.node) if milestone.node >= 0 else ():
                kind = result.operation.outputs[name].type
                if result.operation.kind is OperationKind.DETAILS and kind.kind is ValueKind.ID:
                    seen += 1
                    tracker = Tracker(task)
                    tracker.record_call(_search(kind.entity), _named(task, kind.entity, result.values[name]))
                    assert tracker.steps[-1].failed is None
                    assert place not in tracker.reached, task.query
    assert seen > 20


def _search(entity: str) -> VendorApi:
    indexes = vendors().offering(f"{entity}.search")
    found = [vendors().tool(index).api_of(f"{entity}.search") for index in indexes]
    return next(api for api in found if api is not None and api.health is Health.OK and not api.needs_token)


def _named(task: WorldTask, entity: str, row_id: str) -> dict[str, object]:
    table = task.columns.world.table(entity)
    return _search(entity).encode_arguments({table.named: table.rows[row_id][table.named]})


@pytest.mark.parametrize("names", [("first_id", "second_id"), ("origin_id", "destination_id")])
def test_a_comparison_and_a_distance_are_the_same_call_in_either_order(names: tuple[str, str]) -> None:
    swapped = 0
    for task in tasks("train", "standard", 250):
        for place, milestone in enumerate(Tracker(task).milestones if task.solvable else ()):
            operation = milestone.api.operation
            is_pair = operation.kind in (OperationKind.COMPARE, OperationKind.COMPUTE) and names[0] in operation.inputs
            if is_pair and not milestone.api.needs_token:
                one, other = (task.plan.arguments(milestone.node)[name] for name in names)
                tracker = Tracker(task)
                tracker.record_call(milestone.api, milestone.api.encode_arguments({names[0]: other, names[1]: one}))
                assert place in tracker.reached, task.query
                swapped += 1
    assert swapped > 1


def test_a_route_is_not_the_same_call_in_the_other_direction() -> None:
    operation = vendors().world.operations["flight.between"]
    assert not same_call(
        operation, {"origin_id": "A", "destination_id": "B"}, {"origin_id": "B", "destination_id": "A"}
    )

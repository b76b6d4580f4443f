"""Operations agree with the tables and with each other; writes keep stocks consistent and do not modify the world."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolserver.catalog.api_schema import Outcome
from toolserver.world import (
    NO_CHANGES,
    Changes,
    Operation,
    OperationKind,
    Result,
    SemanticType,
    ValueKind,
    World,
    make_world,
)
from toolserver.world.samples import sample_value

WORLD = make_world(4)
FULL = make_world(4, "full")
BY_KIND = {
    kind: [each for each in FULL.operations.values() if each.kind is kind]
    for kind in OperationKind
    if kind is not OperationKind.LOGIN
}


def arguments_of(operation: Operation, world: World, pick: int = 0) -> dict[str, Any]:
    return {
        name: sample_value(slot, world, pick + position)
        for position, (name, slot) in enumerate(operation.inputs.items())
        if slot.required
    }


def fits(value: Any, kind: SemanticType) -> bool:
    match kind.kind:
        case ValueKind.INTEGER:
            return type(value) is int
        case ValueKind.NUMBER:
            return isinstance(value, int | float) and not isinstance(value, bool)
        case ValueKind.BOOLEAN:
            return type(value) is bool
        case ValueKind.ENUM:
            return value in kind.values
    return isinstance(value, str)


@pytest.mark.parametrize("world", [WORLD, FULL], ids=["lite", "full"])
def test_every_operation_answers_with_its_declared_outputs(world: World) -> None:
    for operation in world.operations.values():
        result = world.execute(operation, arguments_of(operation, world, pick=4))
        assert result.outcome is Outcome.OK, (operation.name, result.message)
        assert operation.many or len(result.rows) == 1
        for row in result.rows:
            assert set(row.values) <= set(operation.outputs)
            for name, value in row.values.items():
                assert fits(value, operation.outputs[name].type), (operation.name, name, value)
        assert (result.changes is not NO_CHANGES) == operation.kind.writes


def test_every_kind_of_operation_is_there() -> None:
    assert all(BY_KIND.values())


def test_an_unknown_id_is_not_found_by_every_operation_that_takes_one() -> None:
    for operation in FULL.operations.values():
        for name, slot in operation.inputs.items():
            if slot.type.kind is ValueKind.ID and slot.required:
                arguments = arguments_of(operation, FULL) | {name: "X0000000"}
                result = FULL.execute(operation, arguments)
                assert result.outcome is Outcome.NOT_FOUND, operation.name
                assert "X0000000" in result.message
                assert result.rows == ()
                assert result.changes is NO_CHANGES


def test_a_missing_input_is_a_typed_outcome() -> None:
    result = WORLD.execute("city.details", {})
    assert (result.outcome, result.values) == (Outcome.INVALID_ARGUMENTS, {})
    assert "city_id" in result.message


def test_an_unknown_operation_is_a_bug_of_the_caller() -> None:
    with pytest.raises(KeyError):
        WORLD.execute("city.demolish", {})


def test_search_finds_a_row_by_its_name_in_any_case() -> None:
    for operation in BY_KIND[OperationKind.SEARCH]:
        (name,) = operation.inputs
        table = FULL.table(operation.subject)
        row_id = FULL.ids(operation.subject)[-1]
        for text in (table.rows[row_id][name], f"  {table.rows[row_id][name].upper()} "):
            assert [row.entity for row in FULL.execute(operation, {name: text}).rows] == [row_id]


def test_search_by_a_part_finds_exactly_the_names_that_contain_it() -> None:
    found = {row.entity for row in WORLD.execute("city.search", {"name": "EL"}).rows}
    assert found == {row_id for row_id, row in WORLD.table("city").rows.items() if "el" in row["name"].lower()}
    assert found
    assert WORLD.execute("city.search", {"name": "no such city"}).rows == ()


def test_lookup_and_details_supply_the_same_fact() -> None:
    for operation in BY_KIND[OperationKind.LOOKUP]:
        arguments = arguments_of(operation, FULL, 2)
        (fact,) = FULL.execute(operation, arguments).facts()
        details = {f[:2]: f.value for f in FULL.execute(f"{operation.subject}.details", arguments).facts()}
        assert details.get(fact[:2], fact.value) == fact.value
        assert fact.entity == next(iter(arguments.values()))


def test_related_rows_are_those_that_point_to_the_parent() -> None:
    for operation in BY_KIND[OperationKind.RELATED]:
        if len(operation.inputs) > 1:
            continue
        (name,) = operation.inputs
        parent = FULL.ids(operation.parent)[0]
        found = [row.entity for row in FULL.execute(operation, {name: parent}).rows]
        assert found == [i for i, row in FULL.table(operation.subject).rows.items() if row[name] == parent]


@pytest.mark.parametrize("order", ["ascending", "descending"])
def test_a_ranking_shows_the_extreme_rows_in_order(order: str) -> None:
    for operation in BY_KIND[OperationKind.RANK]:
        arguments = arguments_of(operation, FULL) | {"limit": 3, "order": order}
        rows = FULL.execute(operation, arguments).rows
        shown = [row.values[operation.attribute] for row in rows]
        reverse = order == "descending"
        table = FULL.table(operation.subject).rows
        parents = [name for name in operation.inputs if name.endswith("_id")]
        pool = [
            row[operation.attribute] for row in table.values() if all(row[name] == arguments[name] for name in parents)
        ]
        assert shown == sorted(pool, reverse=reverse)[:3], operation.name


def test_an_aggregate_equals_the_mean_over_the_related_rows() -> None:
    for operation in BY_KIND[OperationKind.AGGREGATE]:
        (name,) = operation.inputs
        parent = FULL.ids(operation.parent)[0]
        numbers = [
            row[operation.attribute] for row in FULL.table(operation.subject).rows.values() if row[name] == parent
        ]
        values = FULL.execute(operation, {name: parent}).values
        assert values["count"] == len(numbers)
        if numbers:
            assert values[f"average_{operation.attribute}"] == pytest.approx(sum(numbers) / len(numbers), abs=0.006)


def test_a_comparison_names_the_row_with_the_higher_value() -> None:
    for operation in BY_KIND[OperationKind.COMPARE]:
        first, second = FULL.ids(operation.subject)[:2]
        row = FULL.execute(operation, {"first_id": first, "second_id": second}).rows[0]
        table = FULL.table(operation.subject).rows
        values = {i: table[i][operation.attribute] for i in (first, second)}
        assert values[row.entity] == max(values.values())
        assert row.values["difference"] == pytest.approx(abs(values[first] - values[second]), abs=1e-4)


def test_list_filters_hold_for_every_row_and_miss_none() -> None:
    table = FULL.table("hotel").rows
    arguments = {"style": "budget", "min_price": 60.0, "max_rating": 3.5}
    found = [row.entity for row in FULL.execute("hotel.list", arguments).rows]
    assert found == [
        i for i, row in table.items() if row["style"] == "budget" and row["price"] >= 60 and row["rating"] <= 3.5
    ]
    assert found


def test_facts_of_a_computation_are_distinguished_by_its_inputs() -> None:
    first, second, third = WORLD.ids("city")[:3]

    def distance(one: str, other: str) -> Result:
        return WORLD.execute("city.distance", {"origin_id": one, "destination_id": other})

    (there,) = distance(first, second).facts()
    (back,) = distance(second, first).facts()
    (again,) = distance(first, second).facts()
    (elsewhere,) = distance(first, third).facts()
    assert there == again
    assert there.value == back.value > 0
    assert len({there.entity, back.entity, elsewhere.entity}) == 3


def test_the_weather_of_a_day_is_one_fact_wherever_it_is_stated() -> None:
    city = WORLD.ids("city")[0]
    forecast = WORLD.execute("weather.forecast", {"city_id": city, "days": 7})
    for row in forecast.rows:
        day = WORLD.execute("weather.on", {"city_id": city, "date": row.values["date"]})
        assert set(day.facts()) <= set(forecast.facts())
    warmest = WORLD.execute("weather.warmest_day", {"city_id": city, "days": 7})
    assert set(warmest.facts()) <= set(forecast.facts())
    assert warmest.values["temperature"] == max(row.values["temperature"] for row in forecast.rows)
    far = WORLD.execute("weather.on", {"city_id": city, "date": "2044-01-01"})
    assert far.outcome is Outcome.NOT_FOUND


HOTEL = WORLD.ids("hotel")[5]
GUESTS = ("Ada Lindt", "Nico Roth")
BOOKED = next(i for i, row in WORLD.table("reservation").rows.items() if row["hotel_id"] == HOTEL)
CALLS = st.one_of(
    st.tuples(
        st.just("hotel.book"),
        st.fixed_dictionaries(
            {
                "hotel_id": st.just(HOTEL),
                "guest": st.sampled_from(GUESTS),
                "date": st.sampled_from(["2031-05-20", "2031-01-01"]),
                "rooms": st.integers(1, 20),
            }
        ),
    ),
    st.tuples(st.just("reservation.cancel"), st.fixed_dictionaries({"reservation_id": st.integers(0, 3)})),
    st.tuples(
        st.just("reservation.move"),
        st.fixed_dictionaries({"reservation_id": st.integers(0, 3), "new_date": st.just("2031-06-01")}),
    ),
)


def run_writes(calls: list[tuple[str, dict[str, Any]]]) -> tuple[Changes, list[Result]]:
    """Run the calls, each with the changes of those before; an integer id is the index of a created reservation."""
    changes, results, made = Changes(salt="test"), [], [BOOKED]
    for name, arguments in calls:
        if "reservation_id" in arguments:
            arguments = arguments | {"reservation_id": made[arguments["reservation_id"] % len(made)]}
        result = WORLD.execute(name, arguments, changes)
        changes = result.changes
        results.append(result)
        if name == "hotel.book" and result.rows:
            made.append(result.values["reservation_id"])
    return changes, results


@given(st.lists(CALLS, max_size=8))
def test_free_and_booked_rooms_always_add_up(calls: list[tuple[str, dict[str, Any]]]) -> None:
    changes, results = run_writes(calls)
    before = WORLD.table("hotel").rows[HOTEL]["rooms_left"]
    made = [i for i in changes.rows("reservation") if i not in WORLD.table("reservation").rows]
    rows = [WORLD.need("reservation", i, changes) for i in made]
    booked = sum(row["rooms"] for row in rows if row["status"] == "active")
    given_back = 0
    if WORLD.need("reservation", BOOKED, changes)["status"] == "cancelled":
        given_back = WORLD.table("reservation").rows[BOOKED]["rooms"]
    left = WORLD.need("hotel", HOTEL, changes)["rooms_left"]
    assert left == before - booked + given_back
    assert left >= 0
    assert len(set(made)) == len(made)
    for result in results:
        assert result.outcome in (Outcome.OK, Outcome.CONFLICT)
        assert (result.message == "") == (result.outcome is Outcome.OK)


@given(st.lists(CALLS, max_size=6))
def test_changes_survive_json_and_the_same_calls_make_the_same_one(calls: list[tuple[str, dict[str, Any]]]) -> None:
    changes, _ = run_writes(calls)
    again, _ = run_writes(calls)
    read = Changes.from_json(json.loads(json.dumps(changes.to_json())), salt="test")
    assert read == changes == again
    for entity in ("hotel", "reservation"):
        assert WORLD.every(entity, read) == WORLD.every(entity, changes)
    assert len(json.dumps(changes.to_json())) < 4000


def test_writes_leave_the_base_world_alone() -> None:
    before = copy.deepcopy(WORLD.table("hotel").rows)
    run_writes([("hotel.book", {"hotel_id": HOTEL, "guest": "Ada Lindt", "date": "2031-05-20", "rooms": 1})])
    assert WORLD.table("hotel").rows == before


def test_what_was_written_is_seen_by_every_way_of_reading() -> None:
    booked = WORLD.execute("hotel.book", {"hotel_id": HOTEL, "guest": "Zz Top", "date": "2031-05-20"}, NO_CHANGES)
    made, changes = booked.values["reservation_id"], booked.changes
    assert [row.entity for row in WORLD.execute("reservation.search", {"guest": "zz top"}, changes).rows] == [made]
    related = WORLD.execute("reservation.by_hotel", {"hotel_id": HOTEL}, changes)
    assert made in [row.entity for row in related.rows]
    details = WORLD.execute("reservation.details", {"reservation_id": made}, changes)
    assert details.values["guest"] == "Zz Top"
    assert WORLD.execute("reservation.details", {"reservation_id": made}).outcome is Outcome.NOT_FOUND
    left = WORLD.table("hotel").rows[HOTEL]["rooms_left"]
    assert WORLD.execute("hotel.details", {"hotel_id": HOTEL}, changes).values["rooms_left"] == left - 1


def test_every_write_has_a_way_to_be_refused() -> None:
    """Sold out, a second record where one is allowed, cancelling a cancelled record."""
    for operation in BY_KIND[OperationKind.CANCEL]:
        arguments = arguments_of(operation, FULL)
        ended = FULL.execute(operation, arguments)
        assert FULL.execute(operation, arguments, ended.changes).outcome is Outcome.CONFLICT
    sold = {"flight.book": 21, "hotel.book": 31}
    for name, many in sold.items():
        operation = FULL.operations[name]
        quantity = next(key for key, slot in operation.inputs.items() if not slot.required)
        stock = next(
            s
            for s in ("seats_left", "rooms_left")
            if s in FULL.table(operation.subject).rows[FULL.ids(operation.subject)[0]]
        )
        poor = next(i for i, row in FULL.table(operation.subject).rows.items() if row[stock] < 5)
        arguments = arguments_of(operation, FULL) | {f"{operation.subject}_id": poor, quantity: many}
        refused = FULL.execute(operation, arguments)
        assert refused.outcome is Outcome.CONFLICT
        assert str(many) in refused.message
    once = FULL.execute("artist.follow", arguments_of(FULL.operations["artist.follow"], FULL))
    again = FULL.execute("artist.follow", arguments_of(FULL.operations["artist.follow"], FULL), once.changes)
    assert again.outcome is Outcome.CONFLICT


@pytest.mark.parametrize("name", [each.name for each in BY_KIND[OperationKind.CREATE]])
def test_cancelling_undoes_what_creating_did(name: str) -> None:
    create = FULL.operations[name]
    (cancel,) = (each for each in BY_KIND[OperationKind.CANCEL] if each.made == create.made)
    arguments = arguments_of(create, FULL)
    target = arguments[f"{create.subject}_id"]
    made = FULL.execute(create, arguments)
    made_id = made.rows[0].entity
    if made.outcome is Outcome.CONFLICT:
        pytest.fail(f"the sample cannot be sold: {made.message}")
    details = FULL.execute(f"{create.made}.details", {f"{create.made}_id": made_id}, made.changes)
    assert details.values["status"] == "active"
    assert set(made.facts()) <= {*details.facts(), (made_id, f"{create.made}.id", made_id)}
    ended = FULL.execute(cancel, {f"{create.made}_id": made_id}, made.changes)
    assert ended.values == {"status": "cancelled"}
    assert FULL.row(create.subject, target, ended.changes) == FULL.row(create.subject, target)


@pytest.mark.parametrize("name", [each.name for each in BY_KIND[OperationKind.UPDATE]])
def test_an_update_changes_one_attribute_of_one_row(name: str) -> None:
    update = FULL.operations[name]
    arguments = arguments_of(update, FULL)
    row_id = arguments[f"{update.made}_id"]
    result = FULL.execute(update, arguments)
    before, after = FULL.row(update.made, row_id), FULL.row(update.made, row_id, result.changes)
    assert before is not None
    assert after == before | {update.attribute: arguments[f"new_{update.attribute}"]}
    if update.outputs[update.attribute].type.kind is ValueKind.DATE:
        past = FULL.execute(update, arguments | {f"new_{update.attribute}": "2031-01-01"})
        assert past.outcome is Outcome.CONFLICT


def test_a_changed_reference_moves_the_row_to_its_new_parent() -> None:
    order = FULL.ids("order")[0]
    old = FULL.table("order").rows[order]["deliver_to_id"]
    new = next(i for i in FULL.ids("city") if i != old)
    changes = FULL.execute("order.redirect", {"order_id": order, "new_deliver_to_id": new}).changes
    for city, there in ((old, False), (new, True)):
        rows = FULL.execute("order.by_deliver_to", {"deliver_to_id": city}, changes).rows
        assert (order in [row.entity for row in rows]) == there


def test_created_ids_differ_between_episodes_and_from_base_ids() -> None:
    arguments = {"hotel_id": HOTEL, "guest": "Ada Lindt", "date": "2031-05-20"}
    ids = {WORLD.execute("hotel.book", arguments, Changes(salt=salt)).values["reservation_id"] for salt in range(5)}
    assert len(ids) == 5
    assert not ids & set(WORLD.ids("reservation"))


@pytest.mark.parametrize("changes", [[1], [["hotel", 2, {}]], [["hotel", "H1"]], ["xyz"], [["a", "b", []]]])
def test_changes_of_another_shape_are_refused(changes: list[Any]) -> None:
    with pytest.raises(ValueError, match="not a change of the world"):
        Changes.from_json(changes)


def test_a_long_result_is_the_same_sequence_in_parts_and_as_a_whole() -> None:
    rows = FULL.execute("hotel.list", {"style": "budget"}).rows
    assert len(rows) > 40
    whole = list(rows)
    assert whole == list(rows) == [*rows[:10], *rows[10:]] == [rows[index] for index in range(len(rows))]
    assert rows[-1] == whole[-1]
    assert rows[len(rows) :] == ()
    with pytest.raises(IndexError):
        rows[len(rows)]

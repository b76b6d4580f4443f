"""ToolWorld behind the tool service: state travels with the calls, and nothing that a caller sends breaks it."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from toolserver.calls.episode_state import EpisodeState
from toolserver.catalog.api_schema import Outcome, Provenance, ToolCall, ToolResponse
from toolserver.episodes.state_token import StateCodec
from toolserver.resolvers.world import WorldResolver, changes_of
from toolserver.service.service import ToolService
from toolserver.world import VendorApi, VendorRegistry, make_world
from toolserver.world.samples import sample_arguments


def service(seed: int = 2) -> ToolService:
    resolver = WorldResolver(VendorRegistry(make_world(seed)))
    return ToolService(resolver, [resolver])


WORLD = make_world(2)
VENDORS = VendorRegistry(WORLD)
TOOLS = service()
OPENING = EpisodeState(seed=5, task="demo")


def call(operation: str, state: EpisodeState | str = "", tools: ToolService = TOOLS, **values: Any) -> ToolResponse:
    api = VENDORS.tool(VENDORS.offering(operation)[0]).api_of(operation)
    assert api is not None
    return tools.call(ToolCall(*api.key, json.dumps(api.encode_arguments(values)), state))


def read(operation: str, response: ToolResponse) -> dict[str, Any]:
    api = VENDORS.tool(VENDORS.offering(operation)[0]).api_of(operation)
    assert api is not None
    return api.read(response.response)[0]


HOTEL = WORLD.ids("hotel")[7]
STAY: dict[str, Any] = {"hotel_id": HOTEL, "guest": "Ada Lindt", "date": "2031-05-20"}


def test_what_an_episode_writes_it_sees_afterwards() -> None:
    booked = call("hotel.book", OPENING, **STAY)
    assert (booked.outcome, booked.provenance) == (Outcome.OK, Provenance.WORLD)
    made = read("hotel.book", booked)["reservation_id"]
    shown = call("reservation.details", booked.state, reservation_id=made)
    assert read("reservation.details", shown)["guest"] == "Ada Lindt"
    ended = call("reservation.cancel", shown.state, reservation_id=made)
    again = call("reservation.cancel", ended.state, reservation_id=made)
    assert [ended.outcome, again.outcome] == [Outcome.OK, Outcome.CONFLICT]
    assert "cancelled" in again.error
    assert isinstance(again.state, EpisodeState)
    assert len(StateCodec().write(again.state)) <= 1024


def test_an_old_state_is_an_old_world() -> None:
    booked = call("hotel.book", OPENING, **STAY)
    made = read("hotel.book", booked)["reservation_id"]
    ended = call("reservation.cancel", booked.state, reservation_id=made)
    assert call("reservation.cancel", booked.state, reservation_id=made).body == ended.body
    assert call("reservation.details", OPENING, reservation_id=made).outcome is Outcome.NOT_FOUND


def test_without_a_state_a_write_is_confirmed_and_forgotten() -> None:
    booked = call("hotel.book", **STAY)
    assert (booked.outcome, booked.state) == (Outcome.OK, "")
    made = read("hotel.book", booked)["reservation_id"]
    assert call("reservation.details", reservation_id=made).outcome is Outcome.NOT_FOUND


def test_two_services_answer_with_the_same_bytes() -> None:
    other = service()
    state: list[EpisodeState | str] = [OPENING, OPENING]
    calls: list[tuple[str, dict[str, Any]]] = [
        ("city.search", {"name": "a"}),
        ("hotel.book", STAY),
        ("hotel.details", {"hotel_id": HOTEL}),
        ("hotel.details", {"hotel_id": "H0"}),
    ]
    for operation, values in calls:
        answers = [call(operation, token, tools, **values) for token, tools in zip(state, (TOOLS, other), strict=True)]
        assert answers[0].body == answers[1].body
        assert answers[0][:5] == answers[1][:5]
        state = [answer.state for answer in answers]


def test_the_state_holds_the_changes_of_the_episode() -> None:
    booked = call("hotel.book", OPENING, **STAY)
    assert isinstance(booked.state, EpisodeState)
    changes = changes_of(booked.state)
    assert [change.entity for change in changes.changes] == ["reservation", "hotel"]
    assert changes.changes[0].values["guest"] == "Ada Lindt"


def test_changes_that_no_world_makes_are_refused() -> None:
    refused = call("hotel.book", EpisodeState(seed=5, changes=("no change",)), **STAY)
    assert refused.outcome is Outcome.FORBIDDEN


def test_a_token_that_nobody_decoded_is_refused() -> None:
    assert call("hotel.book", "st1.forged", **STAY).outcome is Outcome.FORBIDDEN


def test_the_answer_carries_the_result_of_the_world() -> None:
    booked = call("hotel.book", OPENING, **STAY)
    assert booked.result.result.arguments["guest"] == "Ada Lindt"
    assert [change.entity for change in booked.result.changes.changes] == ["reservation", "hotel"]


def test_what_the_world_does_not_have_is_an_unknown_api() -> None:
    answer = TOOLS.call(ToolCall("Nowhere", "nobody", "nothing", {}))
    assert (answer.outcome, answer.provenance) == (Outcome.UNKNOWN_API, Provenance.SERVICE)


@given(st.sampled_from(list(VENDORS.apis())[::20]), st.text(max_size=60), st.sampled_from(["", OPENING]))
def test_any_text_as_arguments_is_answered(api: VendorApi, text: str, state: EpisodeState | str) -> None:
    answer = TOOLS.call(ToolCall(*api.key, text, state))
    assert set(json.loads(answer.body)) == {"error", "response"}
    assert (answer.error == "") == (answer.outcome is Outcome.OK)


def test_threads_that_share_a_fresh_world_get_the_same_bytes_as_one() -> None:
    calls = []
    for position, api in enumerate(list(VENDORS.apis())[::8]):
        arguments = api.encode_arguments(sample_arguments(api, WORLD, position))
        calls.append(ToolCall(*api.key, json.dumps(arguments)))
    alone = [TOOLS.call(each).body for each in calls]
    shared = service()
    with ThreadPoolExecutor(8) as pool:
        rounds = list(pool.map(lambda turn: [shared.call(each).body for each in calls[turn:] + calls[:turn]], range(8)))
    for turn, bodies in enumerate(rounds):
        assert bodies == alone[turn:] + alone[:turn]

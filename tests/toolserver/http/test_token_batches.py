"""Elements of a batch fail independently, whatever their state tokens hold, over HTTP and in process."""

import base64
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tests.toolserver.serving import as_request, make_cache, serving
from toolserver.catalog.api_schema import Outcome, ToolCall, ToolResponse
from toolserver.episodes.state_token import CONTINUING, PUBLIC_KEY, StateCodec, opening_token
from toolserver.errors import StateTokenError
from toolserver.http.app import create_app
from toolserver.resolvers.base import Resolver, ValidatedCall
from toolserver.resolvers.world import changes_of
from toolserver.service.factory import build_service
from toolserver.service.service import ToolService
from toolserver.settings import Settings
from toolserver.world import VendorRegistry, make_world
from toolserver.world.changes import Change
from toolserver.world.samples import sample_arguments
from toolserver.world.schema import OperationKind, ValueKind
from toolserver.world.tokens import ChangeCheck, world_codec
from toolserver.world.vendors import VendorApi

WORLD = make_world(0)
VENDORS = VendorRegistry(WORLD)
CODEC = world_codec(VENDORS)
CHECK = ChangeCheck(WORLD)
OPENING = opening_token(seed=5, task="demo")
STAY: dict[str, Any] = {"hotel_id": WORLD.ids("hotel")[7], "guest": "Ada Lindt", "date": "2031-05-20"}


def api_of(operation: str) -> VendorApi:
    api = VENDORS.tool(VENDORS.offering(operation)[0]).api_of(operation)
    assert api is not None
    return api


def sampled(operation: str, position: int = 0) -> ToolCall:
    api = api_of(operation)
    return ToolCall(*api.key, api.encode_arguments(sample_arguments(api, WORLD, position)))


GOOD = ToolCall(*api_of("hotel.book").key, api_of("hotel.book").encode_arguments(STAY), OPENING)
OPERATIONS = [name for name in sorted(WORLD.operations) if VENDORS.offering(name)]
CALLS = [sampled(name) for name in OPERATIONS]


class Ways:
    """One world, over HTTP and in process."""

    def __init__(self, client: TestClient, service: ToolService) -> None:
        self._client = client
        self._service = service

    def answers(self, calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
        """The answers to a batch, the same on every way, each of them counted."""
        body = json.dumps([as_request(call) for call in calls])
        found = [in_process(self._service, call) for call in calls]
        before = counted(self._client)
        response = self._client.post("/v1/calls", content=body, headers={"content-type": "application/json"})
        assert response.status_code == 200, response.text
        assert response.json() == found
        assert counted(self._client) - before == len(calls)
        return found


def in_process(service: ToolService, call: ToolCall) -> dict[str, Any]:
    """The answer of a service, between the same tokens as over HTTP."""
    assert service.codec is not None
    decoded = service.codec.decode_call(call)
    response = decoded if isinstance(decoded, ToolResponse) else service.call(decoded)
    token = service.codec.token_of(response.state)
    fields = {"outcome": response.outcome, "status": response.outcome.status_code, "provenance": response.provenance}
    return {**fields, "state": token, "latency": response.latency, "body": response.body.decode()}


def counted(client: TestClient) -> float:
    text = client.get("/metrics").text
    return sum(float(line.rsplit(" ", 1)[1]) for line in re.findall(r"toolserver_calls_total\{.*", text))


@pytest.fixture(scope="module")
def ways() -> Iterator[Ways]:
    settings = Settings(world=0).model_copy(update={"state_key": SecretStr(PUBLIC_KEY.decode())})  # a short key
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield Ways(client, SERVICE)


def forged(fields: Any, codec: StateCodec = CODEC, *, flag: int = 0) -> str:
    """A token whose signature holds, because its key is public."""
    payload = fields if isinstance(fields, bytes) else orjson.dumps(fields)
    signed = b"%c%b%b%b" % (flag, codec._key_id, len(payload).to_bytes(4, "big"), payload)
    return CONTINUING + base64.urlsafe_b64encode(signed + codec._mac(signed)).decode()


def fields_of(token: str) -> list[Any]:
    state = CODEC.read(token)
    changes = [list(change) for change in state.changes]
    return [state.seed, state.faults, state.task, state.step, state.clock, dict(state.usage), changes]


SERVICE = build_service(Settings(world=0))
SINGLE = in_process(SERVICE, GOOD)
BOOKED = SINGLE["state"]
FIELDS = fields_of(BOOKED)


def batch(*tokens: str) -> list[ToolCall]:
    """Each token with one call between two good ones."""
    calls = [GOOD]
    for number, token in enumerate(tokens):
        calls += [CALLS[number * 37 % len(CALLS)]._replace(state=token), GOOD]
    return calls


def check(ways: Ways, *tokens: str) -> list[dict[str, Any]]:
    """The answers to the calls with `tokens`; those around them are answered as if they were alone."""
    answers = ways.answers(batch(*tokens))
    assert answers[::2] == [SINGLE] * (len(tokens) + 1)
    return answers[1::2]


def with_field(index: int, value: Any) -> str:
    return forged([value if position == index else field for position, field in enumerate(FIELDS)])


def changed(*change: Any) -> str:
    return with_field(6, [change])


def changed_to(changes: bytes) -> str:
    fields = b"[" + b",".join([*map(orjson.dumps, FIELDS[:6]), changes]) + b"]"
    return forged(zlib.compress(fields), flag=1)


CITY = WORLD.ids("city")[0]
POISON = {
    "another world": world_codec(VendorRegistry(make_world(1))).write(CODEC.read(BOOKED)),
    "other vendors": world_codec(VendorRegistry(make_world(0), 20)).write(CODEC.read(BOOKED)),
    "no world": StateCodec().write(CODEC.read(BOOKED)),
    "faults": with_field(1, "nonsense"),
    "faults no text": with_field(1, ["mild"]),
    "seed": with_field(0, -1),
    "seed too large": with_field(0, 2**63),
    "seed a truth": with_field(0, True),
    "task": with_field(2, "../etc"),
    "task no text": with_field(2, None),
    "step": with_field(3, "1"),
    "step negative": with_field(3, -1),
    "step too large": with_field(3, 2**64 - 1),
    "clock": with_field(4, 0.5),
    "usage": with_field(5, []),
    "usage counts": with_field(5, {"stays": [1, 2]}),
    "usage types": with_field(5, {"stays": [1, 2, "3"]}),
    "changes": with_field(6, {"city": 1}),
    "change": with_field(6, [["city", CITY]]),
    "table": changed("planet", "P1", {}),
    "row": changed("hotel", "H0", {"rooms_left": 1}),
    "fixed attribute": changed("currency", WORLD.ids("currency")[0], {"rate": 0}),
    "attribute": changed("city", CITY, {"colour": "red"}),
    "value": changed("hotel", WORLD.ids("hotel")[0], {"rooms_left": "many"}),
    "created with holes": changed("reservation", "R99999", {"status": "active"}),
    "a long change": changed_to(b'["' + b"x" * 900_000 + b'"]'),
    "a deep change": changed_to(b"[" * 900 + b"]" * 900),
    "six fields": forged(FIELDS[:6]),
    "no list": forged({"seed": 1}),
    "no JSON": forged(b"\xff{"),
    "deep": forged(b"[" * 5000),
    "a bomb": forged(zlib.compress(b" " * 2**24), flag=1),
    "no zlib": forged(b"plain", flag=1),
    "another flag": forged(FIELDS, flag=7),
}


@pytest.mark.parametrize("token", POISON.values(), ids=POISON.keys())
def test_a_poisoned_element_is_refused_alone(ways: Ways, token: str) -> None:
    (answer,) = check(ways, token)
    assert (answer["outcome"], answer["provenance"], answer["state"]) == ("forbidden", "service", token)
    assert "State token refused" in json.loads(answer["body"])["error"]
    assert len(answer["body"]) < 400


@pytest.mark.parametrize("field", ["seed", "faults", "task", "step", "clock", "usage", "changes"])
def test_the_refusal_of_a_field_names_it_with_its_value_and_the_remedy(ways: Ways, field: str) -> None:
    (answer,) = check(ways, POISON[field])
    error = json.loads(answer["body"])["error"]
    assert f"{field}=" in error
    assert "exactly as it was received" in error


def test_a_good_token_and_a_forged_copy_of_it_are_distinguished_from_nothing(ways: Ways) -> None:
    """Anyone can sign with a public key: fields that a server could have written are accepted."""
    ours, theirs = check(ways, BOOKED, forged(FIELDS))
    assert ours["outcome"] == "ok"
    assert theirs["outcome"] != "forbidden"
    assert SINGLE["outcome"] == "ok"


@settings(max_examples=20)
@given(st.data())
def test_flipped_bytes_are_refused_alone(ways: Ways, data: st.DataObject) -> None:
    raw = bytearray(base64.urlsafe_b64decode(BOOKED[len(CONTINUING) :]))
    for position in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=4, unique=True)):
        raw[position] ^= data.draw(st.integers(1, 255))
    (answer,) = check(ways, CONTINUING + base64.urlsafe_b64encode(raw).decode())
    assert answer["outcome"] == "forbidden"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: b"\\ud" not in json.dumps(value).encode())
ENTITIES = sorted(WORLD.entities)
WRITTEN = sorted({op.made for op in WORLD.operations.values() if op.made} | {name for name, _ in CHECK._stocks})


@st.composite
def changes(draw: st.DrawFn) -> list[Any]:
    """A change that is nearly one of the world."""
    entity = draw(st.sampled_from(ENTITIES))
    names = [attribute.name for attribute in WORLD.entities[entity].attributes]
    row_id = draw(st.sampled_from(WORLD.ids(entity)[:3]) | st.text(max_size=6).filter(str.isascii))
    row = WORLD.row(entity, row_id) or {}
    own = st.sampled_from([row.get(name) for name in names] + [0, 2**53, 1e15, "", "2031-05-20", CITY, None])
    values = draw(st.dictionaries(st.sampled_from(names), own | JSON, max_size=len(names)))
    return [entity, row_id, values]


@settings(max_examples=40)
@given(st.data())
def test_nonsense_under_a_good_signature_is_answered_alone(ways: Ways, data: st.DataObject) -> None:
    fields = list(FIELDS)
    for index in data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=3, unique=True)):
        fields[index] = data.draw(st.lists(changes() | JSON, max_size=3) if index == 6 else JSON)
    answers = check(ways, *[forged(data.draw(st.sampled_from([fields, fields[:5], fields[6]])))] * 3)
    assert {answer["outcome"] for answer in answers} <= set(Outcome)


TYPED: dict[ValueKind, st.SearchStrategy[Any]] = {
    ValueKind.INTEGER: st.sampled_from([0, 1, 2**53]) | st.integers(0, 2**53),
    ValueKind.NUMBER: st.sampled_from([0, 0.0, -1.5, 2.0**53, -(2**53)]) | st.floats(-1e15, 1e15),
    ValueKind.DATE: st.dates().map(str) | st.none(),
    ValueKind.BOOLEAN: st.booleans(),
}


@st.composite
def typed_changes(draw: st.DrawFn) -> list[Any]:
    """A change of any row, or a new record, whose values have the types of their attributes."""
    entity = WORLD.entities[draw(st.sampled_from(WRITTEN))]
    created = entity.record and draw(st.booleans())
    values = {}
    for attribute in entity.attributes:
        if created or (entity.record and draw(st.booleans())) or (entity.name, attribute.name) in CHECK._stocks:
            ids = WORLD.ids(attribute.type.entity) if attribute.type.kind is ValueKind.ID else ("active", "", "x")
            values[attribute.name] = draw(TYPED.get(attribute.type.kind, st.sampled_from(ids)))
    return [entity.name, "new" if created else draw(st.sampled_from(WORLD.ids(entity.name))), values]


def calls_about(entity: str, row_id: str) -> list[ToolCall]:
    """A call of every operation on a table, of this row where the operation takes an id."""
    calls = []
    for name in OPERATIONS:
        if WORLD.operations[name].subject == entity:
            api = api_of(name)
            values = sample_arguments(api, WORLD, 1)
            values |= {key: row_id for key in values if key == WORLD.entities[entity].id_name}
            calls.append(ToolCall(*api.key, api.encode_arguments(values)))
    return calls


@settings(max_examples=60)
@given(st.lists(typed_changes(), min_size=1, max_size=4))
def test_changes_that_pass_the_check_break_no_operation(made: list[list[Any]]) -> None:
    CHECK(made)
    token = with_field(6, made)
    calls = [call for entity, row_id, _ in made for call in calls_about(entity, row_id)]
    answers = [in_process(SERVICE, call._replace(state=token)) for call in calls]
    assert not any("token" in json.loads(answer["body"])["error"] for answer in answers)


WRITES = [name for name in OPERATIONS if WORLD.operations[name].kind is OperationKind.CREATE]


@pytest.mark.parametrize("operation", WRITES)
def test_what_a_write_makes_passes_the_check_of_another_replica(operation: str) -> None:
    for position in range(4):
        answer = in_process(SERVICE, sampled(operation, position)._replace(state=OPENING))
        state = world_codec(VENDORS).read(answer["state"])
        assert (answer["outcome"] is Outcome.OK) is bool(changes_of(state).changes)
        assert all(isinstance(change, Change) for change in changes_of(state).changes)


def test_a_write_of_half_a_character_goes_into_the_token_as_any_other_text(ways: Ways) -> None:
    stay = api_of("hotel.book").encode_arguments({**STAY, "guest": "Ada \ud83d"})
    (booked,) = ways.answers([GOOD._replace(arguments=stay)])
    assert booked["outcome"] == "ok"
    (change, *_) = changes_of(world_codec(VENDORS).read(booked["state"])).changes
    assert change.values["guest"] == "Ada \ud83d"
    (again,) = ways.answers([GOOD._replace(state=booked["state"])])
    assert again["outcome"] == "ok"


class Breaking(Resolver):
    """A resolver with a defect."""

    def __init__(self, *, blocking: bool) -> None:
        self.blocking = blocking

    def resolve(self, call: ValidatedCall) -> ToolResponse | None:
        raise ZeroDivisionError("a defect")


@pytest.mark.parametrize("blocking", [True, False])
def test_a_defect_of_a_resolver_is_the_outcome_of_its_call_in_a_batch_and_500_alone(
    tmp_path: Path, blocking: bool
) -> None:
    from tests.toolserver.serving import OSLO, OSLO_BODY

    with serving(make_cache(tmp_path / "cache")) as client:
        service: ToolService = client.app.state.executor.service  # type: ignore[attr-defined]
        recorded, broken = service.resolvers[0], Breaking(blocking=blocking)
        executor = client.app.state.executor  # type: ignore[attr-defined]
        executor.service = ToolService(service.catalog, [recorded, broken])
        missing = OSLO._replace(arguments={"city": "Nowhere"})
        before = counted(client)
        answers = client.post("/v1/calls", json=[as_request(call) for call in (OSLO, missing, OSLO)]).json()
        assert [answer["outcome"] for answer in answers] == ["ok", "failed", "ok"]
        assert [answers[0]["body"], answers[2]["body"]] == [OSLO_BODY.decode()] * 2
        assert counted(client) - before == 3
        assert client.post("/v1/call", json=as_request(missing)).status_code == 500
        assert 'toolserver_requests_total{route="/v1/call",status="500"} 1.0' in client.get("/metrics").text


def test_the_codec_takes_a_check() -> None:
    with pytest.raises(StateTokenError, match="delta"):
        StateCodec(check=CHECK).read(forged([*FIELDS[:6], [[1]]], StateCodec()))

"""Vendors: complete and distinct; their encodings are invertible, and every input has a typed outcome."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolserver.calls.naming import parameter_name
from toolserver.catalog.api_schema import ApiSpec, Outcome
from toolserver.errors import ConfigurationError
from toolserver.world import (
    NO_CHANGES,
    Changes,
    Health,
    OperationKind,
    Refusal,
    ValueKind,
    VendorApi,
    VendorRegistry,
    World,
    make_world,
)
from toolserver.world.samples import sample_arguments
from toolserver.world.vendors.documentation import STALE_NOTE
from toolserver.world.vendors.style import ValueStyle
from toolserver.world.vendors.value_codecs import codec_of

LITE = VendorRegistry(make_world(9))
STANDARD = VendorRegistry(make_world(9, "standard"), tools=240)
FULL = VendorRegistry(make_world(9, "full"))
SOME = [*list(LITE.apis())[::5], *list(STANDARD.apis())[::7]]
HEALTHY = [api for api in SOME if api.health is Health.OK]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def world_of(api: VendorApi) -> World:
    return next(v for v in (LITE, STANDARD, FULL) if v.find(*api.key) is api).world


def sent(value: Any) -> Any:
    """Return a value after encoding to JSON and back."""
    return json.loads(json.dumps(value))


def close(one: Any, other: Any) -> bool:
    if isinstance(one, int | float) and not isinstance(one, bool):
        return bool(one == pytest.approx(other, rel=2e-3, abs=0.02))
    return bool(one == other)


def test_one_seed_gives_more_than_ten_thousand_apis_with_names_of_their_own() -> None:
    keys = [spec.key for spec in FULL.specs()]
    assert len(keys) > 10_000
    assert len(set(keys)) == len(keys)
    assert len({spec.function_name for spec in FULL.specs()}) == len(keys)


@pytest.mark.parametrize("vendors", [LITE, STANDARD, FULL], ids=["lite", "standard", "full"])
def test_every_operation_has_a_vendor_that_can_be_relied_on(vendors: VendorRegistry) -> None:
    for name in vendors.world.operations:
        offers = (vendors.tool(index).api_of(name) for index in vendors.offering(name))
        assert any(api and api.health is Health.OK and not api.needs_token for api in offers), name


def test_what_offering_says_is_what_the_tools_have() -> None:
    for name in LITE.world.operations:
        assert LITE.offering(name) == [tool.index for tool in LITE if tool.api_of(name) is not None]


def test_the_same_seed_gives_the_same_vendors_in_any_order() -> None:
    again = VendorRegistry(make_world(9))
    last = again.tool(len(again) - 1).apis
    assert [api.spec for api in last] == [api.spec for api in LITE.tool(len(LITE) - 1).apis]
    assert list(again.specs()) == list(LITE.specs())
    assert list(VendorRegistry(make_world(10)).specs()) != list(LITE.specs())


def test_a_smaller_registry_has_the_first_vendors_of_a_larger_one() -> None:
    small = VendorRegistry(make_world(9), tools=50)
    assert [tool.name for tool in small] == [tool.name for tool in LITE][:50]
    assert list(small.specs()) == list(LITE.specs())[: len(list(small.specs()))]


@pytest.mark.parametrize("tools", [0, -3])
def test_a_world_without_vendors_is_refused(tools: int) -> None:
    with pytest.raises(ConfigurationError, match="tools"):
        VendorRegistry(make_world(9), tools)


def test_an_api_is_found_by_its_names_and_by_its_function_name() -> None:
    for api in SOME[::10]:
        spec = api.spec
        vendors = LITE if world_of(api) is LITE.world else STANDARD
        assert vendors.find(spec.category, spec.tool, spec.name) is api
        assert vendors.find(spec.category, spec.tool, spec.function_name) is api
    assert LITE.find("Geography", "nobody", "nothing") is None
    assert LITE.find("", "", "") is None


def test_arguments_come_back_as_they_were_encoded() -> None:
    for api in SOME:
        values = sample_arguments(api, world_of(api), pick=2)
        encoded = sent(api.encode_arguments(values))
        offered = {parameter_name(name): value for name, value in encoded.items()}
        for arguments in (encoded, offered):
            decoded = api.decode_arguments(arguments)
            assert decoded.keys() == values.keys()
            assert all(close(decoded[name], values[name]) for name in values), (api, decoded, values)


def test_answers_read_back_as_what_the_world_gave() -> None:
    for api in SOME:
        arguments = sent(api.encode_arguments(sample_arguments(api, world_of(api), pick=3)))
        answer = api.answer(world_of(api), arguments, NO_CHANGES)
        assert (answer.outcome is Outcome.OK) == (api.health in (Health.OK, Health.STALE)), (api, answer)
        assert (answer.error == "") == (answer.outcome is Outcome.OK)
        if answer.result is None:
            continue
        rows = api.read(sent(answer.response))
        assert len(rows) == len(answer.result.rows)
        for row, shown in zip(rows, answer.result.rows, strict=True):
            assert row.keys() == shown.values.keys()
            assert all(close(row[name], shown.values[name]) for name in row), (api, row, shown)


def shape(value: Any) -> Any:
    """Return the nested keys of a value; of a list those of its first element."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return None


def test_the_documented_template_has_the_shape_of_real_answers() -> None:
    seen = 0
    for api in HEALTHY:
        arguments = api.encode_arguments(sample_arguments(api, world_of(api), pick=0))
        answer = api.answer(world_of(api), arguments, NO_CHANGES)
        if answer.result and answer.result.rows and len(answer.result.values) == len(api.operation.outputs):
            assert shape(sent(answer.response)) == shape(api.spec.template_response), api
            seen += 1
    assert seen > len(HEALTHY) / 2


@pytest.mark.parametrize("foreign", [None, 3, "text", [1], [{}], {"other": {}}])
def test_reading_a_foreign_answer_is_an_error_that_says_so(foreign: Any) -> None:
    for api in HEALTHY[::20]:
        with pytest.raises(ValueError, match="layout"):
            api.read(foreign)


@given(st.data())
def test_any_json_as_arguments_gives_a_typed_outcome(data: st.DataObject) -> None:
    api = data.draw(st.sampled_from(SOME))
    names = st.sampled_from([*api.parameters.values(), "junk"])
    arguments = data.draw(st.dictionaries(names, JSON, max_size=5))
    answer = api.answer(world_of(api), arguments, NO_CHANGES)
    assert isinstance(answer.outcome, Outcome)
    assert (answer.error == "") == (answer.outcome is Outcome.OK)
    json.dumps(answer.response)
    assert answer.changes is NO_CHANGES or api.operation.kind.writes


@given(st.data())
def test_one_wrong_value_among_right_ones_is_refused_by_the_name_of_its_parameter(data: st.DataObject) -> None:
    api = data.draw(st.sampled_from([api for api in HEALTHY if api.operation.inputs and not api.needs_token]))
    arguments = api.encode_arguments(sample_arguments(api, world_of(api)))
    if not arguments:
        return
    spelled = data.draw(st.sampled_from(sorted(arguments)))
    wrong = data.draw(st.sampled_from([[], {}, [1], {"a": 1}, "", "  ", True, float("nan"), 10**400, "x" * 600]))
    name = next(name for name, vendors_word in api.parameters.items() if vendors_word == spelled)
    if api.slots[name].type.kind is ValueKind.BOOLEAN and wrong is True:
        return
    answer = api.answer(world_of(api), arguments | {spelled: wrong}, NO_CHANGES)
    assert answer.outcome is Outcome.INVALID_ARGUMENTS, (api, spelled, wrong, answer)
    assert f"'{spelled}'" in answer.error


def test_a_missing_parameter_is_named_and_null_counts_as_missing() -> None:
    for api in HEALTHY:
        for name, slot in api.slots.items():
            if slot.required and not api.needs_token:
                spelled = api.parameters[name]
                full = api.encode_arguments(sample_arguments(api, world_of(api)))
                for arguments in ({k: v for k, v in full.items() if k != spelled}, full | {spelled: None}):
                    with pytest.raises(Refusal, match=f"Missing required parameter '{spelled}'"):
                        api.decode_arguments(arguments)


def apis_with(vendors: VendorRegistry, **wanted: Any) -> Iterator[VendorApi]:
    return (api for api in vendors.apis() if all(getattr(api, name) == value for name, value in wanted.items()))


def test_a_token_from_the_login_opens_the_other_apis_of_that_vendor_only() -> None:
    world = LITE.world
    guarded = list(apis_with(LITE, needs_token=True, health=Health.OK))[:40]
    assert len({api.vendor.index for api in guarded}) > 3
    for api in guarded:
        login = api.login_api
        assert login is not None
        assert login.spec.name in api.spec.description
        (session,) = login.read(login.answer(world, {}, NO_CHANGES).response)
        values = sample_arguments(api, world) | {"token": session["token"]}
        assert api.answer(world, api.encode_arguments(values), NO_CHANGES).outcome is Outcome.OK
        for token in ("", "abc123", None, 5, ["x"]):
            refused = api.answer(world, api.encode_arguments(values | {"token": token}), NO_CHANGES)
            assert refused.outcome is Outcome.UNAUTHORIZED
            assert login.spec.name in refused.error
        other_episode = api.answer(world, api.encode_arguments(values), Changes(salt="another"))
        assert other_episode.outcome is Outcome.UNAUTHORIZED


def test_pages_show_every_row_once() -> None:
    checked = 0
    for api in apis_with(STANDARD, pages=True, health=Health.OK):
        if api.operation.kind is not OperationKind.LIST or api.needs_token:
            continue
        values = sample_arguments(api, STANDARD.world)
        whole = [row.entity for row in STANDARD.world.execute(api.operation, values).rows]
        seen: list[str] = []
        for page in range(1, 2 + len(whole) // api.layout.page_size):
            answer = api.answer(STANDARD.world, api.encode_arguments(values | {"page": page}), NO_CHANGES)
            assert answer.result is not None
            seen += [row.entity for row in answer.result.rows]
            assert str(len(whole)) in json.dumps(answer.response)
        assert seen == whole
        beyond = api.answer(STANDARD.world, api.encode_arguments(values | {"page": 99}), NO_CHANGES)
        assert beyond.result is not None
        assert beyond.result.rows == ()
        checked += 1
    assert checked > 5


def test_a_stale_vendor_is_wrong_about_what_changes_and_says_that_it_is_old() -> None:
    stale = list(apis_with(FULL, health=Health.STALE))[:150]
    assert len(stale) > 20
    differing = 0
    for api in stale:
        assert STALE_NOTE in api.spec.description
        values = sample_arguments(api, FULL.world)
        old = api.answer(FULL.world, api.encode_arguments(values), NO_CHANGES)
        assert old == api.answer(FULL.world, api.encode_arguments(values), NO_CHANGES)
        values.pop("token", None)
        fresh = FULL.world.execute(api.operation, values)
        assert old.result is not None
        for then, now in zip(old.result.rows, fresh.rows, strict=False):
            for name, value in now.values.items():
                if not api.operation.outputs[name].volatile:
                    assert then.values[name] == value
                elif isinstance(value, int | float):
                    differing += then.values[name] != value
    assert differing > len(stale) / 2
    assert all(STALE_NOTE not in api.spec.description for api in FULL.apis() if api.health is Health.OK)


@pytest.mark.parametrize(
    ("health", "outcome"), [(Health.BROKEN, Outcome.UNAVAILABLE), (Health.CLOSED, Outcome.FORBIDDEN)]
)
def test_an_api_that_is_out_refuses_every_call(health: Health, outcome: Outcome) -> None:
    out = list(apis_with(FULL, health=health))
    assert len(out) > 20
    for api in out[:20]:
        values = api.encode_arguments(sample_arguments(api, FULL.world))
        for arguments in (values, {}, {"junk": [1]}):
            assert api.answer(FULL.world, arguments, NO_CHANGES).outcome is outcome


def test_lite_documentation_is_short_and_full_documentation_is_not() -> None:
    def words(spec: ApiSpec) -> int:
        texts = (spec.description, *(each.description for each in (*spec.required, *spec.optional)))
        return sum(len(text.split()) for text in texts)

    lite, full = [words(spec) for spec in LITE.specs()], [words(spec) for spec in FULL.specs()]
    assert sorted(lite)[len(lite) // 2] <= 10
    assert max(lite) <= 40
    assert sorted(full)[len(full) // 2] >= 25
    assert all(spec.description and spec.tool_description for spec in FULL.specs())


def test_documentation_gives_away_no_id() -> None:
    world = LITE.world
    ids = {row_id for entity in world.entities for row_id in world.ids(entity)}
    for spec in LITE.specs():
        text = json.dumps([spec.description, spec.required, spec.optional], default=str)
        assert not ids & set(text.replace('"', " ").replace(",", " ").split())


VALUES = st.builds(
    ValueStyle,
    imperial=st.booleans(),
    cents=st.booleans(),
    dates=st.sampled_from(["iso", "us", "european", "compact"]),
    twelve_hours=st.booleans(),
    text_numbers=st.booleans(),
    enums=st.sampled_from(["lower", "upper", "title"]),
)
TYPES = {
    output.type.name: output.type
    for operation in FULL.world.operations.values()
    for output in operation.outputs.values()
}


@given(VALUES, st.sampled_from(sorted(TYPES)), st.data())
def test_a_codec_reads_what_it_wrote(values: ValueStyle, name: str, data: st.DataObject) -> None:
    kind = TYPES[name]
    codec = codec_of(kind, values)
    samples: dict[ValueKind, st.SearchStrategy[Any]] = {
        ValueKind.INTEGER: st.integers(0, 10**8),
        ValueKind.NUMBER: st.floats(0, 1e7).map(lambda value: round(value, kind.decimals)),
        ValueKind.DATE: st.dates().map(str),
        ValueKind.TIME: st.times().map(lambda time: time.strftime("%H:%M")),
        ValueKind.BOOLEAN: st.booleans(),
        ValueKind.ENUM: st.sampled_from(kind.values or ("",)),
        ValueKind.ID: st.just("C1234"),
        ValueKind.TEXT: st.just("Ada Lindt"),
    }
    value = data.draw(samples[kind.kind])
    written = value if codec.encode is None else codec.encode(value)
    # A quantity in another unit is rounded there: exact up to half of its last digit.
    assert (
        codec.decode(sent(written)) == pytest.approx(value, rel=2e-3, abs=1)
        if codec.foreign
        else (codec.decode(sent(written)) == value)
    )


@pytest.mark.parametrize(
    ("dates", "text", "iso"),
    [
        ("iso", "2031-05-04", "2031-05-04"),
        ("us", "05/04/2031", "2031-05-04"),
        ("us", "5/4/2031", "2031-05-04"),
        ("european", "04.05.2031", "2031-05-04"),
        ("compact", 20310504, "2031-05-04"),
    ],
)
def test_dates_are_read_in_the_vendors_style(dates: str, text: Any, iso: str) -> None:
    date = next(kind for kind in TYPES.values() if kind.kind is ValueKind.DATE)
    assert codec_of(date, ValueStyle(dates=dates)).decode(text) == iso


@pytest.mark.parametrize("text", ["2031-02-30", "04.05.2031", "2031-5-4", "today", "２０３１-05-04", 20310504, None])
def test_a_wrong_date_is_refused_with_the_style_that_is_wanted(text: Any) -> None:
    date = next(kind for kind in TYPES.values() if kind.kind is ValueKind.DATE)
    with pytest.raises(ValueError, match="YYYY-MM-DD"):
        codec_of(date, replace(ValueStyle(), dates="iso")).decode(text)

"""An episode's state survives its token, and nobody can change it on the way."""

import base64
import contextlib
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolserver.calls.episode_state import EpisodeState
from toolserver.catalog.api_schema import Outcome, Provenance, ToolCall, ToolResponse
from toolserver.episodes.state_token import CONTINUING, StateCodec, opening_token
from toolserver.errors import ConfigurationError, StateTokenError

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.just("\ud83d"),  # half a character, which a model may write
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=6,
)
states = st.builds(
    EpisodeState,
    seed=st.integers(0, 2**63 - 1),
    faults=st.sampled_from(["none", "mild", "harsh"]),
    task=st.from_regex(r"[a-z0-9.\-]{0,20}", fullmatch=True),
    step=st.integers(0, 40),
    clock=st.integers(0, 10**9),
    usage=st.dictionaries(
        st.text("abc_", min_size=1, max_size=5), st.lists(st.integers(0, 99), min_size=3, max_size=3)
    ),
    changes=st.lists(json_values, max_size=12).map(tuple),
)
STATE = EpisodeState(7, "mild", "lite-train-3", 2, 1200, {"stays": [1, 0, 1]}, ({"op": "book", "id": "h12"},))


@given(states)
def test_a_token_gives_its_state_back_to_every_replica(state: EpisodeState) -> None:
    token = StateCodec(b"shared").write(state)
    assert StateCodec(b"shared").read(token) == state
    assert StateCodec(b"shared").write(state) == token


@given(states, st.data())
def test_no_changed_byte_goes_unnoticed(state: EpisodeState, data: st.DataObject) -> None:
    raw = bytearray(base64.urlsafe_b64decode(StateCodec().write(state)[len(CONTINUING) :]))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(StateTokenError):
        StateCodec().read(CONTINUING + base64.urlsafe_b64encode(raw).decode())


@given(st.text(max_size=60) | st.text(max_size=60).map(CONTINUING.__add__) | st.text(max_size=60).map("open:".__add__))
def test_any_text_is_a_state_or_a_typed_error(token: str) -> None:
    with contextlib.suppress(StateTokenError):
        assert isinstance(StateCodec().read(token), EpisodeState)


@pytest.mark.parametrize("cut", [1, 4, 10, 60])
def test_a_cut_token_is_called_cut(cut: int) -> None:
    with pytest.raises(StateTokenError, match="cut"):
        StateCodec().read(StateCodec().write(STATE)[:-cut])


def test_a_foreign_token_is_called_foreign() -> None:
    with pytest.raises(StateTokenError, match="another key"):
        StateCodec(b"ours").read(StateCodec(b"theirs").write(STATE))


def test_a_token_that_names_our_key_but_was_signed_by_another_is_refused() -> None:
    ours, theirs = (base64.urlsafe_b64decode(StateCodec(key).write(STATE)[4:]) for key in (b"ours", b"theirs"))
    forged = CONTINUING + base64.urlsafe_b64encode(ours[:5] + theirs[5:]).decode()
    with pytest.raises(StateTokenError, match="signature"):
        StateCodec(b"ours").read(forged)


def test_an_overlong_token_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(StateTokenError, match="at most"):
        StateCodec().read(CONTINUING + "A" * 100_000)


@given(st.integers(0, 2**63 - 1), st.sampled_from(["none", "mild", "harsh"]))
def test_anybody_can_write_an_opening_token(seed: int, faults: str) -> None:
    state = StateCodec().read(opening_token(seed, faults, "full-G3_instruction-11"))
    assert (state.seed, state.faults, state.task, state.step) == (seed, faults, "full-G3_instruction-11", 0)


def test_the_fields_of_an_opening_token_are_optional() -> None:
    assert StateCodec().read("open") == EpisodeState()
    assert StateCodec().read("open:seed=4") == EpisodeState(seed=4)


@pytest.mark.parametrize(
    "token",
    ["open:seed=x", "open:seed=-1", "open:seed=" + "9" * 40, "open:faults=evil", "open:task=a b", "open:x=1", "open:"],
)
def test_a_wrong_opening_token_says_which_field(token: str) -> None:
    with pytest.raises(StateTokenError, match=r"opening token|seed"):
        StateCodec().read(token)


@pytest.mark.parametrize(
    ("field", "values"), [("seed", (-1, "none", "")), ("faults", (0, "x", "")), ("task", (0, "none", "ä"))]
)
def test_writing_a_wrong_opening_token_names_the_field(field: str, values: tuple[int, str, str]) -> None:
    with pytest.raises(ConfigurationError, match=field):
        opening_token(*values)


def test_a_key_is_required() -> None:
    with pytest.raises(ConfigurationError, match="key"):
        StateCodec(b"")


@settings(max_examples=10)
@given(st.integers(1, 8))
def test_a_typical_token_fits_a_kilobyte(writes: int) -> None:
    change = {
        "op": "reserve_room",
        "id": "BK-7F3A9C",
        "hotel": "htl_48213",
        "guest": "Maren Oduya",
        "date": "2031-05-14",
    }
    usage = {f"vendor_{i}_travel_tools": [3, 12_000, 2] for i in range(4)}
    state = EpisodeState(2**60, "harsh", "standard-G3_instruction-117", 9, 55_000, usage, (change,) * writes)
    assert len(StateCodec().write(state)) <= 1024


CALL = ToolCall("Toys", "Echo", "Say it", "{}")


def test_a_call_is_decoded_once_and_its_answer_carries_a_token_again() -> None:
    codec = StateCodec()
    opening = opening_token(5, "mild", "t")
    decoded = codec.decode_call(CALL._replace(state=opening))
    assert isinstance(decoded, ToolCall)
    assert decoded == CALL._replace(state=EpisodeState(5, "mild", "t"))
    assert isinstance(decoded.state, EpisodeState)
    assert codec.token_of(decoded.state) == opening  # a call that did not advance the episode
    assert codec.token_of(EpisodeState(5, "mild", "t", 1)) == codec.write(EpisodeState(5, "mild", "t", 1))
    assert codec.decode_call(CALL) is CALL


@pytest.mark.parametrize("token", ["forged", "st1.AAAA", "open:seed=x", "st1." + "A" * 200])
def test_a_call_with_a_forged_token_is_refused_and_keeps_it(token: str) -> None:
    refused = StateCodec().decode_call(CALL._replace(state=token))
    assert isinstance(refused, ToolResponse)
    assert (refused.outcome, refused.provenance, refused.state) == (Outcome.FORBIDDEN, Provenance.SERVICE, token)
    assert "token" in refused.error


def signed(fields: bytes) -> str:
    """A continuing token of any fields, signed with the public key."""
    codec, payload = StateCodec(), zlib.compress(fields)
    signed = b"%c%b%b%b" % (1, codec._key_id, len(payload).to_bytes(4, "big"), payload)
    return CONTINUING + base64.urlsafe_b64encode(signed + codec._mac(signed)).decode()


FIELDS = [b"7", b'"mild"', b'"t"', b"2", b"1200", b'{"stays":[1,0,1]}', b'[["hotel","H1",{"rooms_left":1}]]']
NESTED = {
    "arrays": b"[" * 900 + b"]" * 900,
    "objects": b'{"a":' * 900 + b"1" + b"}" * 900,
    "barely": b"[" * 40 + b"]" * 40,
    "counts": b'{"stays":[1,0,' + b"[" * 900 + b"]" * 900 + b"]}",
    "a value": b'[["hotel","H1",{"rooms_left":' + b"[" * 900 + b"]" * 900 + b"}]]",
}


@pytest.mark.parametrize("value", NESTED.values(), ids=NESTED)
@pytest.mark.parametrize("field", range(7))
def test_a_field_that_is_nested_too_deeply_is_refused(field: int, value: bytes) -> None:
    """It could be decoded, but not encoded again."""
    assert StateCodec().read(signed(b"[" + b",".join(FIELDS) + b"]")).step == 2
    fields = [value if position == field else each for position, each in enumerate(FIELDS)]
    with pytest.raises(StateTokenError, match="nested deeper"):
        StateCodec().read(signed(b"[" + b",".join(fields) + b"]"))


LONG = "x" * 50_000


@pytest.mark.parametrize(
    "token",
    [LONG, f"open:{LONG}", f"open:task={LONG}", f"open:faults={LONG}", f"open:seed={LONG}", f"open:{LONG}=1"]
    + [signed(b"[" + b",".join([*FIELDS[:field], b'["%b"]' % LONG.encode(), *FIELDS[field + 1 :]]) + b"]")
       for field in range(6)],
)  # fmt: skip
def test_the_reason_does_not_repeat_a_long_token(token: str) -> None:
    with pytest.raises(StateTokenError) as refused:
        StateCodec().read(token)
    assert len(str(refused.value)) < 300


def test_a_bomb_is_not_inflated() -> None:
    token = signed(b"[" + b",".join([*FIELDS[:6], b'["%b"]' % (b"x" * 2**24)]) + b"]")
    assert len(token) < 52_000
    tracemalloc.start()
    with pytest.raises(StateTokenError, match="at most 1048576 bytes"):
        StateCodec().read(token)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


def test_long_states_are_not_held() -> None:
    """A token of 1 kB can hold 1 MB of text; thousands of such states are not kept."""
    codec = StateCodec()
    tracemalloc.start()
    tokens = [codec.write(EpisodeState(seed=seed, changes=(LONG * 2 + str(seed),))) for seed in range(300)]
    states = [codec.read(token).seed for token in tokens]
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert states == list(range(300))
    assert held < 2**22

"""State tokens: the state of an episode as text, for calls over HTTP.

The server keeps no session. Each answer carries the episode's state as a token, which the client sends with its next
call. So any replica can answer any call, and a copy of the token is a copy of the episode.

The prefix distinguishes two kinds of tokens:

* an *opening token* is plain text that anyone may write: `open:seed=7:faults=mild:task=lite-train-0`;
* a *continuing token* is written by a server: the state as JSON, compressed if that shortens it, with a keyed BLAKE2b
  signature. The signature protects it against changes; its content is readable.

A call with an empty token has no state.
"""

import base64
import binascii
import hmac
import json
import re
import zlib
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

import orjson

from toolserver.calls.episode_state import FAULT_LEVELS, EpisodeState
from toolserver.calls.json_parsing import is_deeper, parse
from toolserver.catalog.api_schema import Outcome, Provenance, ToolCall, ToolResponse, encode_body
from toolserver.errors import ConfigurationError, StateTokenError

PUBLIC_KEY = b"steptool-env"
"""Key of services in process: who has a token has the world, too. A server over HTTP has another key."""

OPENING = "open"
CONTINUING = "st1."
MAX_TOKEN_LENGTH = 65_536

_KEY_ID_SIZE = 4
_MAC_SIZE = 16
_LENGTH_SIZE = 4
_HEADER_SIZE = 1 + _KEY_ID_SIZE + _LENGTH_SIZE
_PLAIN, _DEFLATED = 0, 1
_COMPRESS_FROM = 200  # bytes; below, compression costs more time than it saves bytes
_MEMORY = 4096  # tokens with their states: a token that was just written is not decoded again
_REMEMBERED = 4096  # bytes; a longer state is decoded again, or callers could fill the memory
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_TASK_ID = re.compile(r"[A-Za-z0-9_.\-]{0,80}")
_WHOLE_OPENING = re.compile(
    rf"{OPENING}:seed=([0-9]{{1,19}}):faults=({'|'.join(FAULT_LEVELS)}):task=({_TASK_ID.pattern})"
)
"""Format of `opening_token`. Any other opening token is parsed field by field, which takes five times as long."""
_MAX_SEED = 2**63
_MAX_COUNT = 2**53
_MAX_STATE_LENGTH = 2**20  # bytes of a state before compression
_MAX_DEPTH = 32  # levels of a state: what is nested deeper cannot be encoded again
_USAGE_FIELDS = 3

Check = Callable[[Sequence[Any]], None]
"""Function that raises `StateTokenError` for changes that are not valid."""


def opening_token(seed: int = 0, faults: str = "none", task: str = "") -> str:
    """Return the first token of an episode. Raises `ConfigurationError` when a field is wrong."""
    if not 0 <= seed < _MAX_SEED:
        raise ConfigurationError(f"seed: {seed} is outside 0..2**63-1; use a non-negative 63-bit integer")
    if faults not in FAULT_LEVELS:
        raise ConfigurationError(f"faults: {faults!r:.40} is not a fault level; use one of {', '.join(FAULT_LEVELS)}")
    if not _TASK_ID.fullmatch(task):
        raise ConfigurationError(f"task: {task!r:.40} is not a task id; use up to 80 letters, digits and _ . -")
    return f"{OPENING}:seed={seed}:faults={faults}:task={task}"


class StateCodec:
    """Decodes and encodes state tokens under one key.

    Replicas that share episodes share the key and the world. The default key is public, for services in process.
    Because the key may be public, a valid signature does not imply valid fields, and each field is checked.

    Args:
        key: Key of the signatures.
        world: Identity of the world whose changes the tokens contain; empty without a world. A token of another world
            is refused like one with another key.
        check: Checks the changes in a token that this codec did not write.
    """

    def __init__(self, key: bytes = PUBLIC_KEY, world: str = "", check: Check | None = None) -> None:
        if not key:
            raise ConfigurationError("key: the key of state tokens is empty; give at least one byte")
        bound = blake2b(world.encode(), digest_size=32).digest() if world else b""
        self._key = blake2b(key, digest_size=32, person=b"steptool-token", key=bound).digest()
        self._check = check
        self._key_id = blake2b(self._key, digest_size=_KEY_ID_SIZE, person=b"steptool-key-id").digest()
        self._keyed = blake2b(key=self._key, digest_size=_MAC_SIZE)
        self._memory: dict[str, EpisodeState] = {}

    def read(self, token: str) -> EpisodeState:
        """Return the state of an opening or continuing token. Raises `StateTokenError` with the reason."""
        known = self._memory.get(token)
        if known is not None:
            return known
        if len(token) > MAX_TOKEN_LENGTH:
            raise StateTokenError(f"the state token has {len(token)} characters; at most {MAX_TOKEN_LENGTH} are read")
        size = len(token)
        if token.startswith(CONTINUING):
            payload = self._verified(token)
            state, size = _decode(payload), len(payload)
            if self._check is not None and state.changes:
                self._check(state.changes)
        elif token.startswith(OPENING + ":") or token == OPENING:
            state = _read_opening(token)
        else:
            raise StateTokenError(
                f"{token[:24]!r} is not a state token; one starts with {CONTINUING!r} (a server's) or {OPENING + ':'!r}"
            )
        state.token = token
        self._remember(token, state, size)
        return state

    def write(self, state: EpisodeState) -> str:
        """Return the continuing token of `state`. The same state and key give the same token."""
        fields = [state.seed, state.faults, state.task, state.step, state.clock, state.usage, state.changes]
        payload, flag = _as_json(fields), _PLAIN
        size = len(payload)
        if size >= _COMPRESS_FROM:
            # Not zstandard: its compressor cannot be shared by threads.
            payload, flag = zlib.compress(payload), _DEFLATED
        signed = b"%c%b%b%b" % (flag, self._key_id, len(payload).to_bytes(_LENGTH_SIZE, "big"), payload)
        # `urlsafe_b64encode` takes five times as long for the same result.
        text = binascii.b2a_base64(signed + self._mac(signed), newline=False).translate(_URL_SAFE)
        token = CONTINUING + text.decode()
        self._remember(token, state, size)
        return token

    def decode_call(self, call: ToolCall) -> ToolCall | ToolResponse:
        """Return `call` with its state token decoded; for a token that does not hold, the refusal of the call."""
        token = call.state
        if not token or isinstance(token, EpisodeState):
            return call
        try:
            state = self.read(token)
        except StateTokenError as error:
            body = encode_body(f"State token refused: {error}.", "")
            return ToolResponse(body, Outcome.FORBIDDEN, Provenance.SERVICE, token)
        category, tool, api, arguments, _, parsed = call
        return ToolCall(category, tool, api, arguments, state, parsed)

    def token_of(self, state: EpisodeState | str) -> str:
        """Return the token of a response's state: the token that was received, unless the call advanced the state."""
        return state if isinstance(state, str) else state.token or self.write(state)

    def _verified(self, token: str) -> bytes:
        """Verify a continuing token and return its JSON."""
        try:
            raw = base64.b64decode(token[len(CONTINUING) :].encode("ascii"), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError):
            raise StateTokenError("the state token is cut or changed: its text is not whole base64") from None
        length = int.from_bytes(raw[1 + _KEY_ID_SIZE : _HEADER_SIZE], "big")
        if len(raw) != _HEADER_SIZE + length + _MAC_SIZE:
            raise StateTokenError("the state token is cut or lengthened; send it back exactly as it was received")
        if raw[1 : 1 + _KEY_ID_SIZE] != self._key_id:
            raise StateTokenError(
                "the state token is from a server with another key or of another world; start a new episode, or give "
                "servers that share episodes, also after a restart, the same world and TOOLSERVER_STATE_KEY"
            )
        if not hmac.compare_digest(self._mac(raw[:-_MAC_SIZE]), raw[-_MAC_SIZE:]):
            raise StateTokenError("the state token was changed: its signature does not hold")
        return _inflated(raw[0], raw[_HEADER_SIZE:-_MAC_SIZE])

    def _mac(self, signed: bytes) -> bytes:
        mac = self._keyed.copy()  # half the time of a new one with the key
        mac.update(signed)
        return mac.digest()

    def _remember(self, token: str, state: EpisodeState, size: int) -> None:
        if size > _REMEMBERED:
            return
        # Cleared when full: simpler than LRU, and as good for tokens that are read once, right after they were written.
        if len(self._memory) >= _MEMORY:
            self._memory.clear()
        self._memory[token] = state


def _as_json(fields: list[Any]) -> bytes:
    try:
        return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # a lone surrogate, in a text of a model that a call stored in the world
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def _from_json(payload: bytes) -> Any:
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        return parse(payload.decode())


def _inflated(flag: int, payload: bytes) -> bytes:
    if flag == _PLAIN:
        return payload
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(payload, _MAX_STATE_LENGTH) if flag == _DEFLATED else b""
    except zlib.error:
        text = b""
    if not text or not inflater.eof:
        raise StateTokenError(f"the state token holds no compressed state of at most {_MAX_STATE_LENGTH} bytes")
    return text


def _decode(payload: bytes) -> EpisodeState:
    """Return the state in a verified payload. The key may be public, so each field is checked."""
    try:
        fields = _from_json(payload)
        seed, faults, task, step, clock, usage, changes = fields
    except (ValueError, TypeError):
        raise StateTokenError("the state token is not a list of seven fields") from None
    if payload.count(b"[") + payload.count(b"{") > _MAX_DEPTH and is_deeper(fields, _MAX_DEPTH):
        raise StateTokenError(f"the state token is nested deeper than {_MAX_DEPTH} levels")
    _demand("seed", seed, is_count(seed, _MAX_SEED - 1), "an integer in 0..2**63-1")
    _demand("faults", faults, faults in FAULT_LEVELS, f"one of {', '.join(FAULT_LEVELS)}")
    _demand("task", task, isinstance(task, str) and _TASK_ID.fullmatch(task) is not None, "a task id")
    _demand("step", step, is_count(step), "an integer in 0..2**53")
    _demand("clock", clock, is_count(clock), "an integer in 0..2**53")
    _demand("usage", usage, _is_usage(usage), "an object of three counts per tool")
    _demand("changes", changes, isinstance(changes, list), "a list of changes")
    return EpisodeState(seed, faults, task, step, clock, usage, tuple(changes))


def _demand(name: str, value: Any, holds: bool, wanted: str) -> None:
    if not holds:
        raise StateTokenError(
            f"{name}={value!r:.40} in the state token is not {wanted}; send the token back exactly as it was received"
        )


def is_count(value: Any, largest: int = _MAX_COUNT) -> bool:
    """Return whether a JSON value is an integer in 0..`largest`."""
    return type(value) is int and 0 <= value <= largest


def _is_usage(usage: Any) -> bool:
    return isinstance(usage, dict) and all(
        isinstance(counts, list) and len(counts) == _USAGE_FIELDS and all(map(is_count, counts))
        for counts in usage.values()
    )


def _read_opening(token: str) -> EpisodeState:
    whole = _WHOLE_OPENING.fullmatch(token)
    if whole is not None and int(whole[1]) < _MAX_SEED:
        return EpisodeState(int(whole[1]), whole[2], whole[3])
    fields: dict[str, str] = {}
    for part in token.split(":")[1:]:
        name, separator, value = part.partition("=")
        if not separator or name not in ("seed", "faults", "task") or name in fields:
            raise StateTokenError(
                f"{part!r:.40} in an opening token is wrong; use {OPENING}:seed=7:faults=mild:task=ID, each field once"
            )
        fields[name] = value
    seed = fields.get("seed", "0")
    if not (seed.isascii() and seed.isdigit() and len(seed) < 20):
        raise StateTokenError(f"seed={seed[:24]!r} in the opening token is not a non-negative 63-bit integer")
    try:
        opening_token(int(seed), fields.get("faults", "none"), fields.get("task", ""))
    except ConfigurationError as error:
        raise StateTokenError(f"opening token: {error}") from None
    return EpisodeState(int(seed), fields.get("faults", "none"), fields.get("task", ""))

"""Binary format of one recorded response: a fixed header, its description, the body.

    offset  bytes  field
    0       1      layout version
    1       1      outcome (position in `_OUTCOMES`)
    2       1      provenance (position in `_PROVENANCES`)
    3       16     BLAKE2b-16 of the key and all but these 16 bytes
    19      4      length of the description, big-endian
    23      n      description: JSON array [category, tool, api, arguments, source, recorded_at]
    23+n    rest   the body, exactly as it is sent

Decoding is a hash, two table look-ups and a slice. The description is decoded only by `CacheEntry.describe`.
"""

import json
import struct
from hashlib import blake2b
from typing import Any, NamedTuple, cast

from toolserver.calls.call_key import canonical_key
from toolserver.calls.naming import api_key
from toolserver.catalog.api_schema import Outcome, Provenance, ToolCall, ToolResponse, decode_body
from toolserver.errors import CacheError, DamagedEntryError, DataError

_VERSION = 1
_HEADER = struct.Struct(">BBB16sI")
_DIGEST = slice(3, 19)

# The order is part of the format: append, never reorder.
_OUTCOMES = (
    Outcome.OK, Outcome.UNKNOWN_API, Outcome.INVALID_ARGUMENTS, Outcome.NOT_FOUND, Outcome.CONFLICT,
    Outcome.UNAUTHORIZED, Outcome.FORBIDDEN, Outcome.RATE_LIMITED, Outcome.QUOTA_EXCEEDED, Outcome.TIMEOUT,
    Outcome.UNAVAILABLE, Outcome.NOT_RECORDED, Outcome.FAILED,
)  # fmt: skip
_PROVENANCES = (
    Provenance.RECORDED, Provenance.GENERATED, Provenance.SYNTHETIC, Provenance.LIVE, Provenance.WORLD,
    Provenance.INJECTED, Provenance.SERVICE,
)  # fmt: skip
_OUTCOME_CODES = {outcome: code for code, outcome in enumerate(_OUTCOMES)}
_PROVENANCE_CODES = {provenance: code for code, provenance in enumerate(_PROVENANCES)}


class Description(NamedTuple):
    """Metadata of a recording. Policies never see it.

    Attributes:
        call: Call with standardised names, and arguments in the order of the first recording.
        source: File or server of origin.
        recorded_at: Time as text (usually ISO 8601); empty if unknown.
    """

    call: ToolCall
    source: str
    recorded_at: str


class CacheEntry:
    """One recorded response. `response` is ready to be sent; `describe` decodes the metadata."""

    __slots__ = ("_description", "response")

    def __init__(self, response: ToolResponse, description: bytes) -> None:
        self.response = response
        self._description = description

    @property
    def body(self) -> bytes:
        """Body, byte for byte as it was recorded."""
        return self.response.body

    @property
    def outcome(self) -> Outcome:
        """Outcome of the recorded call."""
        return self.response.outcome

    @property
    def provenance(self) -> Provenance:
        """Source of the answer."""
        return self.response.provenance

    @property
    def size(self) -> int:
        """Size of body and description in bytes."""
        return len(self.response.body) + len(self._description)

    def describe(self) -> Description:
        """Decode call, source and time of the recording. Raises `CacheError` for a description of another form."""
        try:
            match json.loads(self._description):
                case [str(category), str(tool), str(api), dict(arguments), str(source), str(recorded_at)]:
                    return Description(ToolCall(category, tool, api, arguments), source, recorded_at)
            reason = "it is not that of a call"
        except (ValueError, RecursionError) as error:
            reason = str(error)
        raise CacheError(f"an entry has no readable description ({reason}); see `toolserver verify`")


def encode_record(call: ToolCall, response: ToolResponse, source: str, recorded_at: str) -> tuple[bytes, bytes]:
    """Return the key and the encoded value of a recording.

    Raises:
        DataError: The arguments are not an object of JSON data, or the body has the wrong form.
    """
    if not isinstance(call.arguments, dict):
        raise DataError(f"arguments of {call.api} must be a JSON object, not {call.arguments!r:.100}")
    _check_body(response.body)
    names = api_key(call.category, call.tool, call.api)
    key = canonical_key(*names, call.arguments)
    # json rather than orjson: it keeps lone surrogates, NaN and integers of any length.
    description = json.dumps([*names, call.arguments, source, recorded_at], separators=(",", ":")).encode()
    head = bytes((_VERSION, _OUTCOME_CODES[response.outcome], _PROVENANCE_CODES[response.provenance]))
    rest = struct.pack(">I", len(description)) + description + response.body
    return key, head + _digest(key, head, rest) + rest


def decode_entry(key: bytes, value: bytes) -> CacheEntry:
    """Check a stored value against its hash and decode it.

    Raises:
        DamagedEntryError: The value is cut or changed, or belongs to another key.
        CacheError: The value is of another version.
    """
    if len(value) < _HEADER.size or value[_DIGEST] != _digest(key, value[: _DIGEST.start], value[_DIGEST.stop :]):
        raise DamagedEntryError(f"the entry {key.hex()} does not match its hash; see `toolserver verify`")
    version, outcome, provenance, _, length = _HEADER.unpack_from(value)
    if version != _VERSION:
        raise CacheError(f"entry of layout {version}, not {_VERSION}; see `toolserver verify`")
    start = _HEADER.size + length
    try:
        response = ToolResponse(value[start:], _OUTCOMES[outcome], _PROVENANCES[provenance])
    except IndexError:
        raise CacheError(
            f"entry with outcome {outcome} and provenance {provenance}, written by a later version"
        ) from None
    return CacheEntry(response, value[_HEADER.size : start])


def stored_hash(value: bytes) -> bytes:
    """Return the hash in a stored value, or in its first 19 bytes."""
    return value[_DIGEST]


def check_record(key: bytes, value: bytes) -> str:
    """Return the error of a stored value; empty when it is unchanged."""
    try:
        entry = decode_entry(key, value)
        category, tool, api, arguments, *_ = entry.describe().call
        _check_body(entry.body)
        expected = canonical_key(category, tool, api, cast(dict[str, Any], arguments))
    except DamagedEntryError:
        return "the value does not match its hash"
    except (CacheError, DataError, ValueError) as error:
        return str(error)
    return "" if key == expected else "the key does not belong to the call"


def _digest(key: bytes, head: bytes, rest: bytes) -> bytes:
    return blake2b(key + head + rest, digest_size=16).digest()


def _check_body(body: bytes) -> None:
    try:
        decode_body(body)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the body cannot be served ({error}): {body[:100]!r}") from None

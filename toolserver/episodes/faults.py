"""Injected faults: deterministic failures, latency and quotas.

Every draw is BLAKE2b of the episode (its seed and task) and the step or the API. Time is virtual: a call advances the
episode's clock by its latency without waiting.

* *Transient* failures are drawn per step, at most one of two consecutive steps fails, so an immediate retry succeeds.
* *Permanent* failures are drawn per API and last for the episode: the call must go to another vendor.
* A *rate limit* answers 429 and advances the virtual clock to the end of the window.
* A *quota* rejects every call of a tool after a number of calls, until the episode ends.
"""

from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import NamedTuple

from toolserver.calls.episode_state import FAULT_LEVELS, EpisodeState
from toolserver.catalog.api_schema import Outcome, Provenance, ToolResponse, encode_body
from toolserver.errors import ConfigurationError

_SCALE = 2**32


@dataclass(frozen=True, slots=True)
class FaultProfile:
    """Rates and limits of one fault level.

    Attributes:
        transient: Probability that a step fails (before the second of two consecutive failures is suppressed).
        permanent: Probability that an API is down for a whole episode.
        latency: Typical latency of a call in milliseconds; drawn between half and twice this value.
        window: Length of a tool's rate-limit window in milliseconds.
        rate: Maximum number of calls of one tool per window; 0 for no limit.
        quota: Maximum number of calls of one tool per episode; 0 for no limit.
    """

    transient: float = 0.0
    permanent: float = 0.0
    latency: int = 0
    window: int = 0
    rate: int = 0
    quota: int = 0


_PROFILES = (
    FaultProfile(),
    FaultProfile(transient=0.05, permanent=0.02, latency=300, window=60_000, rate=12, quota=40),
    FaultProfile(transient=0.2, permanent=0.1, latency=1_500, window=60_000, rate=5, quota=20),
)
FAULT_PROFILES = dict(zip(FAULT_LEVELS, _PROFILES, strict=True))

_TIMEOUT = 10_000  # milliseconds until a client stops waiting for a call
_TRANSIENT = (
    (Outcome.UNAVAILABLE, "503 Service Temporarily Unavailable: please try again."),
    (Outcome.UNAVAILABLE, "502 Bad Gateway: the upstream server reset the connection. Please try again."),
    (Outcome.TIMEOUT, "Request timed out: no answer within 10 seconds. Please try again."),
)


class FaultDraw(NamedTuple):
    """Faults drawn for one call.

    Attributes:
        state: State with step, clock and usage advanced; input of the resolvers.
        latency: Latency of the call in seconds of the virtual clock.
        failure: Injected answer, without a state; `None` when the resolvers answer the call.
    """

    state: EpisodeState
    latency: float = 0.0
    failure: ToolResponse | None = None


def draw_fault(state: EpisodeState, tool: str, api: str) -> FaultDraw:
    """Draw the faults of the episode's next call, which is to `api` of `tool` (standardised names)."""
    if state.faults == "none":
        # Not `replace`, which takes four times as long: every call comes here.
        return FaultDraw(
            EpisodeState(state.seed, "none", state.task, state.step + 1, state.clock, state.usage, state.changes)
        )
    profile = FAULT_PROFILES[state.faults]
    total, window_start, in_window = state.usage.get(tool, (0, state.clock, 0))
    if state.clock - window_start >= profile.window:
        window_start, in_window = state.clock, 0
    if profile.quota and total >= profile.quota:
        return _failed(state, 50, Outcome.QUOTA_EXCEEDED, f"You have exceeded your quota of {profile.quota} requests.")
    if profile.rate and in_window >= profile.rate:
        wait = window_start + profile.window - state.clock
        return _failed(
            state, wait, Outcome.RATE_LIMITED, f"429 Too Many Requests: retry after {-(-wait // 1000)} seconds."
        )
    state = replace(state, usage={**state.usage, tool: [total + 1, window_start, in_window + 1]})
    if is_down(state.seed, state.task, state.faults, tool, api):
        return _failed(state, 100, Outcome.UNAVAILABLE, "410 Gone: this API has been discontinued by its provider.")
    return _draw_transient(state, profile)


def is_down(seed: int, task: str, faults: str, tool: str, api: str) -> bool:
    """Return whether an API fails permanently in the episode of this seed and task."""
    if faults not in FAULT_PROFILES:
        raise ConfigurationError(f"faults: {faults!r} is not a fault level; use one of {', '.join(FAULT_PROFILES)}")
    return _draws(seed, task, f"{tool}/{api}")[0] < FAULT_PROFILES[faults].permanent * _SCALE


def _draw_transient(state: EpisodeState, profile: FaultProfile) -> FaultDraw:
    """Draw a transient failure or the latency of the answer. After a step that drew a failure, no failure is drawn."""
    bound = profile.transient * _SCALE
    chance, kind, delay = _draws(state.seed, state.task, f"{state.step}")
    if chance < bound and (state.step == 0 or _draws(state.seed, state.task, f"{state.step - 1}")[0] >= bound):
        outcome, message = _TRANSIENT[kind % len(_TRANSIENT)]
        return _failed(state, _TIMEOUT if outcome is Outcome.TIMEOUT else 200, outcome, message)
    latency = profile.latency // 2 + profile.latency * 3 * delay // (2 * _SCALE)
    return FaultDraw(replace(state, step=state.step + 1, clock=state.clock + latency), latency / 1000)


def _failed(state: EpisodeState, latency: int, outcome: Outcome, message: str) -> FaultDraw:
    failure = ToolResponse(encode_body(message, ""), outcome, Provenance.INJECTED, latency=latency / 1000)
    return FaultDraw(replace(state, step=state.step + 1, clock=state.clock + latency), latency / 1000, failure)


def _draws(seed: int, task: str, event: str) -> tuple[int, int, int]:
    """Return three independent 32-bit draws for one event of one episode."""
    digest = blake2b(f"{seed}\0{task}\0{event}".encode(), digest_size=12, person=b"steptool-faults").digest()
    return int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:8], "big"), int.from_bytes(digest[8:], "big")

"""Failures, latency and quotas that are injected on purpose, and the same every time.

Everything is drawn from BLAKE2b of the episode (its seed and task) and the step or the API, never from a clock or a
generator with a history. Time is virtual: a call advances the episode's clock by its latency and nobody waits.

* *Transient* failures are drawn per step and never hit two steps in a row, so a retry right away gets through.
* *Permanent* failures are drawn per API and last for the episode: another vendor must be used, if there is one.
* A *rate limit* answers 429 and lets the virtual clock run until the window is over, as a patient client would.
* A *quota* ends a tool for the rest of the episode after so many calls.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import NamedTuple

from toolserver.calls.episode_state import FAULT_LEVELS, EpisodeState
from toolserver.catalog.api_schema import Outcome, Provenance, ToolResponse, encode_body
from toolserver.errors import ConfigurationError

_SCALE = 2**32


@dataclass(frozen=True, slots=True)
class FaultLevel:
    """How rough the tools are.

    Attributes:
        transient: Probability that a step fails once (before the rule that two in a row are spared).
        permanent: Probability that an API is down for a whole episode.
        latency: Typical latency of a call in milliseconds; a call takes between half and twice of it.
        window: Length of a tool's rate-limit window in milliseconds.
        rate: Calls of one tool that are answered per window; 0 for no limit.
        quota: Calls of one tool that are answered per episode; 0 for no limit.
    """

    transient: float = 0.0
    permanent: float = 0.0
    latency: int = 0
    window: int = 0
    rate: int = 0
    quota: int = 0


LEVELS: dict[str, FaultLevel] = dict(
    zip(
        FAULT_LEVELS,
        (
            FaultLevel(),
            FaultLevel(transient=0.05, permanent=0.02, latency=300, window=60_000, rate=12, quota=40),
            FaultLevel(transient=0.2, permanent=0.1, latency=1_500, window=60_000, rate=5, quota=20),
        ),
        strict=True,
    )
)

_TIMEOUT = 10_000  # milliseconds that a client waits before it gives a call up
_TRANSIENT = (
    (Outcome.UNAVAILABLE, "503 Service Temporarily Unavailable: please try again."),
    (Outcome.UNAVAILABLE, "502 Bad Gateway: the upstream server reset the connection. Please try again."),
    (Outcome.TIMEOUT, "Request timed out: no answer within 10 seconds. Please try again."),
)


class Strike(NamedTuple):
    """What befalls one call: the episode's state after it, its latency, and the failure if there is one.

    Attributes:
        state: The state with step, clock and usage advanced; a resolver starts from it.
        latency: Seconds of the virtual clock.
        failure: The injected answer, without a state token; `None` when the call gets through.
    """

    state: EpisodeState
    latency: float = 0.0
    failure: ToolResponse | None = None


def draw_fault(state: EpisodeState, tool: str, api: str) -> Strike:
    """Draw what befalls the episode's next call, which is of `api` of `tool` (standardised names)."""
    if state.faults == "none":
        # Written out, because `replace` takes four times as long and this is in the path of every call.
        return Strike(
            EpisodeState(state.seed, "none", state.task, state.step + 1, state.clock, state.usage, state.delta)
        )
    level = LEVELS[state.faults]
    total, window_start, in_window = state.usage.get(tool, (0, state.clock, 0))
    if state.clock - window_start >= level.window:
        window_start, in_window = state.clock, 0
    if level.quota and total >= level.quota:
        return _failed(state, 50, Outcome.QUOTA_EXCEEDED, f"You have exceeded your quota of {level.quota} requests.")
    if level.rate and in_window >= level.rate:
        wait = window_start + level.window - state.clock
        return _failed(
            state, wait, Outcome.RATE_LIMITED, f"429 Too Many Requests: retry after {-(-wait // 1000)} seconds."
        )
    state = replace(state, usage={**state.usage, tool: [total + 1, window_start, in_window + 1]})
    if is_down(state.seed, state.task, state.faults, tool, api):
        return _failed(state, 100, Outcome.UNAVAILABLE, "410 Gone: this API has been discontinued by its provider.")
    return _chance(state, level)


def is_down(seed: int, task: str, faults: str, tool: str, api: str) -> bool:
    """Whether an API fails permanently in the episode named by seed and task."""
    if faults not in LEVELS:
        raise ConfigurationError(f"faults: {faults!r} is no fault level; use one of {', '.join(LEVELS)}")
    return _draws(seed, task, f"{tool}/{api}")[0] < LEVELS[faults].permanent * _SCALE


def _chance(state: EpisodeState, level: FaultLevel) -> Strike:
    """The step's own luck: a transient failure, or an answer after some latency."""
    luck, kind, delay = _draws(state.seed, state.task, f"{state.step}")
    if luck < level.transient * _SCALE and not _was_hit(state, level):
        outcome, message = _TRANSIENT[kind % len(_TRANSIENT)]
        return _failed(state, _TIMEOUT if outcome is Outcome.TIMEOUT else 200, outcome, message)
    latency = level.latency // 2 + level.latency * 3 * delay // (2 * _SCALE)
    return Strike(replace(state, step=state.step + 1, clock=state.clock + latency), latency / 1000)


def _was_hit(state: EpisodeState, level: FaultLevel) -> bool:
    """Whether the draw of the step before was a failure; then this step is spared."""
    return state.step > 0 and _draws(state.seed, state.task, f"{state.step - 1}")[0] < level.transient * _SCALE


def _failed(state: EpisodeState, latency: int, outcome: Outcome, message: str) -> Strike:
    failure = ToolResponse(encode_body(message, ""), outcome, Provenance.INJECTED, latency=latency / 1000)
    return Strike(replace(state, step=state.step + 1, clock=state.clock + latency), latency / 1000, failure)


def _draws(seed: int, task: str, what: str) -> tuple[int, int, int]:
    """Three independent 32-bit draws for one event of one episode."""
    digest = blake2b(f"{seed}\0{task}\0{what}".encode(), digest_size=12, person=b"steptool-faults").digest()
    return int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:8], "big"), int.from_bytes(digest[8:], "big")

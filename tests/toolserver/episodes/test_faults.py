"""Injected faults: the same for everybody, curable where they say so, and never passed off as the tools' own."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolserver.calls.episode_state import EpisodeState
from toolserver.catalog.api_schema import Outcome, Provenance
from toolserver.episodes.faults import FAULT_PROFILES, FaultDraw, draw_fault, is_down
from toolserver.episodes.state_token import StateCodec
from toolserver.errors import ConfigurationError

levels = st.sampled_from(["none", "mild", "harsh"])
seeds = st.integers(0, 2**62)
calls = st.lists(st.tuples(st.sampled_from(["stays", "rails"]), st.sampled_from(["find", "book"])), max_size=30)


def play(state: EpisodeState, sequence: list[tuple[str, str]]) -> list[FaultDraw]:
    draws = []
    for tool, api in sequence:
        draws.append(draw_fault(state, tool, api))
        state = draws[-1].state
    return draws


@given(seeds, levels, calls)
def test_an_episode_has_the_same_faults_on_any_replica(seed: int, faults: str, sequence: list[tuple[str, str]]) -> None:
    straight = play(EpisodeState(seed, faults, "t"), sequence)
    state, codec = EpisodeState(seed, faults, "t"), StateCodec()
    for (tool, api), expected in zip(sequence, straight, strict=True):
        draws = draw_fault(StateCodec().read(codec.write(state)), tool, api)
        assert draws == expected
        state = draws.state


@given(seeds, levels, calls)
def test_every_call_is_one_step_and_time_runs_forward(seed: int, faults: str, sequence: list[tuple[str, str]]) -> None:
    start = EpisodeState(seed, faults)
    draws = play(start, sequence)
    clocks = [start.clock, *(each.state.clock for each in draws)]
    assert [each.state.step for each in draws] == list(range(1, len(draws) + 1))
    assert [round(each.latency * 1000) for each in draws] == [b - a for a, b in pairwise(clocks)]
    assert min([0, *(each.latency for each in draws)]) >= 0


@given(seeds, calls)
def test_a_failure_says_that_it_was_injected_and_is_no_success(seed: int, sequence: list[tuple[str, str]]) -> None:
    for draws in play(EpisodeState(seed, "harsh"), sequence):
        if draws.failure is not None:
            assert draws.failure.provenance is Provenance.INJECTED
            assert draws.failure.outcome is not Outcome.OK
            assert draws.failure.error


@given(seeds, calls)
def test_without_faults_every_call_gets_through(seed: int, sequence: list[tuple[str, str]]) -> None:
    assert all(each.failure is None and each.latency == 0 for each in play(EpisodeState(seed), sequence))


@settings(max_examples=50)
@given(seeds)
def test_a_transient_failure_is_cured_by_one_retry(seed: int) -> None:
    draws = play(EpisodeState(seed, "harsh"), [(f"tool{i}", "x") for i in range(40)])
    curable = [i for i, each in enumerate(draws) if each.failure and "try again" in each.failure.error]
    assert not {i + 1 for i in curable} & set(curable)


def test_levels_differ_in_roughness() -> None:
    hits = {
        level: sum(
            each.failure is not None
            for seed in range(60)
            for each in play(EpisodeState(seed, level), [(f"tool{i}", "x") for i in range(20)])
        )
        for level in FAULT_PROFILES
    }
    assert hits["none"] == 0
    assert 1200 * 0.03 < hits["mild"] < 1200 * 0.12
    assert 1200 * 0.15 < hits["harsh"] < 1200 * 0.35


def test_an_unavailable_api_stays_unavailable_and_no_retry_helps() -> None:
    seed = next(seed for seed in range(1000) if is_down(seed, "", "harsh", "stays", "find"))
    outcomes = [each.failure for each in play(EpisodeState(seed, "harsh"), [("stays", "find")] * 4)]
    assert all(failure is not None and "discontinued" in failure.error for failure in outcomes)


def test_after_a_rate_limit_the_next_call_gets_through() -> None:
    seed = next(s for s in range(1000) if not is_down(s, "", "harsh", "stays", "find"))
    draws = play(EpisodeState(seed, "harsh"), [("stays", "find")] * 12)
    limited = [i for i, each in enumerate(draws) if each.failure and each.failure.outcome is Outcome.RATE_LIMITED]
    assert limited
    assert all(
        draws[i + 1].failure is None or draws[i + 1].failure.outcome is not Outcome.RATE_LIMITED for i in limited[:1]
    )


def test_a_quota_affects_one_tool_only() -> None:
    quota = FAULT_PROFILES["harsh"].quota
    state = replace(EpisodeState(3, "harsh"), usage={"stays": [quota, 0, 0]})
    ended = draw_fault(state, "stays", "find").failure
    assert ended is not None
    assert ended.outcome is Outcome.QUOTA_EXCEEDED
    other = draw_fault(state, "rails", "find").failure
    assert other is None or other.outcome is not Outcome.QUOTA_EXCEEDED


def test_an_unknown_level_lists_the_valid_ones() -> None:
    with pytest.raises(ConfigurationError, match="none, mild, harsh"):
        is_down(0, "", "extreme", "a", "b")

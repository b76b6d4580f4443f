"""The loop of concurrent episodes: its schedule shows in no result."""

import time
from collections.abc import Mapping

import pytest

from agents.models.bundle import PolicyBundle
from agents.rollout.collector import EpisodeSpec, collect_rollouts
from agents.rollout.config import Sampling
from agents.rollout.engine import act
from agents.rollout.policy_agent import make_sampler
from agents.rollout.sampler import TokenSampler
from agents.rollout.static_sampler import StaticTokenSampler
from steptool_env.episodes.episode import Transition
from tests.agents.bandit import bandits, exact_bundle

STARTS = [EpisodeSpec(seed // 3, seed // 3) for seed in range(18)]
SAMPLING = Sampling(max_action_tokens=5)


def reference(made: PolicyBundle) -> list[tuple[int, ...]]:
    """Tokens of each episode, played alone in slot 0, one action after the other."""
    pool, sampler = bandits(1), make_sampler(made, SAMPLING)
    played = []
    for number, spec in enumerate(STARTS):
        text, info = pool.reset(0, spec.seed)
        ids = made.codec.encode_prompt(text, info)
        sampler.start(0, ids, f"{spec.seed}/{number % 3}")
        over = False
        while not over:
            (sampled,) = act(sampler, [0])
            ids = ids + sampled.ids
            (last,) = pool.step({0: made.codec.decode_action(sampled.ids)})
            over = last.terminated
            if not over:
                answer = [] if sampled.stopped else [made.codec.stop_id]
                answer += made.codec.encode_observation(last.observation, "")
                sampler.append(0, answer)
                ids = ids + answer
        played.append(tuple(ids))
    return played


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("slots", [1, 4, 18])
@pytest.mark.parametrize("kind", [TokenSampler, StaticTokenSampler])
def test_episodes_are_those_of_one_after_the_other(kind: type[TokenSampler], slots: int, waits: bool) -> None:
    """Also where steps of the environment are taken in a thread while others are decoded."""
    made, pool = exact_bundle(), bandits(slots)
    pool.waits = waits  # type: ignore[misc]
    engine = kind(made.policy, context=64, stop_id=made.codec.stop_id, sampling=SAMPLING)
    rollout = collect_rollouts(pool, engine, made.codec, STARTS)
    assert [episode.ids for episode in rollout.episodes] == reference(made)
    assert rollout.calls == 36
    assert len({end - start for episode in rollout.episodes for start, end in episode.spans}) > 3
    assert rollout.sample_seconds > 0 < rollout.env_seconds


def test_an_error_of_a_step_that_is_taken_in_a_thread_ends_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    made, pool = exact_bundle(), bandits(4)
    pool.waits = True  # type: ignore[misc]

    def broken(actions: object) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(pool, "step", broken)
    with pytest.raises(ValueError, match="broken"):
        collect_rollouts(pool, make_sampler(made, SAMPLING), made.codec, STARTS)


def test_the_batches_do_not_depend_on_the_time_of_a_response(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal runs decode equal batches, so their log-probabilities have equal rounding."""

    def batches(seconds: float) -> list[list[int]]:
        """Slots of each decoding step and of each round of steps."""
        made, pool = exact_bundle(), bandits(9)
        pool.waits = True  # type: ignore[misc]
        sampler, step, seen = make_sampler(made, SAMPLING), pool.step, []
        request = sampler.request

        def slow(actions: Mapping[int, str]) -> list[Transition]:
            time.sleep(seconds)
            return step(actions)

        def recorded(slots: list[int]) -> None:
            seen.append(sorted(slots))
            request(slots)

        monkeypatch.setattr(pool, "step", slow)
        monkeypatch.setattr(sampler, "request", recorded)
        collect_rollouts(pool, sampler, made.codec, STARTS)
        return seen

    assert batches(0.0) == batches(0.02)

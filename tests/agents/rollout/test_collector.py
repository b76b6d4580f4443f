"""Rollouts: what was sampled is what is trained on, whatever happens around it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import pytest
import torch

from agents.errors import ModelError
from agents.models.bundle import PolicyBundle
from agents.rollout.collector import EpisodeSpec, Rollout, collect_rollouts
from agents.rollout.config import Sampling
from agents.rollout.episode_pool import BatchedPool, EpisodePool, SeparatePool
from agents.rollout.policy_agent import make_sampler
from agents.rollout.types import TokenEpisode
from agents.training.archer.replay_buffer import replay_steps
from agents.training.batch import collate
from agents.training.forward import evaluate_actions, final_values
from steptool_env.env import ToolEnv
from steptool_env.spaces import UnicodeText
from tests.agents.bandit import RIGHT, ToolBandit, bandits, bundle, exact_bundle
from tests.steptool_env.toys import ToySuite, toy_config


def collected(
    pool: EpisodePool,
    made: PolicyBundle,
    specs: Sequence[EpisodeSpec],
    context: int = 64,
    max_action_tokens: int = 2,
) -> Rollout:
    sampler = make_sampler(replace(made, context=context), Sampling(max_action_tokens))
    return collect_rollouts(pool, sampler, made.codec, specs)


def text_of(made: PolicyBundle, episode: TokenEpisode) -> list[str]:
    return [made.codec.decode_action(episode.ids[start:end]).strip() for start, end in episode.spans]


@pytest.mark.parametrize("slots", [1, 3, 8, 20])
def test_each_start_gives_its_episode_in_order_with_any_number_of_slots(slots: int) -> None:
    made = bundle("none")
    starts = [EpisodeSpec(seed, seed % 5) for seed in range(13)]
    rollout = collected(bandits(slots), made, starts)
    assert [e.group for e in rollout.episodes] == [s.group for s in starts]
    assert rollout.calls == 26
    for start, episode in zip(starts, rollout.episodes, strict=True):
        case, _ = ToolBandit().reset(seed=start.seed)
        assert made.codec.encode_prompt(case, {}) == list(episode.ids[: episode.spans[0][0]])
        actions = text_of(made, episode)
        assert episode.rewards == tuple(0.5 * (a == r) for a, r in zip(actions, RIGHT[case], strict=True))
        assert episode.metrics["is_solved"] == float(sum(episode.rewards) == 1)


def test_the_first_update_starts_at_ratio_one() -> None:
    made = bundle("none")
    rollout = collected(bandits(8), made, [EpisodeSpec(seed) for seed in range(20)])
    batch = collate(rollout.episodes, 0)
    ratio = (evaluate_actions(made.policy, batch, "log_prob", 1000) - batch.old_log_prob)[batch.mask].exp()
    torch.testing.assert_close(ratio, torch.ones_like(ratio), atol=1e-5, rtol=0)


def test_equal_seeds_of_a_group_begin_equally() -> None:
    rollout = collected(bandits(4), bundle("none"), [EpisodeSpec(3, 0)] * 6)
    assert len({e.ids[: e.spans[0][0]] for e in rollout.episodes}) == 1
    assert len({e.state_hashes[0] for e in rollout.episodes}) == 1
    assert len({e.state_hashes[1] for e in rollout.episodes}) == 2  # "ok" and "no"


def test_a_cut_action_is_closed_by_a_token_that_is_not_trained() -> None:
    made = bundle("none")
    rollout = collected(bandits(4), made, [EpisodeSpec(seed) for seed in range(4)], max_action_tokens=1)
    for episode in rollout.episodes:
        (first, end), _ = episode.spans
        assert end - first == 1
        assert episode.ids[end] == made.codec.stop_id


class SeededEnv(gym.Env[str, str]):
    """Ends in hindsight, loses its server, or talks too much, as its seed says."""

    def __init__(self) -> None:
        self.observation_space = self.action_space = UnicodeText(1000)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self._kind, self._steps = {1: "hindsight", 2: "lost", 3: "long", 4: "interrupted"}.get(seed or 0, "idle"), 0
        return "x", {"task_id": str(seed)}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        if self._kind == "hindsight" and self._steps == 2:
            return "ok", 0.0, True, False, {"status": 3, "step_rewards": (0.25, 0.75), "outcome": {"is_solved": 1.0}}
        if self._kind == "lost" and self._steps == 2:
            return "no", 0.0, False, True, {"status": 12, "transport_error": "the server is away"}
        if self._kind == "interrupted" and self._steps == 2:
            return "ok " * 60, 0.1, False, True, {"status": 0}
        return "ok " * (10 if self._kind == "long" else 1), 0.1, False, False, {"status": 0}


def pool_of(slots: int) -> SeparatePool:
    return SeparatePool([SeededEnv() for _ in range(slots)])


def test_hindsight_rewards_replace_those_given_on_the_way() -> None:
    (episode,) = collected(pool_of(2), bundle("none"), [EpisodeSpec(1)]).episodes
    assert episode.rewards == (0.25, 0.75)
    assert episode.end == "terminated"


def test_an_episode_whose_server_went_away_is_dropped_and_counted() -> None:
    rollout = collected(pool_of(2), bundle("none"), [EpisodeSpec(2), EpisodeSpec(1), EpisodeSpec(2), EpisodeSpec(1)])
    assert rollout.dropped == 2
    assert [e.rewards for e in rollout.episodes] == [(0.25, 0.75)] * 2


def test_the_end_of_the_call_budget_is_a_termination_without_a_value_after_it() -> None:
    made = bundle("separate")
    pool = BatchedPool(ToolEnv(ToySuite(), toy_config(call_budget=2, prompt="compact")), 2)
    (episode,) = collected(pool, made, [EpisodeSpec(0)], context=400).episodes
    assert (episode.end, len(episode.rewards)) == ("terminated", 2)
    assert episode.metrics["finished"] == 0.0
    assert len(episode.ids) == episode.spans[-1][1]  # nothing follows the last action
    assert final_values(made.policy, collate([episode], 0), 1000).tolist() == [0.0]
    assert replay_steps([episode], [episode.rewards])[-1].next_end == 0


def test_finish_is_distinguished_from_the_end_of_the_budget() -> None:
    (episode,) = collected(pool_of(1), bundle("none"), [EpisodeSpec(1)]).episodes
    assert episode.metrics["finished"] == 1.0


def test_a_full_context_ends_the_episode_with_its_last_action() -> None:
    rollout = collected(pool_of(1), bundle("none"), [EpisodeSpec(3)], context=40)
    (episode,) = rollout.episodes
    assert episode.end == "context"
    assert episode.ids[episode.spans[-1][1] :] == ()
    assert len(episode.ids) <= 40
    assert len(episode.rewards) == len(episode.spans) > 1
    assert episode.rewards == (0.1,) * len(episode.spans)
    assert rollout.calls == len(episode.spans)  # nothing is played after the end
    assert rollout.metrics()["rollout/context_full"] == 1


@pytest.mark.parametrize("seed", [3, 4], ids=["full", "full and interrupted"])
def test_an_episode_that_filled_the_context_fits_a_model_with_learnt_positions(seed: int) -> None:
    made = exact_bundle(critic="shared")
    (episode,) = collected(pool_of(1), made, [EpisodeSpec(seed)], context=64).episodes
    assert episode.end == "context"
    batch = collate([episode], 0, dtype=torch.float64)
    assert evaluate_actions(made.policy, batch, "log_prob", 1000).isfinite().all()
    assert final_values(made.policy, batch, 1000).tolist() == [0.0]
    assert replay_steps([episode], [episode.rewards])[-1].next_end == 0


def test_an_interruption_that_fits_the_context_is_one() -> None:
    (episode,) = collected(pool_of(1), bundle("none"), [EpisodeSpec(4)], context=100).episodes
    assert episode.end == "truncated"
    assert len(episode.ids) > episode.spans[-1][1]


@pytest.mark.parametrize("together", [True, False])
def test_hindsight_rewards_of_what_was_done_survive_a_full_context(together: bool) -> None:
    rules = toy_config(call_budget=50, prompt="compact")
    envs = [ToolEnv(ToySuite(), rules) for _ in range(2)]
    pool = BatchedPool(envs[0], 2) if together else SeparatePool([*envs])
    rollout = collected(pool, bundle("none"), [EpisodeSpec(seed) for seed in range(4)], context=400)
    for episode in rollout.episodes:
        assert episode.end == "context"
        assert 1 < len(episode.rewards) < 50
        assert episode.rewards == tuple(map(float, range(len(episode.rewards))))  # on the way no step was paid
        assert episode.metrics["is_solved"] == episode.metrics["finished"] == 0


def test_a_prompt_longer_than_the_context_is_a_clear_error() -> None:
    with pytest.raises(ModelError, match="a prompt of 2 tokens leaves no room"):
        collected(bandits(1), bundle("none"), [EpisodeSpec(0)], context=2)

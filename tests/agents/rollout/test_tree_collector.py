"""Trees of episodes: branches leave the episode untouched, start in its state, and are charged."""

import json
from typing import Any, cast

import pytest

from agents.models.bundle import load_policy
from agents.rollout.collector import EpisodeSpec, Rollout, collect_rollouts
from agents.rollout.config import EnvConfig, RolloutConfig, Sampling
from agents.rollout.engine import act, make_engine
from agents.rollout.episode_pool import BatchedPool, open_pool
from agents.rollout.policy_agent import in_double
from agents.rollout.tree_collector import TreePlan, collect_trees

TASKS: dict[str, Any] = {"split": "train", "level": "lite", "depths": {"3": 1.0}, "unsolvable": 0.0, "tools": 14}
SPECS = [EpisodeSpec(group, group) for group in range(3) for _ in range(2)]
PLAN = TreePlan(2, (1, 3))


def collect(slots: int, plan: TreePlan | None) -> Rollout:
    """In double precision: in single precision, the rounding of a logit depends on the number of rows of a batch."""
    policy = in_double(load_policy("nano-sft"))
    engine = make_engine(RolloutConfig(), policy, Sampling(max_action_tokens=64))
    engine.seed(5)
    pool = open_pool(EnvConfig(args=TASKS, num_envs=slots))
    parts = pool, engine, policy.codec, SPECS
    return collect_rollouts(*parts) if plan is None else collect_trees(*parts, plan)


@pytest.fixture(scope="module")
def trees() -> Rollout:
    return collect(24, PLAN)


def test_branches_do_not_change_the_episodes_that_they_leave(trees: Rollout) -> None:
    whole = [episode for episode in trees.episodes if not episode.is_branch]
    alone = collect(6, None).episodes
    assert [(e.ids, e.spans, e.rewards, e.state_hashes) for e in whole] == [
        (e.ids, e.spans, e.rewards, e.state_hashes) for e in alone
    ]
    assert [episode.lineage for episode in whole] == [(0,), (1,)] * 3
    assert trees.metrics()["rollout/calls"] == sum(len(e.spans) for e in alone) / len(alone)


def test_every_planned_branch_starts_in_the_state_of_its_episode_and_is_charged(trees: Rollout) -> None:
    rows = {(episode.group, episode.lineage): episode for episode in trees.episodes}
    planned = {
        (group, (*place, call, n))
        for (group, place), episode in rows.items()
        if len(place) == 1
        for call in PLAN.before
        for n in range(PLAN.branches)
        if len(episode.spans) > call
    }
    assert planned == {key for key, episode in rows.items() if episode.is_branch}
    assert len(planned) >= 10
    assert trees.calls == sum(len(episode.spans) for episode in trees.episodes)
    for group, place in planned:
        branch, left, call = rows[group, place], rows[group, place[:-2]], place[-2]
        begin = left.spans[call][0]
        assert branch.ids[:begin] == left.ids[:begin]
        assert branch.spans[0][0] == begin
        assert branch.state_hashes[0] == left.state_hashes[call]
        assert len(branch.rewards) == len(branch.spans)
    assert any(
        rows[key].ids[rows[key].spans[0][0] :] != rows[key[0], key[1][:-2]].ids[rows[key].spans[0][0] :]
        for key in planned
    )


@pytest.mark.parametrize("slots", [PLAN.slots, 2 * PLAN.slots + 1])
def test_a_tree_does_not_depend_on_the_number_of_slots(slots: int, trees: Rollout) -> None:
    again = collect(slots, PLAN)
    assert [(e.ids, e.lineage, e.rewards) for e in again.episodes] == [
        (e.ids, e.lineage, e.rewards) for e in trees.episodes
    ]


def test_a_fork_leaves_the_state_and_the_cache_of_its_source_as_they_were() -> None:
    """Byte by byte the environment's; of the engine the action that the source samples next."""
    policy = load_policy("nano-sft")
    next_actions = []
    for forked in (False, True):
        engine = make_engine(RolloutConfig(), policy, Sampling(max_action_tokens=64))
        pool = cast(BatchedPool, open_pool(EnvConfig(args=TASKS, num_envs=2)))
        text, info = pool.reset(0, 0)
        engine.start(0, policy.codec.encode_prompt(text, info), "source")
        (action,) = act(engine, [0])
        (transition,) = pool.step({0: policy.codec.decode_action(action.ids)})
        engine.append(0, policy.codec.encode_observation(transition.observation))
        before = json.dumps(pool._source.record(pool._episodes[0])).encode()
        if forked:
            pool.fork(0, 1)
            engine.fork(0, 1, "branch")
            (other,) = act(engine, [1])
            pool.step({1: policy.codec.decode_action(other.ids)})
            engine.free(1)
        assert json.dumps(pool._source.record(pool._episodes[0])).encode() == before
        next_actions.append(act(engine, [0]))
    assert next_actions[0] == next_actions[1]

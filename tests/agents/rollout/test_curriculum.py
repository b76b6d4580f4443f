"""The curriculum: which depths are drawn, when the next one joins, and the same draws after a resumption."""

from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest

from agents.errors import ConfigurationError
from agents.rollout.config import EnvConfig
from agents.rollout.curriculum import CurriculumPool, open_training_pool
from agents.rollout.episode_pool import BatchedPool
from agents.training.config import make_config
from agents.training.trainer import OnlineTrainer
from steptool_env.toolworld.suite import world_task_of
from tests.agents.bandit import assert_same_weights, bandit_config, bandits, bundle, weights

TASKS: dict[str, Any] = {"split": "train", "level": "lite", "depths": {"3": 1, "1": 2, "2": 1}, "unsolvable": 0.0}


def toolworld() -> CurriculumPool:
    return cast(CurriculumPool, open_training_pool(EnvConfig(args=TASKS, num_envs=4, curriculum=0.5)))


def test_a_stage_draws_the_smallest_depths_in_their_proportions() -> None:
    pool = toolworld()
    for stage, shares in enumerate([{1: 1.0}, {1: 2 / 3, 2: 1 / 3}, {1: 0.5, 2: 0.25, 3: 0.25}]):
        pool.stage = stage
        counts = Counter(pool.depth_of(seed) for seed in range(3000))
        assert {depth: count / 3000 for depth, count in counts.items()} == pytest.approx(shares, abs=0.04)
    for seed in range(6):
        pool.reset(seed % 4, seed)
        depth = pool.depth_of(seed)
        task = cast(BatchedPool, pool._pools[depth])._episodes[seed % 4].task
        assert len(world_task_of(task).needed) == depth


def test_a_depth_of_weight_0_is_no_stage() -> None:
    args = {**TASKS, "depths": {"1": 0, "2": 1, "3": 0, "4": 1}}
    pool = cast(CurriculumPool, open_training_pool(EnvConfig(args=args, num_envs=1, curriculum=0.5)))
    assert pool.drawn == [2]
    pool.stage = pool.next_stage([(seed, 1.0) for seed in range(4)], 0.5)
    assert pool.drawn == [2, 4]


def test_slots_of_different_depths_step_and_fork_together() -> None:
    pool = toolworld()
    pool.stage = 2
    depths = [pool.depth_of(seed) for seed in range(4)]
    for slot in range(4):
        pool.reset(slot, slot)
    assert len(set(depths)) > 1
    pool.fork(0, 3)
    found = pool.step(dict.fromkeys((3, 1, 0), "nothing"))
    assert found[0] == found[2]
    assert [each.info["status"] for each in found] == [found[0].info["status"]] * 3
    assert pool.truncate(3)["outcome"]["is_solved"] == 0


@pytest.mark.parametrize(("solved", "stage"), [(0.4, 0), (0.5, 1), (1.0, 1)])
def test_the_next_depth_joins_when_the_deepest_is_solved(solved: float, stage: int) -> None:
    pool = toolworld()
    assert pool.next_stage([(seed, solved) for seed in range(8)], 0.5) == stage
    assert pool.next_stage([], 0.5) == 0
    pool.stage = 2
    assert pool.next_stage([(seed, 1.0) for seed in range(8)], 0.5) == 2  # there is no other


def test_only_the_deepest_tasks_count() -> None:
    pool = toolworld()
    pool.stage = 1
    results = [(seed, float(pool.depth_of(seed) == 1)) for seed in range(30)]
    assert pool.next_stage(results, 0.5) == 1
    assert pool.next_stage([(seed, 1 - each) for seed, each in results], 0.5) == 2


def bandit_run() -> OnlineTrainer:
    """The second depth is the same bandit with one case only."""
    pool = CurriculumPool({1: bandits(), 2: bandits(cases="x")}, {1: 1.0, 2: 1.0})
    config = bandit_config(episodes=16, env={"curriculum": 0.05})
    return OnlineTrainer(config, bundle(config.policy.critic), pool)


def test_a_resumed_run_goes_on_at_its_stage_with_the_same_tasks(tmp_path: Path) -> None:
    whole, parts, again = bandit_run(), bandit_run(), bandit_run()
    depths = [whole.iterate()["rollout/depth"] for _ in range(5)]
    assert depths[0] == 1
    assert depths[-1] == 2
    for _ in range(depths.index(2)):
        parts.iterate()
    parts.save(tmp_path / "checkpoint")
    assert parts.counters.stage == 1
    again.resume(tmp_path / "checkpoint")
    while again.counters.iteration < 5:
        again.iterate()
    assert again.counters == whole.counters
    assert_same_weights(again, weights(whole))


@pytest.mark.parametrize("depths", [{"3": 1, "4": 0}, {"3": "a", "4": 1}, {"x": 1, "4": 1}, {"3": -1, "4": 1}])
def test_a_curriculum_needs_weights_above_0(depths: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"several depths in env.args with weights above 0.* depths=\{'"):
        open_training_pool(EnvConfig(args={"split": "train", "depths": depths}, curriculum=0.5))


def test_a_curriculum_needs_depths() -> None:
    with pytest.raises(ConfigurationError, match=r"env.curriculum=0.5 needs several depths in env.args"):
        open_training_pool(EnvConfig(args={"split": "train"}, curriculum=0.5))
    with pytest.raises(ConfigurationError, match=r"env.curriculum=-1.0 must be 0 or more"):
        make_config({"env": {"curriculum": -1}})

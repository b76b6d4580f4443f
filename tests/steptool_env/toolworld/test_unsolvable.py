"""Unsolvable tasks: giving up is right once the obstacle is visible, and no offered API replaces the blocked call."""

import gymnasium as gym
import pytest

import steptool_env  # noqa: F401 - registers the environments
from steptool_env.rewards import make_reward
from steptool_env.rewards.graded import grade_episode
from steptool_env.toolworld import Obstacle
from steptool_env.types import Task
from tests.steptool_env.toolworld.reachability import columns_read, revealed, wanted
from tests.toolserver.world.worlds import LEVELS, Play, rewards, solve, suite, tasks
from toolserver.catalog.api_schema import StatusCode
from toolserver.world.samples import sample_arguments
from toolserver.world.schema import OperationKind
from toolserver.world.vendors import Health

REWARDS = (make_reward("progress"), make_reward("potential"), make_reward("final", judge="world"))


def unsolvable(obstacle: Obstacle, level: str = "lite", count: int = 200) -> list[Task]:
    found = (suite("unsolvable", level).task(index) for index in range(count))
    return [task for task in found if task.solution.obstacle is obstacle]


def test_giving_up_at_once_is_right_exactly_where_the_offer_shows_the_obstacle() -> None:
    env = gym.make("StepTool/ToolWorld-v0", split="unsolvable", disable_env_checker=True)
    solved = {obstacle: set[float]() for obstacle in Obstacle}
    for index, task in enumerate(tasks("unsolvable", count=60)):
        env.reset(seed=index, options={"task": index})
        *_, info = env.step('Action: Finish\nAction Input: {"return_type": "give_up_and_restart"}')
        solved[task.obstacle].add(info["outcome"]["is_solved"])
    expected = {Obstacle.NONE: set(), Obstacle.MISSING: {1.0}, Obstacle.BROKEN: {0.0}, Obstacle.UNKNOWN: {0.0}}
    assert solved == expected


@pytest.mark.parametrize("level", LEVELS)
def test_giving_up_at_once_is_the_perfect_episode_of_a_missing_tool(level: str) -> None:
    found = unsolvable(Obstacle.MISSING, level, 60)
    assert found
    for task in found:
        assert task.relevant == ()
        steps = solve(task)
        assert len(steps) == 1
        assert all(rewards(reward, task, steps) == [1.0] for reward in REWARDS)
        assert rewards(make_reward("steptool", judge="world"), task, steps)[-1] == 1.0


def test_needless_calls_before_giving_up_cost_and_shape_nothing() -> None:
    for task in unsolvable(Obstacle.MISSING, count=60)[:10]:
        play = Play(task)
        play.junk()
        steps = play.finish(None)
        assert sum(rewards(make_reward("progress"), task, steps)) == pytest.approx(0.98)
        assert rewards(make_reward("potential"), task, steps) == [0.0, 1.0]


def test_a_broken_tool_must_be_called_before_giving_up_and_need_not_be_called_well() -> None:
    for task in unsolvable(Obstacle.BROKEN)[:20]:
        gold = task.solution
        play, other = Play(task), Play(task)
        play.call(gold.toolset.bound[gold.blocked], {})
        assert sum(rewards(make_reward("final", judge="world"), task, play.finish(None))) == 1.0
        kept = [api for api in gold.toolset.apis if api is not gold.toolset.bound[gold.blocked]]
        other.call(kept[0], {})
        assert sum(rewards(make_reward("final", judge="world"), task, other.finish(None))) == 0.0


def test_what_does_not_exist_must_be_looked_for_before_giving_up() -> None:
    for task in unsolvable(Obstacle.UNKNOWN)[:20]:
        gold, world = task.solution, task.solution.columns.world
        (named,) = gold.plan.arguments(gold.blocked).values()
        assert world.tables_named(named) == ()
        play = Play(task)
        api = gold.toolset.bound[gold.blocked]
        entity = gold.plan.results[gold.blocked].operation.subject
        play.call(api, api.encode_arguments({next(iter(api.operation.inputs)): world.table(entity).names[0]}))
        assert sum(rewards(make_reward("final", judge="world"), task, play.finish(None))) == 0.0


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("obstacle", [Obstacle.MISSING, Obstacle.BROKEN])
def test_nothing_offered_tells_in_another_way_what_the_obstacle_hides(obstacle: Obstacle, level: str) -> None:
    for task in unsolvable(obstacle, level):
        gold = task.solution
        operation = gold.plan.results[gold.blocked].operation
        same = [api for api in gold.toolset.apis if api.operation is operation]
        assert same == ([] if obstacle is Obstacle.MISSING else [gold.toolset.bound[gold.blocked]])
        assert operation.kind not in (OperationKind.COMPUTE, OperationKind.SEARCH)  # both have substitutes
        if not operation.kind.writes:
            assert not wanted(gold) <= revealed(gold), (task.id, task.query, sorted(wanted(gold)))


def test_the_check_knows_that_a_total_or_a_filter_tells_a_column() -> None:
    assert "hotel.price" in columns_read("standard", "hotel.book")
    assert "hotel.price" in columns_read("standard", "hotel.average_price_by_city")
    assert "hotel.price" in columns_read("standard", "hotel.list")
    assert "company.share_price" in columns_read("lite", "company.position_value")
    assert "hotel.price" not in columns_read("lite", "hotel.by_city")


def test_giving_up_is_wrong_after_a_change_of_state_that_nobody_wanted() -> None:
    found = 0
    for task in unsolvable(Obstacle.MISSING, "standard"):
        gold, world = task.solution, task.solution.columns.world
        sales = [api for api in gold.toolset.apis if api.operation.kind is OperationKind.CREATE and not api.needs_token]
        for api in [each for each in sales if each.health is Health.OK]:
            play = Play(task)
            if play.call(api, api.encode_arguments(sample_arguments(api, world))).status is StatusCode.OK:
                found += 1
                assert grade_episode(play.task, play.finish(None)).solved is False
    assert found > 5

"""The draws of an episode follow from its task, not from the episodes beside it."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from agents.baselines.random import RandomAgent
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.evaluation.policy_evaluation import PolicyEvaluation, evaluation_of
from agents.evaluation.results import panel_of
from agents.models.bundle import load_policy
from agents.models.draws import inverse
from agents.rollout.collector import EpisodeSpec, collect_rollouts
from agents.rollout.config import EnvConfig, Sampling
from agents.rollout.policy_agent import EngineAgent, make_sampler, policy_agent
from agents.rollout.sampler import TokenSampler
from tests.agents.bandit import bandits, bundle

_GRID = [i / 1000 for i in range(1000)]
TASKS: Mapping[str, Any] = {"split": "depth-1", "level": "lite"}


def played(slots: int, seed: int = 0, episodes: int = 12) -> list[list[str]]:
    """Return the texts of a sampled policy's actions by episode."""
    agent = policy_agent(load_policy("nano-sft"), Sampling(48), seed=seed)
    episodes_of = evaluate(Evaluation("StepTool/ToolWorld-v0", TASKS, episodes, slots), agent)
    return [[step.action.text for step in trajectory.steps] for trajectory in episodes_of]


def test_a_sampled_evaluation_gives_the_same_episodes_for_every_number_of_slots() -> None:
    alone = played(1)
    assert played(4) == alone
    assert played(12) == alone
    assert played(5, episodes=5) == alone[:5]
    assert played(5, episodes=5, seed=1) != alone[:5]


def test_a_task_that_is_played_again_draws_the_same_numbers_unless_its_stream_differs() -> None:
    """As in `pass_at_k`, whose tries of one task are played side by side."""
    made, evaluation = load_policy("nano-sft"), Evaluation("StepTool/ToolWorld-v0", TASKS, 3, 12)
    tries = [task for task in range(3) for _ in range(4)]

    def texts(agent: EngineAgent) -> list[tuple[str, ...]]:
        return [tuple(s.action.text for s in each.steps) for each in evaluate(evaluation, agent, tasks=tries)]

    again = texts(policy_agent(made, Sampling(48), temperature=3.0))
    assert all(len(set(again[first : first + 4])) == 1 for first in (0, 4, 8))
    names = (str(number) for number in range(12))
    apart = texts(
        EngineAgent(make_sampler(made, Sampling(48), temperature=3.0), made.codec, stream=lambda _: next(names))
    )
    assert all(len(set(apart[first : first + 4])) == 4 for first in (0, 4, 8))


@pytest.mark.parametrize("num_envs", [1, 3, 16])
def test_a_rollout_does_not_depend_on_how_its_episodes_are_batched(num_envs: int) -> None:
    """Members of a group, which begin in the same state, draw differently."""
    made = bundle("none")
    starts = [EpisodeSpec(seed // 4, seed // 4) for seed in range(24)]

    def collected(count: int) -> list[tuple[int, ...]]:
        sampler = TokenSampler(made.policy, context=64, stop_id=2, sampling=Sampling(max_action_tokens=2), seed=5)
        return [e.ids for e in collect_rollouts(bandits(count), sampler, made.codec, starts).episodes]

    want = collected(8)
    assert collected(num_envs) == want
    assert all(len(set(want[first : first + 4])) > 1 for first in range(0, 24, 4))


def test_an_inverse_takes_every_token_as_often_as_its_weight_and_none_of_weight_zero() -> None:
    weights = torch.tensor([[0.0, 0.25, 0.0, 0.5, 0.25, 0.0]])
    last = 1 - 2.0**-53  # the greatest that a generator gives
    drawn = [int(inverse(weights, torch.tensor([uniform], dtype=torch.float64))) for uniform in (*_GRID, last)]
    assert [drawn.count(token) for token in range(6)] == [0, 250, 0, 500, 251, 0]


def test_a_learning_curve_has_the_panel_of_its_tasks() -> None:
    """The first tasks of its split, whatever the number of slots and the seed."""
    made = bundle("none")
    panels = []
    for count, episodes, seed in ((2, 4, 0), (3, 4, 1), (2, 5, 0)):
        env = EnvConfig(num_envs=count, args={"split": "train"}, eval_args={"split": "depth-1"})
        panels.append(PolicyEvaluation(evaluation_of(env, env.eval_args, episodes, seed), made, Sampling()).panel)
    assert panels[0] == panels[1] != panels[2]
    assert panels[0] == panel_of(evaluate(Evaluation("StepTool/ToolWorld-v0", TASKS, 4), RandomAgent()))

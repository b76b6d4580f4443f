"""Step credit in TRL: a `GRPOTrainer` in which each turn has the advantage of its own calls.

Notation: b rollouts, t completion tokens, k turns.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor
from trl import GRPOTrainer

from agents.errors import ConfigurationError
from agents.integrations.turns import rewards_of_turns, turns
from agents.training.advantages import broadcast_to_tokens, step_grpo
from agents.training.batch import pad_rows
from steptool_env.integrations.trl import Environments, final_rewards

Estimator = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Function from the rewards of turns (b, k), the numbers of turns (b,) and the groups (b,) to advantages (b, k), such
as `rloo` of `agents.training.advantages`."""
STEP_GRPO: Estimator = partial(step_grpo, gamma=1.0)
"""Rewards to go, normalised over all turns of a group."""


class StepGRPOTrainer(GRPOTrainer):  # type: ignore[misc]
    """`GRPOTrainer` with an advantage per turn, computed from the rewards in hindsight of the turn's calls.

    TRL sums the rewards of an episode and gives all of its tokens one advantage. Here the tokens of a turn have the
    advantage of that turn. Turns after the end of the episode are not trained: the environment has not seen them. A
    rollout whose tools were unreachable has no advantage and is in no baseline. TRL's rewards are logged as before;
    `scale_rewards` has no effect.

    Args:
        args: Arguments of `GRPOTrainer`; `environment_factory` is the value of `toolworld_environment`.
        estimator: Estimator of the advantages of turns.
        kwargs: The same.

    Raises:
        ConfigurationError: `environment_factory` is another one.
    """

    def __init__(self, *args: Any, estimator: Estimator = STEP_GRPO, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        factories = self.environment_factories or {}
        if not isinstance(factories, Environments) or self.rollout_func is not None:
            raise ConfigurationError(
                "environment_factory: must be the value of steptool_env.integrations.trl.toolworld_environment(...), "
                "and rollout_func must be left out: step credit needs the rewards of calls"
            )
        self._estimator = estimator
        self._calls: list[list[int]] = []  # number of calls that each rollout has made before each round of generation

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        self._calls.append(self._made())
        return super()._generate_single_turn(*args, **kwargs)

    def _made(self) -> list[int]:
        return [len(environment.attempt.rewards) for environment in self.environments]

    def _generate_and_score_completions(self, inputs: list[Mapping[str, Any]]) -> dict[str, Any]:
        self._calls = []
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        self._calls.append(self._made())
        turn = turns(output["completion_mask"] * output["tool_mask"])
        trained: list[list[float] | None] = []
        for row, environment in enumerate(self.environments):
            made = [before[row] for before in self._calls]
            count = int(turn[row].max()) + 1
            if environment.attempt.env.episode.terminated:
                count = min(count, made.index(made[-1]))
            turn[row][turn[row] >= count] = -1
            rewards = final_rewards(environment)
            trained.append(None if rewards is None else rewards_of_turns(rewards, made[: count + 1]))
        output["tool_mask"] = (turn >= 0).to(output["tool_mask"].dtype)
        output["num_items_in_batch"] = self.accelerator.gather((turn >= 0).sum()).sum()
        output["advantages"] = broadcast_to_tokens(self._advantages(trained), turn)
        return output

    def _advantages(self, local: list[list[float] | None]) -> Tensor:
        """Return the advantages of the turns of this process's rollouts (b, k), with those of all in the baselines."""
        everyone: list[list[float] | None] = gather_object(local)
        size = self.num_generations if self.model.training else self.num_generations_eval
        scored = [row for row, rewards in enumerate(everyone) if rewards]
        width = max((len(rewards) for rewards in everyone if rewards), default=1)
        advantages = torch.zeros(len(everyone), width)
        if scored:
            rows = torch.tensor(scored)
            reward = pad_rows([everyone[row] or [] for row in scored], 0.0, torch.float32)
            steps = torch.tensor([len(everyone[row] or []) for row in scored])
            advantages[rows] = self._estimator(reward, steps, rows // size)
        first = self.accelerator.process_index * len(local)
        return advantages[first : first + len(local)].to(self.accelerator.device)

"""TRL's `GRPOTrainer` with `environment_factory`: its rollouts, and its update."""

from __future__ import annotations

import copy
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import gymnasium as gym
import torch

from agents.learner import Learner
from benchmarks.gold import ENV_ID, Workload
from benchmarks.timing import Lap

_CALL: Mapping[str, Any] = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "function": {"name": "call", "arguments": {"text": ""}}}],
}
"""What every turn is taken for: a call of the environment's one tool."""


class TrlPlayer:
    """A workload played and learnt from by TRL, with a copy of a learner's model.

    Args:
        learner: Gives the model and the tokenizer.
        workload: The episodes; all of them are played at once.
        action_tokens: Longest action.
        folder: For whatever the trainer writes.

    Raises:
        ImportError: TRL is not installed.
    """

    def __init__(self, learner: Learner, workload: Workload, action_tokens: int, folder: str) -> None:
        os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
        from datasets import Dataset
        from trl import GRPOConfig, GRPOTrainer

        logging.getLogger("transformers").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", category=FutureWarning)
        self._rows = [
            {"prompt": prompt, "task": script.task, "number": number}
            for number, (prompt, script) in enumerate(zip(workload.prompts, workload.scripts, strict=True))
        ]
        tokenizer: Any = copy.deepcopy(learner.tokenizer)
        tokenizer.response_schema = {}  # declares that turns can be parsed
        tokenizer.parse_response = lambda *_, **__: copy.deepcopy(_CALL)
        config = GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=len(self._rows),
            num_generations=workload.copies,
            max_completion_length=learner.context,
            max_tool_calling_iterations=workload.turns - 1,
            generation_kwargs={"max_new_tokens": action_tokens},
            top_k=0,
            beta=0.0,
            report_to=[],
            use_cpu=learner.policy.device.type == "cpu",
            bf16=False,
            gradient_checkpointing=False,  # as we do; TRL's default trades speed for memory
            log_completions=False,
            disable_tqdm=True,
        )
        model: Any = copy.deepcopy(learner.policy.language_model)
        model.set_attn_implementation("sdpa")  # Transformers' default, not ours
        self._trainer = GRPOTrainer(
            model=model,
            args=config,
            train_dataset=Dataset.from_list(self._rows),
            processing_class=tokenizer,
            environment_factory=lambda: _GoldEnv(workload),
            reward_funcs=[_reward],
        )
        self._trainer.create_optimizer()
        self._trainer.current_gradient_accumulation_steps = 1  # as its training loop sets it
        self._trainer.model.train()

    def play(self) -> tuple[Lap, dict[str, torch.Tensor]]:
        """Roll all episodes out: sampled tokens and seconds, and the batch that the trainer would learn from."""
        begin = perf_counter()
        batch = self._trainer._generate_and_score_completions([dict(row) for row in self._rows])
        return Lap(int(_trained(batch).sum()), perf_counter() - begin), batch

    def update(self, batch: Mapping[str, torch.Tensor]) -> Lap:
        """One optimiser step on a batch: trained tokens and seconds."""
        trainer = self._trainer
        begin = perf_counter()
        loss = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=batch["num_items_in_batch"])
        trainer.accelerator.backward(loss)
        torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), 1.0)
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()
        return Lap(int(_trained(batch).sum()), perf_counter() - begin)


class _GoldEnv:
    """One ToolWorld whose actions come from a script."""

    def __init__(self, workload: Workload) -> None:
        self._env = gym.make(ENV_ID, **workload.arguments, disable_env_checker=True)
        self._scripts = workload.scripts

    def reset(self, number: int, **_: Any) -> None:
        """Begin a script."""
        script = self._scripts[number]
        self._env.reset(options={"task": script.task, "episode_seed": script.seed})
        self._actions = iter(script.actions)
        self.rewards = [0.0]

    def call(self, text: str) -> str:
        """Call a function.

        Args:
            text: The call.
        """
        del text
        observation, reward, *_ = self._env.step(next(self._actions))
        self.rewards.append(float(reward))
        return str(observation)


def _reward(environments: list[_GoldEnv], **_: Any) -> list[float]:
    """A reward that differs within groups, so that there is something to learn."""
    return [sum(environment.rewards) + number % 2 for number, environment in enumerate(environments)]


def _trained(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return batch["completion_mask"] * batch.get("tool_mask", 1)


@contextmanager
def trl_player(learner: Learner, workload: Workload, action_tokens: int) -> Iterator[TrlPlayer]:
    """A `TrlPlayer` that leaves nothing behind."""
    with tempfile.TemporaryDirectory() as folder:
        yield TrlPlayer(learner, workload, action_tokens, folder)

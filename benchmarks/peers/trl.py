"""TRL's `GRPOTrainer`: its rollouts with `environment_factory`, and its update on given episodes."""

import copy
import logging
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import gymnasium as gym
import torch

from agents.models.bundle import PolicyBundle
from agents.rollout.types import TokenEpisode
from agents.training.batch import pad_rows
from benchmarks.harness.timing import Lap
from benchmarks.harness.workload import ENV_ID, Workload

_CALL: Mapping[str, Any] = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "function": {"name": "call", "arguments": {"text": ""}}}],
}
"""Parsed form of every turn: a call of the environment's one tool."""


class TrlPlayer:
    """Rollouts of a workload by TRL, with a copy of a learner's model; `folder` is the trainer's output folder.

    Raises:
        ImportError: TRL is not installed.
    """

    def __init__(self, bundle: PolicyBundle, workload: Workload, action_tokens: int, folder: str) -> None:
        self._rows = [
            {"prompt": prompt, "task": script.task, "number": number}
            for number, (prompt, script) in enumerate(zip(workload.prompts, workload.scripts, strict=True))
        ]
        self._trainer = _make_trainer(
            bundle,
            self._rows,
            workload.copies,
            folder,
            max_tool_calling_iterations=workload.turns - 1,
            generation_kwargs={"max_new_tokens": action_tokens},
            environment_factory=lambda: _ScriptedEnv(workload),
        )

    def play(self) -> Lap:
        """Play all episodes. Return sampled tokens and seconds."""
        begin = perf_counter()
        batch = self._trainer._generate_and_score_completions([dict(row) for row in self._rows])
        return Lap(int((batch["completion_mask"] * batch.get("tool_mask", 1)).sum()), perf_counter() - begin)


class TrlLearner:
    """TRL's update on given episodes, with a copy of a learner's model.

    `pieces` are the episodes of each forward and backward pass, `copies` the number of episodes per group.

    Raises:
        ImportError: TRL is not installed.
    """

    def __init__(self, bundle: PolicyBundle, pieces: Sequence[Sequence[TokenEpisode]], copies: int) -> None:
        self._autocast = bundle.policy.autocast
        rows = [{"prompt": [{"role": "user", "content": str(number)}]} for number in range(copies)]
        with tempfile.TemporaryDirectory() as folder:  # nothing is saved there
            self._trainer = _make_trainer(bundle, rows, copies, folder)
        self.tokens = sum(episode.action_tokens for piece in pieces for episode in piece)
        pad_id = int(bundle.tokenizer.pad_token_id)
        self.batches = [trl_batch(piece, pad_id, self.tokens, bundle.policy.device) for piece in pieces]

    def update(self) -> int:
        """Take one optimizer step on all pieces. Return the number of trained tokens."""
        trainer = self._trainer
        for batch in self.batches:
            with torch.autocast(batch["prompt_ids"].device.type, torch.bfloat16, enabled=self._autocast):
                loss = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=batch["num_items_in_batch"])
            trainer.accelerator.backward(loss)
        torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), 1.0)
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()
        return self.tokens


def trl_batch(
    episodes: Sequence[TokenEpisode], pad_id: int, tokens: int, device: torch.device | str = "cpu"
) -> dict[str, torch.Tensor]:
    """Return the input of `GRPOTrainer.compute_loss`: prompts padded on the left, completions on the right.

    `tokens` is the number of trained tokens of the batch, the divisor of TRL's loss.
    """
    prompts = [list(episode.ids[: episode.spans[0][0]]) for episode in episodes]
    completions = [list(episode.ids[episode.spans[0][0] :]) for episode in episodes]
    trained = [_trained(episode) for episode in episodes]
    width = max(map(len, prompts))
    batch = {
        "prompt_ids": torch.tensor([[pad_id] * (width - len(ids)) + ids for ids in prompts]),
        "prompt_mask": torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts]),
        "completion_ids": pad_rows(completions, pad_id, torch.long),
        "completion_mask": pad_rows([[1] * len(ids) for ids in completions], 0, torch.long),
        "tool_mask": pad_rows(trained, 0, torch.long),
        "advantages": torch.tensor([sum(episode.rewards) - 1.0 for episode in episodes]),
        "num_items_in_batch": torch.tensor(tokens),
    }
    return {name: tensor.to(device) for name, tensor in batch.items()}


def _trained(episode: TokenEpisode) -> list[int]:
    """Return the mask of sampled tokens after the prompt."""
    start = episode.spans[0][0]
    mask = [0] * (len(episode.ids) - start)
    for begin, end in episode.spans:
        mask[begin - start : end - start] = [1] * (end - begin)
    return mask


def _make_trainer(
    bundle: PolicyBundle, rows: Sequence[Mapping[str, Any]], copies: int, folder: str, **settings: Any
) -> Any:
    """Return a `GRPOTrainer` without logs and progress bars. Raises `ImportError` if TRL is not installed."""
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    logging.getLogger("transformers").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    tokenizer: Any = copy.deepcopy(bundle.tokenizer)
    tokenizer.response_schema = {}  # declares that turns are parsed
    tokenizer.parse_response = lambda *_, **__: copy.deepcopy(_CALL)
    factory = settings.pop("environment_factory", None)
    config = GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=len(rows),
        num_generations=copies,
        max_completion_length=bundle.context,
        top_k=0,
        beta=0.0,
        report_to=[],
        use_cpu=bundle.policy.device.type == "cpu",
        bf16=False,
        gradient_checkpointing=False,  # as ours; TRL's default trades speed for memory
        log_completions=False,
        disable_tqdm=True,
        **settings,
    )
    model: Any = copy.deepcopy(bundle.policy.language_model)
    model.set_attn_implementation("sdpa")  # Transformers' default, not ours
    trainer = GRPOTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_list([dict(row) for row in rows]),
        processing_class=tokenizer,
        reward_funcs=[_reward],
        **({"environment_factory": factory} if factory else {}),
    )
    trainer.create_optimizer()
    trainer.current_gradient_accumulation_steps = 1  # as in its training loop
    trainer.model.train()
    return trainer


class _ScriptedEnv:
    """ToolWorld environment with scripted actions."""

    def __init__(self, workload: Workload) -> None:
        self._env = gym.make(ENV_ID, **workload.arguments, disable_env_checker=True)
        self._scripts = workload.scripts

    def reset(self, number: int, **_: Any) -> None:
        """Start a script."""
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


def _reward(environments: list[_ScriptedEnv], **_: Any) -> list[float]:
    """Return rewards that differ within groups, so that advantages are not zero."""
    return [sum(environment.rewards) + number % 2 for number, environment in enumerate(environments)]

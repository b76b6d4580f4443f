"""Policies for benchmarks: one that has practised enough to call tools, and the cost of its prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from agents.codec import ChatCodec
from agents.config import PolicyConfig
from agents.demonstrations import demonstrate
from agents.evaluate import Evaluation
from agents.generation import Generator, Sampling
from agents.learner import Learner, build_learner
from agents.model import SHAPES, Size, build_decoder
from agents.policy import Policy, ValueTrunk
from agents.sft import SftConfig, encode_trajectory, train_sft
from agents.tokenizer import train_tokenizer
from agents.update import OptimConfig
from benchmarks.timing import Lap
from steptool_env.formats import make_format
from steptool_env.prompts import opening
from steptool_env.types import Trajectory

ENV_ID = "StepTool/ToolWorld-v0"
ARGUMENTS: dict[str, Any] = {"split": "train", "level": "lite", "format": "hermes", "call_budget": 8}
"""Tasks that chat models can be given: calls in the tags that Hermes and Qwen use."""

CONTEXT = 1536  # tokens
_SEED = 0
_VOCABULARY = 2048
_STOP, _START = "<|im_end|>", "<|im_start|>"

# ChatML with tools in Hermes' tags. Messages never change when others follow, so that prompts grow by appending.
CHAT_TEMPLATE = (
    "{% if tools %}<|im_start|>system\n<tools>{% for tool in tools %}\n{{ tool | tojson }}{% endfor %}\n</tools>"
    "<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{% for call in message.tool_calls or [] %}<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n</tool_call>'
    "{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def practised_learner(demonstrations: int, size: Size = "nano", device: str = "cpu") -> Learner:
    """A small model from scratch that has seen gold solutions of ToolWorld: it writes calls, and ends its turns.

    Args:
        demonstrations: How many; a few hundred are enough for calls that can be read.
        size: Of the model.
        device: Where it is.
    """
    played = demonstrate(Evaluation(ENV_ID, ARGUMENTS, demonstrations))
    learner = chat_learner(chat_tokenizer(played), size, device)
    encoded = [encode_trajectory(learner.codec, each) for each in played]
    train_sft(learner, encoded, SftConfig(epochs=6, batch_episodes=16, optim=OptimConfig(lr=3e-3)))
    return learner


def chat_learner(
    tokenizer: PreTrainedTokenizerFast, size: Size = "nano", device: str = "cpu", value_trunk: ValueTrunk = "none"
) -> Learner:
    """A model with fresh weights that talks in `CHAT_TEMPLATE`."""
    model = build_decoder(SHAPES[size], tokenizer, CONTEXT, _SEED)
    return Learner(Policy(model, value_trunk).to(device), tokenizer, ChatCodec(tokenizer, "tool"), CONTEXT)


def chat_tokenizer(trajectories: Sequence[Trajectory]) -> PreTrainedTokenizerFast:
    """A tokenizer for the texts of some episodes, with the special tokens of `CHAT_TEMPLATE`."""
    texts = [text for each in trajectories for text in _texts(each)]
    plain = train_tokenizer(texts, _VOCABULARY)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=plain.backend_tokenizer,
        pad_token=plain.pad_token,
        eos_token=_STOP,
        extra_special_tokens=[_START],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def _texts(trajectory: Trajectory) -> list[str]:
    rules = trajectory.metadata
    start = opening(trajectory.task, make_format(rules["format"]), rules["prompt"], rules["call_budget"])
    return [start.text, *(text for step in trajectory.steps for text in (step.action.text, step.observation))]


def contexts(lengths: Sequence[int], episodes: int = 8) -> Mapping[int, Callable[[], Lap]]:
    """Episodes of four actions with fresh weights, by the number of tokens in their prompts."""
    tokenizer = train_tokenizer(["a"], 259)
    config = PolicyConfig(context=max(lengths) + 512, value_trunk="none")
    learner = build_learner(config, tokenizer)
    sampling = Sampling(max_action_tokens=32)
    generator = Generator(
        learner.policy, context=learner.context, stop_id=learner.codec.stop_id, sampling=sampling, seed=_SEED
    )
    return {length: partial(_episodes, generator, length, episodes) for length in lengths}


def _episodes(generator: Generator, length: int, episodes: int, actions: int = 4, answer: int = 40) -> Lap:
    random = torch.Generator().manual_seed(_SEED)
    slots = list(range(episodes))
    generator.clear()
    generator.seed(_SEED)
    begin = perf_counter()
    for slot in slots:
        generator.start(slot, torch.randint(3, 259, (length,), generator=random).tolist())
    for _ in range(actions):
        generator.act(slots)
        for slot in slots:
            generator.append(slot, torch.randint(3, 259, (answer,), generator=random).tolist())
    return Lap(episodes, perf_counter() - begin)

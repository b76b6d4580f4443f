"""Models for benchmarks, with fresh weights and a chat template for every contestant."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from time import perf_counter

import torch
from transformers import PreTrainedTokenizerFast

from agents.models.bundle import PolicyBundle, build_policy, check_device
from agents.models.chat_template import ChatCodec
from agents.models.config import CriticKind, PolicyConfig
from agents.models.decoder import SHAPES, Size, build_decoder
from agents.models.policy import Policy
from agents.models.tokenizer import train_tokenizer
from agents.rollout.config import Sampling
from agents.rollout.engine import act
from agents.rollout.policy_agent import make_sampler
from agents.rollout.sampler import TokenSampler
from benchmarks.harness.timing import Lap

CONTEXT = 2048  # tokens

_SEED = 0
_VOCABULARY = 2048
_ACTIONS, _ANSWER = 4, 40  # of an episode; tokens
_STOP, _START = "<|im_end|>", "<|im_start|>"

# ChatML with tools in Hermes' tags. Messages never change when others follow, so that prompts grow by appending.
_CHAT_TEMPLATE = (
    "{% if tools %}<|im_start|>system\n<tools>{% for tool in tools %}\n{{ tool | tojson }}{% endfor %}\n</tools>"
    "<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{% for call in message.tool_calls or [] %}<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n</tool_call>'
    "{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def chat_bundle(
    texts: Iterable[str],
    size: Size = "nano",
    device: str = "cpu",
    critic: CriticKind = "none",
    *,
    autocast: bool = False,
) -> PolicyBundle:
    """Return a chat model with fresh weights and a tokenizer trained on `texts`; for `autocast` see `Policy`."""
    plain = train_tokenizer(texts, _VOCABULARY)
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=plain.backend_tokenizer,
        pad_token=plain.pad_token,
        eos_token=_STOP,
        extra_special_tokens=[_START],
        chat_template=_CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
    model = build_decoder(SHAPES[size], tokenizer, CONTEXT, _SEED)
    check_device(device)
    return PolicyBundle(
        Policy(model, critic, autocast=autocast).to(device), tokenizer, ChatCodec(tokenizer, "tool"), CONTEXT
    )


def contexts(lengths: Sequence[int], episodes: int = 8) -> Mapping[int, Callable[[], Lap]]:
    """Return functions that play episodes of four actions with fresh weights, by the prompt length in tokens."""
    tokenizer = train_tokenizer(["a"], 259)
    bundle = build_policy(PolicyConfig(context=max(lengths) + 512, critic="none"), tokenizer)
    generator = make_sampler(bundle, Sampling(max_action_tokens=32), seed=_SEED)
    return {length: partial(_episodes, generator, length, episodes) for length in lengths}


def _episodes(generator: TokenSampler, length: int, episodes: int) -> Lap:
    random = torch.Generator().manual_seed(_SEED)
    slots = list(range(episodes))
    generator.clear()
    generator.seed(_SEED)
    begin = perf_counter()
    for slot in slots:
        generator.start(slot, torch.randint(3, 259, (length,), generator=random).tolist())
    for _ in range(_ACTIONS):
        act(generator, slots)
        for slot in slots:
            generator.append(slot, torch.randint(3, 259, (_ANSWER,), generator=random).tolist())
    return Lap(episodes, perf_counter() - begin)

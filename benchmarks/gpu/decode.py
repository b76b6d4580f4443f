"""Stage: sampled tokens per second with a full cache, ours beside Transformers', and the share of the copy rate.

All contestants sample the same number of tokens after the same random prompts with the same bfloat16 weights. An
episode ends at `context` tokens. The share is of the bytes that a decoding step has to read at least: all weights once,
and the keys and values of every episode at its mean length; over the step's time and the rate of a large copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import _dynamo

from agents.models.bundle import PolicyBundle, build_policy
from agents.models.config import PolicyConfig
from agents.models.decoder import Size
from agents.models.tokenizer import train_tokenizer
from agents.rollout.config import Sampling
from agents.rollout.sampler import TokenSampler
from agents.rollout.static_sampler import StaticTokenSampler
from benchmarks.gpu.device import copy_rate, synchronize

if TYPE_CHECKING:
    from benchmarks.gpu.stage import Report

RAGGED, GRAPHS = "ours, eager", "ours, graphs"
GENERATE, CONTINUOUS = "generate, static cache, compiled", "generate, continuous batching"

_VOCABULARY = 2048
_FULL_TOKENS, _TINY_TOKENS = 128, 8  # sampled by each episode
_BLOCK, _FEED = 256, 8192  # tokens of a block of its cache and of a pass of continuous batching, its defaults
_COMPILE_SECONDS = 45.0  # without them left, `generate` is not begun: it compiles for every shape
_BEGIN_SECONDS = 5.0  # least time for another configuration


class Work(NamedTuple):
    """Size of the model, number of episodes, and their tokens at the end."""

    size: Size
    batch: int
    context: int


class Decoded(NamedTuple):
    """Sampled tokens after each episode's first, and the seconds of reading the prompts and of decoding."""

    tokens: int
    prompt_seconds: float
    seconds: float


Decode = Callable[[], Decoded]
Prepare = Callable[[PolicyBundle, list[list[int]], int], AbstractContextManager[Decode]]
"""Sampler of a policy for prompts and a number of tokens, as a context manager."""

_SIZES: tuple[Size, ...] = ("base", "small", "nano")
_AIM = Work("base", 256, 1024)
"""Work of the aim."""
_OTHERS = (Work("base", 32, 1024), Work("small", 128, 1024), Work("nano", 128, 1024))
"""Further work on which ours are compared with Transformers'."""
_GRID = [[Work(size, batch, context) for size in _SIZES for batch in (512, 128, 32)] for context in (1024, 4096, 2048)]
_TINY = (Work("nano", 2, 32),)


def measure(report: Report) -> None:
    """Measure one piece of work after the other, the most important first, until the time is over."""
    rate = copy_rate(report.device, report.tiny)
    report.add("Copy", {"GB/s, read and written": rate / 1e9})
    compared = _TINY if report.tiny else (_AIM, *_OTHERS)
    left_out = []
    for work in _TINY if report.tiny else (_AIM, *_GRID[0], *_OTHERS, *_GRID[1], *_GRID[2]):
        if report.left < _BEGIN_SECONDS:
            left_out.append(f"{work.size} {work.batch} x {work.context}")
            continue
        with report.attempt(f"decode {work.size}, {work.batch} episodes, context {work.context}"):
            _measure_work(report, work, work in compared, rate)
    if left_out:
        report.note(f"Decode: no time was left for {', '.join(left_out)}.")


def _measure_work(report: Report, work: Work, compared: bool, rate: float) -> None:
    tokens = _TINY_TOKENS if report.tiny else _FULL_TOKENS
    bundle = fresh_bundle(work, report.device)
    random = torch.Generator().manual_seed(0)
    prompts = torch.randint(3, len(bundle.tokenizer), (work.batch, work.context - tokens), generator=random)
    contestants: dict[str, Prepare] = {GRAPHS: partial(_ours, StaticTokenSampler), RAGGED: partial(_ours, TokenSampler)}
    if compared:
        contestants |= {CONTINUOUS: _continuous, GENERATE: _generate}  # the second may take most of the time
    ours: float | None = None
    for name, prepare in contestants.items():
        if report.left < (_COMPILE_SECONDS if name == GENERATE and not report.tiny else _BEGIN_SECONDS):
            report.note(f"Decode: no time was left for {name}, {work.size}, {work.batch} episodes.")
            continue
        with report.attempt(f"{name}, {work.size}, {work.batch} episodes, context {work.context}"):
            with prepare(bundle, prompts.tolist(), tokens) as decode:
                decode()  # compiles, captures graphs
                done = decode()
            del decode  # it holds the cache
            rate_here = done.tokens / done.seconds if done.seconds > 0 else None
            ours = rate_here if name == GRAPHS else ours
            report.add("Decoding", _row(work, name, done, rate_here, ours, _step_bytes(bundle, work, tokens) / rate))


def _row(
    work: Work, name: str, done: Decoded, rate: float | None, ours: float | None, least_seconds: float
) -> Mapping[str, str | int | float | None]:
    return {
        "size": work.size,
        "episodes": work.batch,
        "context": work.context,
        "sampler": name,
        "tokens/s": rate,
        "ms per step": 1e3 * work.batch / rate if rate else None,
        "share of copy rate %": 100 * least_seconds * rate / work.batch if rate else None,
        "prompt s": done.prompt_seconds,
        "graphs are x": ours / rate if ours and rate else None,
    }


def fresh_bundle(work: Work, device: str) -> PolicyBundle:
    """Return a policy with fresh bfloat16 weights."""
    tokenizer = train_tokenizer((f"{7919 * number} {number:x}" for number in range(20_000)), _VOCABULARY)
    config = PolicyConfig(model=work.size, context=work.context, critic="none", dtype="bfloat16", device=device)
    return build_policy(config, tokenizer)


def _step_bytes(bundle: PolicyBundle, work: Work, tokens: int) -> float:
    """Bytes that a decoding step reads at least: weights, and keys and values of the episodes at their mean length."""
    config = bundle.policy.config
    weights: int = sum(each.numel() * each.element_size() for each in bundle.policy.language_model.parameters())
    token: int = (
        2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * bundle.policy.dtype.itemsize
    )
    return weights + work.batch * (work.context - tokens / 2) * token


@contextmanager
def _ours(kind: type[TokenSampler], bundle: PolicyBundle, prompts: list[list[int]], tokens: int) -> Iterator[Decode]:
    sampler = kind(
        bundle.policy, context=bundle.context, stop_id=bundle.codec.stop_id, sampling=Sampling(max_action_tokens=tokens)
    )
    slots = range(len(prompts))

    def decode() -> Decoded:
        sampler.clear()
        sampler.seed(0)
        for slot, prompt in enumerate(prompts):
            sampler.start(slot, prompt)
        sampler.request(slots)
        begin = perf_counter()
        ended = sampler.decode()  # all prompts, and a token of each
        synchronize(bundle.policy.device)
        middle = perf_counter()
        while len(ended) < len(slots):
            ended |= sampler.decode()
        end = perf_counter()
        # An episode may draw the stop token, at a rate of 1 in the vocabulary.
        return Decoded(sum(len(each.ids) - 1 for each in ended.values()), middle - begin, end - middle)

    yield decode


@contextmanager
def _generate(bundle: PolicyBundle, prompts: list[list[int]], tokens: int) -> Iterator[Decode]:
    """`generate` with a static cache, which compiles the decoding step on a GPU."""
    model = cast(Any, bundle.policy.language_model)
    ids = torch.tensor(prompts, device=bundle.policy.device)

    def run(count: int) -> float:
        begin = perf_counter()
        made = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            top_k=0,
            min_new_tokens=count,
            max_new_tokens=count,
            cache_implementation="static",
            pad_token_id=bundle.codec.pad_id,
        )
        synchronize(ids.device)
        if made.shape[1] != ids.shape[1] + count:
            raise RuntimeError(f"generate gave {made.shape[1] - ids.shape[1]} tokens in place of {count}")
        return perf_counter() - begin

    _dynamo.reset()  # else other batch sizes make a slower, dynamic shape
    yield partial(_difference, run, len(prompts), tokens)


@contextmanager
def _continuous(bundle: PolicyBundle, prompts: list[list[int]], tokens: int) -> Iterator[Decode]:
    """Continuous batching of Transformers, with one manager for all runs."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    model = cast(Any, bundle.policy.language_model)
    attention = model.config._attn_implementation
    generation = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=True, top_k=0, eos_token_id=-1, pad_token_id=bundle.codec.pad_id, max_new_tokens=tokens
    )
    blocks = 1 + -(-bundle.context // _BLOCK)
    config = ContinuousBatchingConfig(  # without numbers it takes most of the device's memory
        num_blocks=len(prompts) * blocks,
        max_batch_tokens=_FEED if bundle.policy.device.type == "cuda" else _BLOCK,
        max_requests_per_batch=len(prompts),
        allow_block_sharing=False,
    )
    try:
        with model.continuous_batching_context_manager(
            generation_config=generation, continuous_batching_config=config, timeout=10
        ) as manager:

            def run(count: int) -> float:
                begin = perf_counter()
                left = len(manager.add_requests(inputs=prompts, max_new_tokens=count))
                while left:
                    result = manager.get_result(timeout=1)
                    if result is None and not manager.is_running():
                        raise RuntimeError("continuous batching ended before its requests")
                    if result is not None and result.error:
                        raise RuntimeError(f"continuous batching: {result.error}")
                    left -= result is not None and result.is_finished()
                return perf_counter() - begin

            yield partial(_difference, run, len(prompts), tokens)
    finally:
        model.set_attn_implementation(attention)


def _difference(run: Callable[[int], float], episodes: int, tokens: int) -> Decoded:
    """Time runs of one token and of `tokens` tokens per episode; their difference is that of the decoding steps."""
    prompt = run(1)
    return Decoded(episodes * (tokens - 1), prompt, run(tokens) - prompt)

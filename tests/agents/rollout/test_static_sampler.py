"""Decoding in steps of fixed shape draws what decoding in steps of any shape draws."""

import random

import pytest
import torch

from agents.models.policy import Policy
from agents.rollout.engine import act
from agents.rollout.sampler import TokenSampler
from agents.rollout.static_sampler import StaticTokenSampler
from agents.rollout.types import Sampled
from tests.agents.bandit import WORDS, exact_model, llama
from tests.agents.rollout.test_sampler import generator

LIVE = [[0, 1, 2, 3, 4], [4, 1], [1, 4, 0, 2], [0], [0, 1, 4, 2, 5, 6, 7, 8, 9], [2, 4], [4, 0, 2]]


def play(
    kind: type[TokenSampler], policy: Policy, temperature: float, max_action_tokens: int = 6
) -> list[list[Sampled]]:
    """Actions of episodes that begin, end and act in changing company, some of them idle at times, twice."""
    sampler = generator(policy, max_action_tokens, kind, temperature=temperature)
    acted = []
    for _ in range(2):
        draw = random.Random(0)
        for slot in range(10):
            sampler.start(slot, [draw.randrange(3, len(WORDS)) for _ in range(draw.randrange(2, 12))])
        for turn, live in enumerate(LIVE):
            if turn == 2:
                sampler.free(3)
            acted.append(act(sampler, live))
            for slot in live:
                sampler.append(slot, [draw.randrange(3, len(WORDS)) for _ in range(draw.randrange(1, 5))])
        sampler.clear()
    return acted


@pytest.mark.parametrize("temperature", [1.0, 0.7, 0.0])
def test_the_same_tokens_at_the_same_probabilities(temperature: float) -> None:
    policy = Policy(exact_model(), "none")
    want, got = (play(kind, policy, temperature) for kind in (TokenSampler, StaticTokenSampler))
    assert [[s.ids for s in acted] for acted in got] == [[s.ids for s in acted] for acted in want]
    errors = [
        abs(a - b)
        for ours, theirs in zip(got, want, strict=True)
        for s, t in zip(ours, theirs, strict=True)
        for a, b in zip(s.log_probs, t.log_probs, strict=True)
    ]
    assert len(errors) > 100
    assert max(errors) < 1e-12


def test_addresses_and_shapes_stay_once_the_most_rows_were_there() -> None:
    """A CUDA graph replays the same operations on the same memory, whichever episodes act."""
    policy = Policy(llama(), "none")
    sampler = generator(policy, 6, StaticTokenSampler)

    def addresses() -> set[int]:
        return {tensor.data_ptr() for layer in sampler._cache._layers for tensor in layer}

    for slot in range(10):
        sampler.start(slot, [3, 4, 5])
    act(sampler, range(10))
    held, step = addresses(), sampler._graphs[16, 128]
    for slots in ([3, 1], [1], [0, 2, 4, 6, 8], range(10)):
        act(sampler, list(slots))
    sampler.clear()
    sampler.start(0, [3, 4])
    act(sampler, [0])
    assert addresses() == held
    assert sampler._graphs[16, 128] is step
    assert {16} < {rows for rows, _ in sampler._graphs} <= {1, 2, 4, 8, 16}


def test_rows_without_an_episode_write_where_nobody_reads() -> None:
    """An episode that does not act keeps its keys while others decode in a step with room for it."""
    policy = Policy(exact_model(), "none")
    sampler = generator(policy, 6, StaticTokenSampler)
    for slot in range(4):
        sampler.start(slot, [3, 4, 5, 6 + slot % 2])
    act(sampler, [0, 1, 2, 3])
    keys, idle = sampler._cache._layers[0][0], sampler._slots[3]
    before = keys[idle.row, :, : idle.length].clone()
    act(sampler, [0, 1, 2])  # a step of four rows
    assert torch.equal(keys[idle.row, :, : idle.length], before)


@pytest.mark.parametrize("kind", [TokenSampler, StaticTokenSampler])
def test_a_long_prompt_beside_a_long_episode_fits_a_model_of_learnt_positions(kind: type[TokenSampler]) -> None:
    """The shorter row's padding would reach token 100 of 64."""
    policy = Policy(exact_model(), "none")
    alone, sampler = (generator(policy, 2, kind, context=64, temperature=0.0) for _ in range(2))
    sampler.start(0, [3] * 50)
    act(sampler, [0])
    sampler.append(0, [4])
    for each in (alone, sampler):
        each.start(1, [5] * 50)
    assert act(sampler, [0, 1])[1].ids == act(alone, [1])[0].ids

"""Cached sampling against whole sequences: token in, token out."""

import random
from typing import Any

import pytest
import torch

from agents.models.decoder import SHAPES, build_decoder
from agents.models.policy import Policy
from agents.rollout.config import Sampling
from agents.rollout.engine import act
from agents.rollout.sampler import TokenSampler
from agents.rollout.static_sampler import StaticTokenSampler
from tests.agents.bandit import WORDS, exact_model, llama, word_tokenizer

STOP = 2


def generator(
    policy: Policy, max_action_tokens: int = 6, kind: type[TokenSampler] = TokenSampler, **settings: Any
) -> Any:
    """A sampler; tests look inside those of fixed shape."""
    given = {"context": 60, "seed": 1, **settings}
    return kind(policy, stop_id=STOP, sampling=Sampling(max_action_tokens), **given)


def play(policy: Policy, sampler: TokenSampler, temperature: float = 1.0) -> list[float]:
    """Episodes that begin, end, overflow and act in changing company; returns the errors of each slot's log-probs."""
    draw = random.Random(0)
    made = {slot: [draw.randrange(3, len(WORDS)) for _ in range(draw.randrange(2, 12))] for slot in range(5)}
    scores: dict[int, list[tuple[int, float]]] = {slot: [] for slot in made}
    for slot, ids in made.items():
        sampler.start(slot, ids)
    for turn, live in enumerate([[0, 1, 2, 3, 4], [4, 1], [1, 4, 0, 2], [0], [0, 1, 4], [2, 4], [4, 0, 2]]):
        if turn == 2:
            made[2], scores[2] = [5, 6, 7], []
            sampler.start(2, made[2])
            sampler.free(3)
        for slot, sampled in zip(live, act(sampler, live), strict=True):
            begin = len(made[slot])
            made[slot] += sampled.ids
            scores[slot] += [(begin + i, score) for i, score in enumerate(sampled.log_probs)]
            answer = [draw.randrange(3, len(WORDS)) for _ in range(draw.randrange(1, 5))]
            made[slot] += answer
            sampler.append(slot, answer)
    return [error(policy, ids, scores[slot], temperature) for slot, ids in made.items()]


def error(policy: Policy, ids: list[int], scores: list[tuple[int, float]], temperature: float = 1.0) -> float:
    """Largest difference of an episode's log-probabilities from those of the whole sequence."""
    whole, positions = torch.tensor([ids]), torch.tensor([i for i, _ in scores])
    hidden = policy.hidden(whole)[0][positions - 1] / temperature  # the output layer is linear
    want, _ = policy.log_probs(hidden, whole[0][positions])
    got = torch.tensor([score for _, score in scores], dtype=want.dtype)
    return float((want - got).detach().abs().max())


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_sampler_and_trainer_agree_to_the_last_digit(temperature: float) -> None:
    """With the cache kept across steps, rows moved and dropped, in float64: so the first ratio of an update is 1."""
    policy = Policy(exact_model(), "none")
    assert max(play(policy, generator(policy, temperature=temperature), temperature)) < 1e-12


@pytest.mark.parametrize("tokens", [1, 12, 25])
def test_it_does_not_matter_how_many_tokens_are_read_together(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.rollout.sampler._block_tokens", lambda _: tokens)
    policy = Policy(exact_model(), "none")
    assert max(play(policy, generator(policy))) < 1e-12


@pytest.mark.parametrize("kind", [TokenSampler, StaticTokenSampler])
def test_a_prompt_is_read_once_by_all_who_begin_with_it(
    kind: type[TokenSampler], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then they go their own ways; an episode that begins like one in progress reads for itself."""
    policy = Policy(exact_model(), "none")
    sampler = generator(policy, 6, kind)
    read: list[int] = []
    monkeypatch.setattr(sampler, "_read", lambda slots: read.extend(slots) or kind._read(sampler, slots))
    made: dict[int, list[int]] = {}
    scores: dict[int, list[tuple[int, float]]] = {}
    for begun, readers in (([0, 1, 2, 3, 4], [0, 1]), ([2, 4], [0, 1, 2, 3])):
        for slot in begun:
            made[slot], scores[slot] = [7, 8] if slot % 2 else [3, 4, 5, 6], []
            sampler.start(slot, made[slot])
        read.clear()
        for slot, sampled in zip(made, act(sampler, list(made)), strict=True):
            begin = len(made[slot])
            made[slot] = made[slot] + sampled.ids
            scores[slot] += [(begin + i, score) for i, score in enumerate(sampled.log_probs)]
        assert sorted(read) == readers
    assert len({tuple(ids) for ids in made.values()}) == 5
    assert max(error(policy, made[slot], scores[slot]) for slot in made) < 1e-12


@pytest.mark.parametrize("kind", [TokenSampler, StaticTokenSampler])
def test_hidden_states_are_those_of_the_whole_sequence(kind: type[TokenSampler]) -> None:
    """A critic on detached hidden states reads them from the sampler."""
    policy = Policy(exact_model(), "detached")
    sampler, made = generator(policy, 6, kind), [[3, 4, 5, 6], [7, 8]]
    for slot, ids in enumerate(made):
        sampler.start(slot, ids)
    for _ in range(4):
        for slot, sampled in enumerate(act(sampler, [0, 1])):
            whole = made[slot] + sampled.ids
            want = policy.hidden(torch.tensor([whole]))[0, len(made[slot]) - 1 : -1].detach()
            torch.testing.assert_close(torch.from_numpy(sampled.hidden), want, atol=1e-12, rtol=0)
            made[slot] = [*whole, 7]
            sampler.append(slot, [7])
    assert generator(Policy(exact_model(), "none"), 6, kind)._state_size == 0


def test_sampler_and_trainer_agree_in_single_precision() -> None:
    policy = Policy(llama(), "none")
    assert max(play(policy, generator(policy))) < 1e-5


def test_an_action_ends_at_its_stop_token_or_its_longest_length() -> None:
    policy = Policy(llama(), "none")
    sampler = generator(policy, max_action_tokens=40)
    for slot in range(30):
        sampler.start(slot, [3, 4])
    sampled = act(sampler, range(30))
    assert any(s.stopped for s in sampled)
    for s in sampled:
        assert s.ids.count(STOP) == int(s.stopped)
        assert s.stopped == (s.ids[-1] == STOP)
        assert len(s.ids) == len(s.log_probs) <= 40
        assert s.stopped or len(s.ids) == 40


def test_actions_that_have_ended_are_soon_fed_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = generator(Policy(llama(), "none"), max_action_tokens=40)
    fed: list[tuple[int, int]] = []
    feed = sampler._feed

    def counted(ids: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
        fed.append((len(ids), len(sampler._active)))
        return feed(ids, *rest, **more)

    monkeypatch.setattr(sampler, "_feed", counted)
    for slot in range(32):
        sampler.start(slot, [3, 4])
    lengths = [len(sampled.ids) for sampled in act(sampler, range(32))]
    assert len(fed) <= max(lengths)  # the first time the prompt, then a token or more at a time
    for rows, live in fed[1:]:
        assert live <= rows <= live * 8 / 7
    assert fed[-1][0] < 32


def test_a_foreseen_action_takes_few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drafts change no token: with and without them the same actions, in fewer passes."""
    policy, played = Policy(exact_model(), "none"), []
    for most in (0, 3):
        sampler = generator(policy, 30, temperature=0.0)
        monkeypatch.setattr(sampler, "_longest_draft", most)
        passes: list[int] = []
        feed = sampler._feed
        monkeypatch.setattr(sampler, "_feed", lambda *a, run=feed, count=passes, **k: count.append(1) or run(*a, **k))
        actions = []
        for slot in range(3):  # the same prompt three times, one after the other
            sampler.start(slot, [3, 4, 5])
            actions.append(act(sampler, [slot])[0])
        played.append((actions, len(passes)))
    (alone, each), (drafted, fewer) = played
    assert [a.ids for a in alone] == [a.ids for a in drafted]
    for a, b in zip(alone, drafted, strict=True):
        assert a.log_probs == pytest.approx(b.log_probs, abs=1e-12)
    assert len(alone[0].ids) > 10
    assert fewer < 0.7 * each


def test_the_context_bounds_an_action_and_then_overflows() -> None:
    policy = Policy(llama(), "none")
    sampler = generator(policy, 8, context=10)
    sampler.start(0, [3] * 9)
    sampler.start(1, [3] * 10)
    short, none = act(sampler, [0, 1])
    assert len(short.ids) == 1
    assert none.overflow
    assert none.ids == []
    sampler.append(0, [4])
    assert act(sampler, [0])[0].overflow


def test_the_same_seed_draws_the_same_tokens() -> None:
    policy = Policy(llama(), "none")
    draws = []
    for seed in (7, 7, 8):
        sampler = generator(policy, 12, seed=seed)
        sampler.start(0, [3, 4, 5])
        draws.append(act(sampler, [0])[0].ids)
    assert draws[0] == draws[1] != draws[2]


def test_draws_follow_the_policy() -> None:
    """Frequencies of 4,000 draws lie within five deviations of the probabilities."""
    policy = Policy(llama(), "none")
    count = 4000
    sampler = generator(policy, 1, seed=3)
    for slot in range(count):
        sampler.start(slot, [3, 4])
    drawn = torch.tensor([s.ids[0] for s in act(sampler, range(count))])
    with torch.no_grad():
        probability = policy.output_layer(policy.hidden(torch.tensor([[3, 4]]))[0, -1]).softmax(-1)
    frequency = torch.bincount(drawn, minlength=len(WORDS)) / count
    assert ((frequency - probability).abs() < 5 * (probability * (1 - probability) / count).sqrt() + 1e-9).all()


def test_temperature_zero_takes_the_most_probable() -> None:
    policy = Policy(llama(), "none")
    with torch.no_grad():
        logits = policy.output_layer(policy.hidden(torch.tensor([[3, 4]]))[0, -1])
    sampler = generator(policy, 1, temperature=0.0)
    for slot in range(20):
        sampler.start(slot, [3, 4])
    assert {s.ids[0] for s in act(sampler, range(20))} == {int(logits.argmax())}


def test_a_decoder_of_the_smallest_size_has_about_a_million_parameters() -> None:
    model = build_decoder(SHAPES["nano"], word_tokenizer(), 64)
    assert 0.5e6 < sum(p.numel() for p in model.parameters()) < 1.5e6

"""Rollouts at a server: the tokens, the probabilities and the learning of rollouts in this process."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from agents.errors import CheckpointError
from agents.gateway.decoder import Decoder
from agents.gateway.models import ServedModel
from agents.gateway.protocol import CompletionRequest
from agents.models.bundle import PolicyBundle
from agents.models.chat_template import PlainCodec
from agents.models.policy import Policy
from agents.models.weights import read_merged, write_merged
from agents.rollout.collector import EpisodeSpec, collect_rollouts
from agents.rollout.config import RolloutConfig, Sampling
from agents.rollout.engine import RolloutEngine, act, make_engine
from agents.rollout.types import Sampled
from agents.training.trainer import OnlineTrainer
from tests.agents.bandit import bandit_config, bandits, bundle, exact_bundle, llama, word_tokenizer
from tests.agents.gateway.serving import serving as serve


@contextmanager
def serving(policy: Policy, kind: type[Decoder] = Decoder) -> Iterator[str]:
    """The URL of a policy server, in a thread."""
    decoder = kind(policy, 64)
    with serve(ServedModel("bandit", decoder, PlainCodec(word_tokenizer()))) as url:
        yield url


def equal(one: Policy, other: Policy) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def remote(made: PolicyBundle, url: str, sampling: Sampling, folder: Path = Path()) -> RolloutEngine:
    return make_engine(RolloutConfig(url), made, sampling, folder)


def test_rollouts_equal_those_in_this_process() -> None:
    """Both draw from the same seeds, whatever is decoded together."""
    made, sampling = exact_bundle(), Sampling(max_action_tokens=4)
    starts = [EpisodeSpec(seed // 2, seed) for seed in range(12)]
    here = collect_rollouts(bandits(5), make_engine(RolloutConfig(), made, sampling), made.codec, starts)
    with serving(exact_bundle().policy) as url:
        engine = remote(made, url, sampling)
        there = collect_rollouts(bandits(5), engine, made.codec, starts)
        engine.close()
    assert [e.ids for e in there.episodes] == [e.ids for e in here.episodes]
    assert [e.rewards for e in there.episodes] == [e.rewards for e in here.episodes]
    for a, b in zip(there.episodes, here.episodes, strict=True):
        assert a.log_probs == pytest.approx(b.log_probs, abs=1e-12)


def test_draws_do_not_depend_on_how_many_requests_are_in_flight_and_differ_within_a_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, sampling = exact_bundle(), Sampling(max_action_tokens=4)
    played = []
    with serving(exact_bundle().policy) as url:
        for concurrency in (1, 16):
            monkeypatch.setattr("agents.rollout.http_engine._CONNECTIONS", concurrency)
            engine = remote(made, url, sampling)
            engine.seed(3)
            played.append(
                [e.ids for e in collect_rollouts(bandits(8), engine, made.codec, [EpisodeSpec(1)] * 8).episodes]
            )
            engine.close()
    assert played[0] == played[1]
    assert len(set(played[0])) > 4


CROWD = 64
"""Requests at once: more than the threads (40) of the pool that endpoints without `async` run in."""


class WaitingForTheCrowd(Decoder):
    """Begins when that many requests have come."""

    asked = 0

    def start(self) -> None:
        pass

    async def complete(self, request: CompletionRequest) -> Sampled:
        self.asked += 1
        if self.asked == CROWD:
            super().start()
        return await super().complete(request)


def completions(prompts: list[list[int]], url: str, **changes: Any) -> list[httpx.Response]:
    """Return a server's responses to prompts that are all sent at once."""
    request = {"model": "bandit", "max_tokens": 4, "stop_token_ids": [2], **changes}
    with ThreadPoolExecutor(len(prompts)) as pool, httpx.Client(limits=httpx.Limits(), timeout=60) as client:
        return list(
            pool.map(lambda ids: client.post(f"{url}/v1/completions", json={**request, "prompt": ids}), prompts)
        )


def prompt(i: int) -> list[int]:
    return [3 + i % 8, 3 + i // 8]


def test_any_number_of_requests_is_decoded_together() -> None:
    policy, rows = exact_bundle().policy, [0]
    policy.decoder.register_forward_pre_hook(
        lambda _, __, fed: rows.append(len(fed["input_ids"])),  # type: ignore[func-returns-value]
        with_kwargs=True,
    )
    with serving(policy, WaitingForTheCrowd) as url:
        answers = completions([prompt(i) for i in range(CROWD)], url)
    assert [answer.status_code for answer in answers] == [200] * CROWD
    assert [answer.json()["choices"][0]["prompt_token_ids"] for answer in answers] == [prompt(i) for i in range(CROWD)]
    assert max(rows) > 40


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ([3, 11], "prompt[1]=11 is no token of this model, which has 0 to 10; use the tokenizer"),
        ([-1], "prompt[0]=-1 is no token"),
        ([3] * 64, "prompt has 64 tokens and leaves no room for an action in a context of 64; shorten it"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused_alone(wrong: list[int], says: str) -> None:
    with serving(exact_bundle().policy, WaitingForTheCrowd) as url:
        *answers, refused = completions([*(prompt(i) for i in range(CROWD - 1)), wrong], url)
    assert {answer.status_code for answer in answers} == {200}
    assert refused.status_code == 400
    assert says in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [({"stop_token_ids": [11]}, 400, "stop_token_ids[0]=11 is no token"), ({"seed": 2**63}, 400, "seed")],
)
def test_other_fields_are_refused_by_name(changes: dict[str, Any], status: int, says: str) -> None:
    with serving(exact_bundle().policy) as url:
        (answer,) = completions([[3]], url, **changes)
    assert answer.status_code == status
    assert says in answer.text


def test_a_request_that_was_given_up_takes_nobody_with_it() -> None:
    request = CompletionRequest(model="bandit", prompt=[3, 4], max_tokens=4, stop_token_ids=[2])

    async def given_up_and_kept() -> Sampled:
        decoder = Decoder(exact_bundle().policy, 64)
        given_up, kept = (asyncio.ensure_future(decoder.complete(request)) for _ in range(2))
        await asyncio.wait([given_up, kept], timeout=0)  # until both are asked for; nobody decodes yet
        given_up.cancel()
        await asyncio.wait([given_up])
        decoder.start()
        try:
            return await asyncio.wait_for(kept, 60)
        finally:
            decoder.stop()

    assert asyncio.run(given_up_and_kept()).ids


def test_a_slot_that_is_freed_while_it_is_answered_takes_nobody_with_it() -> None:
    with serving(exact_bundle().policy) as url:
        engine = remote(exact_bundle(), url, Sampling(4))
        for slot in range(80):  # more than there are connections
            engine.start(slot, [3, 4])
        engine.request(list(range(80)))
        for slot in range(79):
            engine.free(slot)
        (sampled,) = engine.decode().values()
        engine.start(0, [3])
        assert act(engine, [0])[0].ids
        alone = remote(exact_bundle(), url, Sampling(4))
        alone.start(79, [3, 4], stream=79)
        assert act(alone, [79])[0].ids == sampled.ids
        engine.close()
        alone.close()


def test_a_full_context_is_an_overflow_and_asks_nobody() -> None:
    engine = remote(exact_bundle(), "http://127.0.0.1:9", Sampling())
    engine.start(0, [3] * 64)
    assert act(engine, [0]) == [Sampled([], [], stopped=False, overflow=True)]
    engine.close()


def test_new_weights_reach_the_server_once(tmp_path: Path) -> None:
    made, served = exact_bundle(seed=1), exact_bundle(seed=0)

    def agree() -> bool:
        return equal(made.policy, served.policy)

    with serving(served.policy) as url:
        engine = remote(made, url, Sampling(), tmp_path)
        assert not agree()
        engine.sync_weights(4)
        assert agree()
        with torch.no_grad():
            next(made.policy.parameters()).add_(1.0)
        engine.sync_weights(4)
        assert not agree()
        engine.sync_weights(5)
        assert agree()
        assert [path.name for path in tmp_path.iterdir()] == ["weights-5"]
        engine.close()
    assert not list(tmp_path.iterdir())


def test_a_server_that_was_restarted_gets_the_weights_again(tmp_path: Path) -> None:
    """It begins with those of its checkpoint, and answers; nobody tells the engine."""
    made, prompts = exact_bundle(seed=1), [[3, 4 + i % 4] for i in range(24)]

    def answers(engine: RolloutEngine) -> list[list[int]]:
        for slot, ids in enumerate(prompts):
            engine.start(slot, ids, stream=slot)
        return [sampled.ids for sampled in act(engine, range(len(prompts)))]

    begun, wanted = exact_bundle(seed=0), answers(make_engine(RolloutConfig(), made, Sampling(4)))
    assert answers(make_engine(RolloutConfig(), begun, Sampling(4))) != wanted
    with serving(exact_bundle(seed=0).policy) as before, serving(begun.policy) as after:
        engine = remote(made, before, Sampling(4), tmp_path)
        engine.sync_weights(1)
        assert answers(engine) == wanted
        engine.clear()
        engine._url = after  # type: ignore[attr-defined]  # as the address of the new process
        assert answers(engine) == wanted
        assert equal(made.policy, begun.policy)
        engine.close()


def trained(folder: Path, model_seed: int = 0, **settings: Any) -> list[dict[str, float]]:
    """Metrics of training at a server that begins with other weights than training does."""
    rows: list[dict[str, float]] = []
    with serving(bundle("none", seed=model_seed + 1).policy) as url:
        config, made = bandit_config(rollout={"engine": url}, **settings), bundle("none", seed=model_seed)
        engine = make_engine(config.rollout, made, config.sampling, folder)
        OnlineTrainer(config, made, bandits(32), engine=engine).run(lambda _, metrics: rows.append(metrics))
        engine.close()
    return rows


def test_training_at_a_server_is_on_policy(tmp_path: Path) -> None:
    """One gradient step per iteration never leaves ratio 1 where each rollout had the weights of its update."""
    rows = trained(tmp_path, algo="reinforce", iterations=3, algorithm={"clip_coef": 1e-4}, optim={"lr": 6e-3})
    assert [row["train/clip_fraction"] for row in rows] == [0.0] * 3


def test_an_evaluation_and_the_end_of_a_run_have_the_weights_of_their_time(tmp_path: Path) -> None:
    made, served = bundle("none"), bundle("none", seed=1)
    found: list[bool] = []

    def evaluation() -> dict[str, float]:
        found.append(equal(made.policy, served.policy))
        return {}

    with serving(served.policy) as url:
        config = bandit_config(algo="grpo", episodes=16, iterations=3, eval_every=2, rollout={"engine": url})
        engine = make_engine(config.rollout, made, config.sampling, tmp_path)
        run = OnlineTrainer(config, made, bandits(16), evaluation=evaluation, engine=engine)
        before = [weight.detach().clone() for weight in made.policy.parameters()]
        run.run()
        engine.close()
    assert found == [True, True]  # after the second iteration, and after the third, the last
    assert equal(made.policy, served.policy)
    assert not all(torch.equal(a, b) for a, b in zip(before, made.policy.parameters(), strict=True))


@pytest.mark.slow
def test_training_at_a_server_learns(tmp_path: Path, learning_seed: int) -> None:
    """From 0.25 (blind) the return doubles."""
    settings: dict[str, Any] = {"iterations": 30, "algorithm": {"ent_coef": 0.01}, "optim": {"lr": 1.5e-3}}
    rows = trained(tmp_path, algo="grpo", model_seed=learning_seed, seed=learning_seed, **settings)
    assert rows[0]["rollout/return"] < 0.4
    assert sum(row["rollout/return"] for row in rows[-3:]) / 3 > 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_are_the_same_after_writing_and_reading(tmp_path: Path, dtype: torch.dtype) -> None:
    policy, other = (Policy(llama(seed).to(dtype), "none") for seed in (0, 1))
    write_merged(tmp_path / "model", policy, word_tokenizer())
    read_merged(tmp_path / "model", other)
    assert all(torch.equal(a, b) for a, b in zip(policy.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("change", [{"num_hidden_layers": 1}, {"num_hidden_layers": 3}, {"intermediate_size": 40}])
def test_weights_of_another_model_are_refused_and_change_nothing(tmp_path: Path, change: dict[str, int]) -> None:
    policy, untouched = Policy(llama(), "none"), Policy(llama(), "none")
    write_merged(tmp_path / "model", Policy(llama(1, **change), "none"), word_tokenizer())
    with pytest.raises(CheckpointError, match="is of another model"):
        read_merged(tmp_path / "model", policy)
    assert equal(policy, untouched)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_adapters_are_merged_on_the_way(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    policy, other = (Policy(llama(seed).double(), "none") for seed in (0, 1))
    bare = Policy(llama().double(), "none")
    policy.language_model = peft.get_peft_model(
        policy.language_model, peft.LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    )
    ids = torch.tensor([[3, 4, 5, 6]])
    write_merged(tmp_path / "model", policy, word_tokenizer())
    read_merged(tmp_path / "model", other)
    torch.testing.assert_close(other.hidden(ids), policy.hidden(ids), atol=1e-6, rtol=0)
    assert not torch.allclose(other.hidden(ids), bare.hidden(ids), atol=1e-3)


CHOICE = {
    "token_ids": [5, 2],
    "prompt_token_ids": [3, 1],
    "logprobs": {"token_logprobs": [-0.5, -0.25]},
    "finish_reason": "stop",
}

"""Tiny runs of the rollout and learner benchmarks: contestants do the same work, and every figure is there."""

import importlib.util
from dataclasses import replace

import pytest
import torch

from agents.rollout.config import Sampling
from agents.rollout.engine import act
from agents.rollout.policy_agent import make_sampler
from benchmarks import __main__
from benchmarks.harness.workload import ScriptedPool, Workload, make_workload, play_workload
from benchmarks.peers.full_context import FullContextSampler
from benchmarks.peers.trl import TrlLearner, trl_batch
from benchmarks.speed import learner, rollout
from benchmarks.speed.sampling import chat_bundle, contexts

torch.set_num_threads(1)
TRL = importlib.util.find_spec("trl") is not None


@pytest.fixture(scope="module")
def workload() -> Workload:
    return make_workload(4, turns=3)


def test_a_workload_has_groups_of_episodes_of_one_length(workload: Workload) -> None:
    assert [len(script.actions) for script in workload.scripts] == [3] * 4
    assert workload.scripts[0] == workload.scripts[1] != workload.scripts[2]
    assert "Finish" in workload.scripts[0].actions[-1]


def test_more_tasks_than_there_are_is_an_error() -> None:
    with pytest.raises(ValueError, match="take 60 actions"):
        make_workload(2, turns=60)


@pytest.mark.parametrize("slots", [4, 3])
def test_both_generators_play_the_same_calls_whatever_they_write(workload: Workload, slots: int) -> None:
    player = chat_bundle(workload.texts())
    for make in (make_sampler, FullContextSampler):
        generator = make(player, Sampling(max_action_tokens=5))
        episodes = play_workload(workload, ScriptedPool(workload, slots), generator, player.codec).episodes
        assert [len(episode.spans) for episode in episodes] == [3] * 4
        assert all(episode.metrics["is_solved"] == 1 for episode in episodes)
        assert all(1 <= episode.action_tokens <= 15 for episode in episodes)


def test_full_context_scores_its_samples_as_the_policy_does(workload: Workload) -> None:
    player = chat_bundle(workload.texts())
    full = FullContextSampler(player, Sampling(max_action_tokens=5))
    opening = player.codec.encode_prompt("", {"messages": workload.prompts[0]})
    full.start(0, opening)
    full.start(1, opening[-7:])  # another length: padding must not show
    torch.manual_seed(0)
    for start, sampled in zip((opening, opening[-7:]), act(full, [0, 1]), strict=True):
        ids = torch.tensor([[*start, *sampled.ids]])
        with torch.no_grad():
            hidden = player.policy.hidden(ids)[0, len(start) - 1 : -1]
            expected, _ = player.policy.log_probs(hidden, ids[0, len(start) :])
        assert sampled.log_probs == pytest.approx(expected.tolist(), abs=1e-4)


def test_a_rollout_result_has_every_contestant() -> None:
    result = rollout.run(rollout.Options(quick=True, level="lite", turns=3))
    rows = {row["rollout"]: row for row in result.tables["Rollouts"]}
    assert {rollout.OURS, rollout.FULL} <= set(rows)
    assert rows[rollout.OURS]["ours is x"] == 1
    assert (rollout.TRL in rows) == TRL
    assert TRL or any("TRL was not measured" in note for note in result.notes)


def test_trl_trains_on_exactly_the_given_tokens(workload: Workload) -> None:
    player = chat_bundle(workload.texts())
    ours = make_sampler(player, Sampling(max_action_tokens=5))
    episodes = play_workload(workload, ScriptedPool(workload, 4), ours, player.codec).episodes
    pad_id = int(player.tokenizer.pad_token_id)
    assert {each.device.type for each in trl_batch(episodes, pad_id, 7, "meta").values()} == {"meta"}
    batch = trl_batch(episodes, pad_id, tokens=7)
    for row, episode in enumerate(episodes):
        read = [
            *batch["prompt_ids"][row][batch["prompt_mask"][row].bool()].tolist(),
            *batch["completion_ids"][row][batch["completion_mask"][row].bool()].tolist(),
        ]
        assert read == list(episode.ids)
        sampled = [token for start, end in episode.spans for token in episode.ids[start:end]]
        assert batch["completion_ids"][row][batch["tool_mask"][row].bool()].tolist() == sampled
    assert batch["num_items_in_batch"] == 7


@pytest.mark.skipif(not TRL, reason="needs TRL (docs/benchmarks.md, Peers)")
def test_trl_makes_the_update_that_ours_makes(workload: Workload) -> None:
    """Same tokens, same advantages: one pass of TRL's loss and of ours give the same gradient direction."""
    player = chat_bundle(workload.texts())
    ours = make_sampler(player, Sampling(max_action_tokens=5))
    played = play_workload(workload, ScriptedPool(workload, 4), ours, player.codec).episodes
    episodes = [replace(e, rewards=(0.0,) * (len(e.rewards) - 1) + (2.0 * (n % 2),)) for n, e in enumerate(played)]
    trl = TrlLearner(player, [episodes], 2)
    model = trl._trainer.model
    (batch,) = trl.batches
    trl._trainer.compute_loss(model, dict(batch), num_items_in_batch=batch["num_items_in_batch"]).backward()
    theirs = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])
    total = torch.tensor(0.0)
    for number, episode in enumerate(episodes):
        hidden = player.policy.hidden(torch.tensor([episode.ids]))[0]
        for start, end in episode.spans:
            scored, _ = player.policy.log_probs(hidden[start - 1 : end - 1], torch.tensor(episode.ids[start:end]))
            total = total - (2.0 * (number % 2) - 1.0) * scored.sum()
    (total / trl.tokens).backward()
    own = torch.cat([w.grad.flatten() for w in player.policy.language_model.parameters() if w.grad is not None])
    assert float((own - theirs).norm() / own.norm()) < 1e-3  # float32, another order of additions


@pytest.mark.slow
def test_updates_are_measured_in_processes_of_their_own_on_the_same_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner, "UPDATES", {learner.OURS_GRPO: learner.UPDATES[learner.OURS_GRPO]})
    monkeypatch.setattr(learner, "_PIECES", (2048,))
    result = learner.run(learner.Options(quick=True, peak_tflops=0.1))
    (row,) = result.tables["Updates"]
    assert row["update"] == learner.OURS_GRPO
    assert row["x TRL"] is None
    for column in ("trained tokens/s", "all tokens/s", "MFU %"):
        value = row[column]
        assert isinstance(value, float)
        assert value > 0


def test_contexts_are_read_once() -> None:
    laps = contexts([16, 32], episodes=2)
    assert [run().units for run in laps.values()] == [2, 2]


def test_every_listed_benchmark_is_a_module_that_takes_its_arguments() -> None:
    for benchmark in __main__.BENCHMARKS:
        assert importlib.util.find_spec(f"benchmarks.{benchmark.module}") is not None
        made = __main__.command(benchmark, __main__.Options())
        assert made[0] == f"benchmarks.{benchmark.module}"


def test_an_unknown_benchmark_is_named() -> None:
    with pytest.raises(SystemExit, match="nothing: no such benchmark; there are server"):
        __main__.chosen(["nothing"])
    assert [each.name for each in __main__.chosen(["scaling"])] == ["scaling"]

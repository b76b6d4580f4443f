"""Episodes of a harness: the tokens, rewards and learning of the environment's own loop."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from agents.errors import ConfigurationError, HarnessError, TrainingError
from agents.gateway.episode import HarnessEpisode
from agents.gateway.gateway import Gateway
from agents.gateway.harness_collector import collect_with_harness
from agents.models import checkpoint
from agents.models.bundle import PolicyBundle
from agents.rollout.collector import EpisodeSpec, Rollout, collect_rollouts
from agents.rollout.config import RolloutConfig, Sampling
from agents.rollout.engine import make_engine
from agents.rollout.episode_pool import BatchedPool, EpisodePool
from agents.rollout.policy_agent import make_sampler
from agents.rollout.sampler import TokenSampler
from agents.rollout.types import Sampled, TokenEpisode
from agents.training.batch import collate
from agents.training.forward import evaluate_actions
from agents.training.trainer import OnlineTrainer
from steptool_env.env import ToolEnv
from steptool_env.formats import make_format
from tests.agents.bandit import bandit_config, bandits, bundle, exact_bundle
from tests.agents.gateway import harnesses
from tests.agents.gateway.serving import chat_bundle, served, serving
from tests.agents.gateway.tool_bandit import CALLS, TOOLS, BanditSuite, bandit_bundle, make_bandit
from tests.steptool_env.toys import ToySuite, Unreachable, toy_config

SPECS = [EpisodeSpec(seed // 2, seed) for seed in range(10)]


@pytest.fixture(autouse=True, scope="module")
def _release() -> Iterator[None]:
    yield
    harnesses.released.set()
    harnesses.client.close()


def toys(call_format: str = "react", **rules: Any) -> BatchedPool:
    return BatchedPool(ToolEnv(ToySuite(), toy_config(format=make_format(call_format), **rules)), 4)


def played(
    harness: str,
    pool: EpisodePool,
    made: PolicyBundle,
    specs: Sequence[EpisodeSpec] = SPECS,
    seconds: float = 60.0,
    max_action_tokens: int = 4,
) -> Rollout:
    with closing(Gateway(f"tests.agents.gateway.harnesses:{harness}", seconds)) as gateway:
        engine = make_sampler(made, Sampling(max_action_tokens))
        return collect_with_harness(pool, engine, made, specs, gateway)


def own(pool: EpisodePool, made: PolicyBundle, specs: Sequence[EpisodeSpec] = SPECS, tokens: int = 4) -> Rollout:
    return collect_rollouts(pool, make_sampler(made, Sampling(tokens)), made.codec, specs)


def assert_same(there: Sequence[TokenEpisode], here: Sequence[TokenEpisode]) -> None:
    """Equal ids, masks, rewards, ends and states; log-probabilities up to the rounding of another batch."""
    assert [e.ids for e in there] == [e.ids for e in here]
    assert [e.spans for e in there] == [e.spans for e in here]
    for name in ("rewards", "end", "group", "state_hashes", "part"):
        assert [getattr(e, name) for e in there] == [getattr(e, name) for e in here], name
    for a, b in zip(there, here, strict=True):
        assert a.log_probs == pytest.approx(b.log_probs, abs=1e-9)
        assert {**a.metrics, **b.metrics} == dict(a.metrics)


@pytest.mark.parametrize("harness", ["react", "react_async"])
def test_a_bandit_played_by_a_harness_is_the_same_batch(harness: str) -> None:
    made = exact_bundle()
    there, here = played(harness, bandits(3), made), own(bandits(3), made)
    assert_same(there.episodes, here.episodes)
    assert there.calls == here.calls == 20
    assert there.outcomes == {"returned": 10}
    one, other = (collate(rollout.episodes, 0) for rollout in (there, here))
    assert torch.equal(one.ids, other.ids)
    assert torch.equal(one.mask, other.mask)
    assert torch.equal(one.reward, other.reward)


@pytest.mark.parametrize(("call_format", "harness"), [("react", "react"), ("hermes", "react_of_tools")])
def test_a_chat_model_played_by_a_harness_is_the_same_batch(call_format: str, harness: str) -> None:
    """With a chat template, tools of a real environment, and its rewards in hindsight."""
    made = replace(chat_bundle(), context=2048) if call_format == "react" else chat_bundle()
    rules: dict[str, Any] = {"prompt": "compact", "call_budget": 3}
    there = played(harness, toys(call_format, **rules), made, max_action_tokens=8)
    here = own(toys(call_format, **rules), made, tokens=8)
    assert_same(there.episodes, here.episodes)
    assert {len(e.spans) for e in there.episodes} == {3}


def test_tool_calls_are_the_models_own_actions() -> None:
    """The environment reads the text that the model wrote, and each reward is at the answer that made the call."""
    made = bandit_bundle()
    made.policy.double()
    there, here = (play(BatchedPool(make_bandit(), 3), made) for play in (partial(played, "tools"), own))
    both = list(zip(there.episodes, here.episodes, strict=True))
    calls = [(a, b) for a, b in both if not b.metrics["invalid_calls"]]  # a text without a call is the agent's answer
    assert len(calls) >= 7
    assert_same([a for a, _ in calls], [b for _, b in calls])
    texts = [[[step.action.text for step in e.trajectory.steps] for e in pair if e.trajectory] for pair in calls]
    assert all(one == other for one, other in texts)
    assert {text for (one, _) in texts for text in one} == set(CALLS.values())


def test_a_call_that_no_answer_asked_for_is_a_step_without_credit() -> None:
    rollout = played("unasked", BatchedPool(make_bandit(), 3), bandit_bundle())
    assert rollout.outcomes == {"returned": 10}
    for episode in rollout.episodes:
        assert (len(episode.spans), episode.metrics["calls"]) == (1, 2)
        assert episode.trajectory is not None
        first, second = episode.trajectory.steps
        assert first.action.name == TOOLS[0].function_name
        assert second.action.arguments == '{"extra": 1}'
        assert episode.rewards == (second.reward,)
        assert episode.metrics["return"] == first.reward + second.reward
    assert len({e.metrics["return"] for e in rollout.episodes}) > 1


def test_a_returned_text_is_the_answer() -> None:
    """An untrained model writes no call; its text is the agent's answer, which ends the episode."""
    rollout = played("tools", toys(prompt="compact"), replace(chat_bundle(), context=2048))
    for episode in rollout.episodes:
        assert (episode.end, len(episode.spans), episode.metrics["finished"]) == ("terminated", 1, 1.0)
        assert episode.trajectory is not None
        (step,) = episode.trajectory.steps
        text = chat_bundle().codec.decode_action(episode.ids[slice(*episode.spans[0])])
        assert json.loads(step.action.arguments) == {"return_type": "give_answer", "final_answer": text}
        assert episode.rewards == episode.trajectory.rewards


def test_answers_may_come_from_a_server() -> None:
    """`rollout.engine=URL`: the harness asks the gateway, the gateway the engine."""
    made = exact_bundle()
    with serving(served(exact_bundle(), "bandit", "react")) as url:
        engine = make_engine(RolloutConfig(url), made, Sampling(4))
        with closing(Gateway("tests.agents.gateway.harnesses:react", 60.0)) as gateway:
            there = collect_with_harness(bandits(3), engine, made, SPECS, gateway)
        engine.close()
    assert_same(there.episodes, own(bandits(3), made).episodes)


def test_the_first_update_starts_at_ratio_one() -> None:
    made = bundle("none")
    rollout = played("react", bandits(4), made)
    batch = collate(rollout.episodes, 0)
    ratio = (evaluate_actions(made.policy, batch, "log_prob", 1000) - batch.old_log_prob)[batch.mask].exp()
    torch.testing.assert_close(ratio, torch.ones_like(ratio), atol=1e-5, rtol=0)


def test_a_rewritten_history_is_several_sequences_that_share_the_rewards_to_come() -> None:
    """Each turn is trained once, in the context that it had, and the rewards after it are those of the episode."""
    made = exact_bundle()
    rollout = played("forgetful", bandits(3), made)
    assert len(rollout.episodes) == 20
    for first, second in zip(rollout.episodes[::2], rollout.episodes[1::2], strict=True):
        assert (first.part, second.part, len(first.spans), len(second.spans)) == (0, 1, 1, 1)
        assert first.rewards[0] == first.metrics["return"]
        assert second.rewards[0] in (0.0, 0.5)
        assert first.metrics["sequences"] == 2
        start, _ = second.spans[0]
        assert made.codec.decode_action(second.ids[:start]).split()[0] in ("ok", "no")
    assert rollout.metrics()["rollout/return"] == sum(e.metrics["return"] for e in rollout.episodes[::2]) / 10
    solved = [e for e in rollout.episodes[::2] if e.rewards[0] == 1.0]
    assert all(e.metrics["is_solved"] for e in solved)


def test_an_answer_that_was_not_used_is_a_sequence_of_its_own() -> None:
    made = exact_bundle()
    rollout = played("retrying", bandits(3), made)
    for group in range(10):
        parts = [e for e in rollout.episodes if e.group == group]
        assert [len(e.spans) for e in parts] == [1, 2, 1]  # a first try; the two answers that counted; a second try
        unused, used, late = parts
        assert unused.rewards == (used.metrics["return"],)
        assert sum(used.rewards) == used.metrics["return"]
        assert late.rewards == (used.rewards[1],)
        assert used.ids[: used.spans[0][0]] == unused.ids[: unused.spans[0][0]]
        assert late.ids[: late.spans[0][0]] == used.ids[: used.spans[1][0]]


@pytest.mark.parametrize(
    ("harness", "outcome"), [("raising", "raised"), ("hanging", "timed_out"), ("parting", "returned")]
)
def test_a_harness_that_stops_early_ends_its_episode_as_data(harness: str, outcome: str) -> None:
    """The steps that it made are judged and trained."""
    seconds = 1.0 if harness == "hanging" else 60.0
    pool = toys(prompt="compact")
    made = replace(chat_bundle(), context=2048)
    rollout = played(harness, pool, made, [EpisodeSpec(seed, seed) for seed in range(4)], seconds)
    assert rollout.outcomes == {outcome: 4}
    assert rollout.metrics()[f"rollout/harness_{outcome}"] == 1
    for episode in rollout.episodes:
        assert (episode.end, len(episode.spans), len(episode.rewards)) == ("agent", 1, 1)
        assert not episode.truncated
        assert episode.trajectory is not None
        assert episode.trajectory.metadata["harness"]["outcome"] == outcome
        assert episode.trajectory.metadata["outcome"]["is_solved"] == 0
    assert ("the agent's own error" in str(rollout.episodes[0].trajectory)) == (harness == "raising")


class _Busy(TokenSampler):
    """Engine whose actions take longer than any episode."""

    def decode(self) -> dict[int, Sampled]:
        harnesses.asked.set()
        return {}


def test_a_chat_that_waits_when_its_episode_ends_is_refused() -> None:
    made = bundle("none")
    engine = _Busy(made.policy, context=made.context, stop_id=made.codec.stop_id, sampling=Sampling(4))
    with closing(Gateway("tests.agents.gateway.harnesses:leaving", 60.0)) as gateway:
        with pytest.raises(HarnessError, match="asked the policy for nothing"):
            collect_with_harness(bandits(1), engine, made, SPECS[:1], gateway)
        assert harnesses.statuses.get(timeout=30) == 410


def test_a_process_without_a_share_of_the_groups_plays_nothing() -> None:
    assert played("hanging", bandits(1), bundle("none"), []).episodes == []


def test_harnesses_that_hang_end_the_run_in_the_end() -> None:
    with pytest.raises(HarnessError, match=r"5 episodes of a rollout took longer than rollout.harness_seconds=0.2"):
        played("hanging", bandits(1), bundle("none"), SPECS, seconds=0.2)


class _Broken(BatchedPool):
    """Environments of which a step raises."""

    def step(self, actions: Any) -> Any:
        raise ConfigurationError("the tools do not know this API")


def test_an_environment_that_raises_ends_the_run_and_leaves_no_thread() -> None:
    env = ToolEnv(BanditSuite(), make_bandit().config)
    before = set(threading.enumerate())
    with pytest.raises(ConfigurationError, match="do not know this API"):
        played("unasked", _Broken(env, 3), bandit_bundle())
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("harness"):
            thread.join(30)
            assert not thread.is_alive()


def test_a_harness_that_never_asks_the_model_is_reported() -> None:
    with pytest.raises(HarnessError, match="asked the policy for nothing in any of 10 episodes; it must use"):
        played("silent", bandits(3), bundle("none"))


def test_episodes_without_an_answer_are_counted_and_have_no_tokens() -> None:
    rollout = played("sometimes", bandits(3), bundle("none"))
    cases = rollout.outcomes["returned"]
    assert 0 < cases < 10
    assert rollout.outcomes == {"returned": cases, "raised": 10 - cases, "silent": 10 - cases}
    assert len(rollout.episodes) == cases
    assert rollout.metrics()["rollout/harness_silent"] == (10 - cases) / 10


def test_episodes_that_lose_their_tools_are_dropped() -> None:
    env = ToolEnv(BanditSuite(), make_bandit().config, Unreachable())
    rollout = played("unasked", BatchedPool(env, 3), bandit_bundle())
    assert (rollout.dropped, rollout.episodes) == (10, [])


def test_pages_of_other_sites_reach_no_episode() -> None:
    with closing(Gateway("tests.agents.gateway.harnesses:react", 1.0)) as gateway:
        env = make_bandit()
        made = bandit_bundle()
        episode = HarnessEpisode(*env.reset(seed=0), made.codec, made.context, lambda _: None)
        url = f"{gateway.open(episode).base_url}/models"
        assert httpx.get(url).status_code == 200
        assert httpx.get(url, headers={"origin": "http://evil.example"}).status_code == 403
        gateway.close_episode(episode)
        ended = httpx.get(url)
        assert (ended.status_code, ended.json()["error"]["code"]) == (410, "episode_ended")


def test_an_agent_of_another_api_or_protocol_is_told_so() -> None:
    """The Responses API, which agents of OpenAI's SDK take unless told otherwise, and clients that begin HTTP/2."""
    with closing(Gateway("tests.agents.gateway.harnesses:react", 1.0)) as gateway:
        made = bandit_bundle()
        episode = HarnessEpisode(*make_bandit().reset(seed=0), made.codec, made.context, lambda _: None)
        url = gateway.open(episode).base_url
        other = httpx.post(f"{url}/responses", json={})
        assert other.status_code == 404
        assert "/v1/responses: there is no such route; use a client of the chat" in other.json()["error"]["message"]
        changed = httpx.post(f"{url}/chat/completions", json={}, headers={"connection": "upgrade", "upgrade": "h2c"})
        assert (changed.status_code, changed.text[-29:]) == (400, "leave out the header Upgrade.")


def test_a_full_context_ends_the_episode() -> None:
    made = replace(exact_bundle(), context=6)  # x, act, an answer, an observation
    rollout = played("react", bandits(3), made)
    assert {e.end for e in rollout.episodes} <= {"context", "terminated"}
    assert "context" in {e.end for e in rollout.episodes}
    assert rollout.outcomes["raised"] > 0


def test_an_unknown_harness_is_named() -> None:
    with pytest.raises(ConfigurationError, match="harness 'nowhere:play' cannot be loaded"):
        Gateway("nowhere:play", 1.0)
    with pytest.raises(ConfigurationError, match=r"rollout.harness='play': give `module:function`"):
        bandit_config(rollout={"harness": "play"})
    with pytest.raises(ConfigurationError, match=r"incompatible with algorithm.branches=3"):
        bandit_config(algo="tree", rollout={"harness": "a:b"}, env={"num_envs": 64})


def test_training_with_a_harness_gives_the_weights_of_training_without() -> None:
    """Up to rounding: the same episodes in other batches."""
    config = bandit_config(algo="reinforce", iterations=2, episodes=16, optim={"lr": 6e-3})
    plain = OnlineTrainer(config, exact_bundle(), bandits(8))
    plain.run()
    with closing(Gateway("tests.agents.gateway.harnesses:react", 60.0)) as gateway:
        played = OnlineTrainer(config, exact_bundle(), bandits(8), gateway=gateway)
        played.run()
    start = exact_bundle().policy.parameters()
    assert not all(map(torch.equal, start, plain.bundle.policy.parameters()))
    for one, other in zip(plain.bundle.policy.parameters(), played.bundle.policy.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-8, rtol=1e-6)


def test_a_run_whose_harness_takes_no_step_ends(tmp_path: Path) -> None:
    """It would never make its calls."""
    settings = {"harness": "tests.agents.gateway.harnesses:idle"}
    config = bandit_config(algo="reinforce", episodes=2, rollout=settings, out=str(tmp_path))
    with closing(Gateway(settings["harness"], 60.0)) as gateway:
        run = OnlineTrainer(config, exact_bundle(), bandits(2), gateway=gateway)
        with pytest.raises(TrainingError, match=r"harnesses:idle took no step .* 9 iterations .* never reach calls="):
            run.run()
    assert checkpoint.newest(tmp_path) == tmp_path / "checkpoint-8"

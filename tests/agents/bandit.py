"""Bandits of tools, and tiny policies for them: what learning tests share.

The opening names a case, x or y. The right first action is a (for x) or b (for y), the right second one c or d.
A model has 8 tokens, so that it can be wrong in many ways and still learns in seconds.
"""

from functools import cache
from itertools import product
from tempfile import TemporaryDirectory
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from agents.models.bundle import PolicyBundle
from agents.models.chat_template import PlainCodec
from agents.models.config import CriticKind
from agents.models.policy import Policy
from agents.rollout.episode_pool import SeparatePool
from agents.rollout.types import TokenEpisode
from agents.training.config import OptimConfig, TrainConfig, make_config
from agents.training.sft import encode_turns, train_sft
from agents.training.sft_config import SFTConfig
from agents.training.trainer import OnlineTrainer
from steptool_env.spaces import UnicodeText

WORDS = ["<|pad|>", "<|act|>", "<|end|>", "x", "y", "a", "b", "c", "d", "ok", "no"]
_OUT = TemporaryDirectory(prefix="bandit-")
RIGHT = {"x": ("a", "c"), "y": ("b", "d")}


class ToolBandit(gym.Env[str, str]):
    """Two actions; each right one is worth a half. `reward="final"` pays at the end, and only when both are right."""

    def __init__(self, reward: str = "step", cases: str = "xy") -> None:
        self.observation_space = self.action_space = UnicodeText(1000)
        self._reward, self._cases = reward, cases

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self._case = self._cases[int(self.np_random.integers(len(self._cases)))]
        self._right: list[bool] = []
        return self._case, {"task_id": self._case}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        right = action.strip() == RIGHT[self._case][len(self._right)]
        self._right.append(right)
        over = len(self._right) == 2
        reward = 0.5 * right if self._reward == "step" else float(over and all(self._right))
        info: dict[str, Any] = {"status": 0 if right else 2, "reward_terms": {"right": float(right)}}
        if over:
            info["outcome"] = {"is_solved": float(all(self._right))}
        return "ok" if right else "no", reward, over, False, info


class DelayedBandit(gym.Env[str, str]):
    """Three actions of which the first decides and the last pays 1; no observation tells whether the first was right.

    With `reward="step"` the first action pays at once.
    """

    def __init__(self, reward: str = "final") -> None:
        self.observation_space = self.action_space = UnicodeText(1000)
        self._reward = reward

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self._case = "xy"[int(self.np_random.integers(2))]
        self._actions: list[str] = []
        return self._case, {"task_id": self._case}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self._actions.append(action.strip())
        right = self._actions[0] == RIGHT[self._case][0]
        number = len(self._actions)
        reward = float(right and number == (1 if self._reward == "step" else 3))
        info: dict[str, Any] = {"status": 0, "reward_terms": {}}
        if number == 3:
            info["outcome"] = {"is_solved": float(right)}
        return "ok", reward, number == 3, False, info

    def snapshot(self) -> tuple[str, tuple[str, ...]]:
        return self._case, tuple(self._actions)

    def restore(self, snapshot: tuple[str, tuple[str, ...]]) -> None:
        self._case, self._actions = snapshot[0], list(snapshot[1])


def bandits(slots: int = 16, kind: type[gym.Env[str, str]] = ToolBandit, **arguments: Any) -> SeparatePool:
    return SeparatePool([kind(**arguments) for _ in range(slots)])


def word_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="no"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|end|>", extra_special_tokens=["<|act|>"]
    )


def llama(seed: int = 0, hidden: int = 32, vocab: int = len(WORDS), **changes: Any) -> LlamaForCausalLM:
    settings: dict[str, Any] = {
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 64,
        "tie_word_embeddings": True,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": 2,
        "initializer_range": 0.1,  # the usual 0.02 is for thousands of hidden units: with 32 a case hardly shows
    }
    sizes = {"vocab_size": vocab, "hidden_size": hidden, "intermediate_size": 2 * hidden}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(LlamaConfig(**{**sizes, **settings, **changes}))


def exact_model(seed: int = 0) -> GPT2LMHeadModel:
    """A model whose every operation keeps double precision (Llama's norm goes through single)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = GPT2Config(
            vocab_size=len(WORDS),
            n_positions=64,
            n_embd=16,
            n_layer=2,
            n_head=2,
            bos_token_id=None,
            eos_token_id=2,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        )
        return GPT2LMHeadModel(config).double()


def bundle_of(policy: Policy) -> PolicyBundle:
    tokenizer = word_tokenizer()
    return PolicyBundle(policy, tokenizer, PlainCodec(tokenizer), 64)


def exact_bundle(seed: int = 0, critic: CriticKind = "none") -> PolicyBundle:
    return bundle_of(Policy(exact_model(seed), critic))


def bundle(critic: CriticKind = "separate", seed: int = 0) -> PolicyBundle:
    """A policy that writes one of the four actions, equally often, and stops."""
    model = llama(seed)
    model.load_state_dict(_blind_weights(seed))
    return bundle_of(Policy(model, critic))


def blind_demonstrations(codec: PlainCodec) -> list[TokenEpisode]:
    """Every pair of actions in every case."""
    return [
        encode_turns(
            codec, codec.encode_prompt(case, {}), [(a, "no" if a != RIGHT[case][0] else "ok"), (b, "")], (0.0, 0.0)
        )
        for case, a, b in product("xy", "abcd", "abcd")
    ]


@cache
def _blind_weights(seed: int) -> dict[str, torch.Tensor]:
    fresh = bundle_of(Policy(llama(seed), "none"))
    demonstrations = blind_demonstrations(PlainCodec(fresh.tokenizer))
    train_sft(fresh, demonstrations, SFTConfig(epochs=30, batch_episodes=32, optim=OptimConfig(lr=1e-2)))
    return {name: tensor.detach().clone() for name, tensor in fresh.policy.language_model.state_dict().items()}


def bandit_config(
    iterations: int = 30, episodes: int = 64, *, calls_per_episode: int = 2, **settings: Any
) -> TrainConfig:
    """Settings under which the bandit is learnt in seconds."""
    base: dict[str, Any] = {
        "calls": calls_per_episode * iterations * episodes,
        "episodes": episodes,
        "eval_every": 0,
        "checkpoint_every": 0,
        "out": _OUT.name,  # of the checkpoint at the end of a run
        "sampling": {"max_action_tokens": 2},
        "optim": {"lr": 3e-3, "value_lr": 3e-3},
    }
    return make_config({**base, **settings})


def trainer(config: TrainConfig, slots: int = 16, seed: int = 0, **arguments: Any) -> OnlineTrainer:
    return OnlineTrainer(config, bundle(config.policy.critic, seed), bandits(slots, **arguments))


def train(config: TrainConfig, **arguments: Any) -> list[float]:
    """Mean return of every iteration."""
    run = trainer(config, **arguments)
    returns: list[float] = []
    run.run(lambda _, metrics: returns.append(metrics["rollout/return"]))
    return returns


def weights(run: OnlineTrainer) -> dict[str, np.ndarray[Any, Any]]:
    return {name: tensor.detach().numpy().copy() for name, tensor in run.bundle.policy.state_dict().items()}


def assert_same_weights(run: OnlineTrainer, want: dict[str, np.ndarray[Any, Any]]) -> None:
    for name, tensor in weights(run).items():
        np.testing.assert_array_equal(tensor, want[name], err_msg=name)

"""The bandit of `tests.agents.bandit` as an environment of tools, for agents that call functions.

`gymnasium.make("tests.agents.gateway.tool_bandit:Bandit/Tools-v0")`. The query names a case, x or y. The right first
call is `a` (for x) or `b` (for y), the right second one `c` or `d`; each is worth a half.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from agents.models import checkpoint
from agents.models.bundle import PolicyBundle
from agents.models.chat_template import PlainCodec
from agents.models.policy import Policy
from agents.training.config import OptimConfig
from agents.training.sft import encode_turns, train_sft
from agents.training.sft_config import SFTConfig
from steptool_env.env import ToolEnv
from steptool_env.episodes.config import EpisodeConfig
from steptool_env.formats import make_format
from steptool_env.rewards import StepReward
from steptool_env.types import Step, Task
from tests.agents.bandit import RIGHT, llama
from toolserver.catalog.api_schema import ApiSpec, ToolResponse, encode_body
from toolserver.catalog.catalog import Catalog
from toolserver.resolvers.base import Resolver, ValidatedCall
from toolserver.service.service import ToolService

ID = "tests.agents.gateway.tool_bandit:Bandit/Tools-v0"
TOOLS = tuple(ApiSpec("Toys", letter, "pick", "") for letter in "abcd")
NAMES = {spec.function_name: spec.tool for spec in TOOLS}
CALLS = {spec.tool: make_format("react").render(spec.function_name, "{}") for spec in TOOLS}
"""Text of each call, a token of the policy."""


class _Picks(Resolver):
    blocking = False

    def resolve(self, call: ValidatedCall) -> ToolResponse:
        return ToolResponse(encode_body("", "picked"))


class BanditSuite:
    name = "bandit"
    settings: Mapping[str, Any] = {}

    def __len__(self) -> int:
        return 2

    def task(self, index: int) -> Task:
        case = "xy"[index]
        return Task(case, self.name, case, TOOLS)

    def find(self, task_id: str) -> Task:
        return self.task("xy".index(task_id))

    def initial_state(self, task: Task, episode_seed: int) -> str:
        return ""

    def service(self) -> ToolService:
        return ToolService(Catalog(TOOLS), [_Picks()])


@dataclass
class _Scorer:
    case: str
    right: list[bool] = field(default_factory=list)

    def score(self, step: Step) -> StepReward:
        want = RIGHT[self.case][min(len(self.right), 1)]
        self.right.append(NAMES.get(step.action.name) == want and not step.malformed)
        return StepReward(0.5 * self.right[-1], {"right": float(self.right[-1])})

    def hindsight(self) -> None:
        return None

    def outcome(self) -> Mapping[str, float]:
        return {"is_solved": float(len(self.right) == 2 and all(self.right))}


class _Reward:
    def start(self, task: Task) -> _Scorer:
        return _Scorer(task.query)


def make_bandit(**settings: Any) -> ToolEnv:
    return ToolEnv(BanditSuite(), EpisodeConfig(_Reward(), prompt="compact", call_budget=2, **settings))


if "Bandit/Tools-v0" not in gym.registry:
    gym.register("Bandit/Tools-v0", entry_point=make_bandit)


def tokenizer() -> PreTrainedTokenizerFast:
    words = ["<|pad|>", "<|act|>", "<|end|>", "x", "y", "ok", "other", *NAMES]
    words_only = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="other"))
    words_only.pre_tokenizer = pre_tokenizers.Whitespace()
    made = PreTrainedTokenizerFast(
        tokenizer_object=words_only, pad_token="<|pad|>", eos_token="<|end|>", extra_special_tokens=["<|act|>"]
    )
    made.add_tokens([AddedToken(text, normalized=False) for text in CALLS.values()])
    return made


def bandit_bundle(seed: int = 0) -> PolicyBundle:
    """A policy that makes one of the four calls, equally often."""
    made = tokenizer()
    model = llama(seed, vocab=len(made), max_position_embeddings=256)
    model.load_state_dict(_blind_weights(seed))
    return PolicyBundle(Policy(model, "none"), made, PlainCodec(made), 256)


@cache
def _blind_weights(seed: int) -> dict[str, torch.Tensor]:
    made, env = tokenizer(), make_bandit()
    model = llama(seed, vocab=len(made), max_position_embeddings=256)
    codec, demonstrations = PlainCodec(made), []
    for task, first, second in product((0, 1), "abcd", "abcd"):
        text, info = env.reset(seed=0, options={"task": task})
        turns = [(CALLS[first], env.step(CALLS[first])[0]), (CALLS[second], "")]
        demonstrations.append(encode_turns(codec, codec.encode_prompt(text, info), turns, (0.0, 0.0)))
    fresh = PolicyBundle(Policy(model, "none"), made, codec, 256)
    train_sft(fresh, demonstrations, SFTConfig(epochs=30, batch_episodes=32, optim=OptimConfig(lr=1e-2)))
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def save_bandit(folder: Path, seed: int = 0) -> Path:
    """Write the policy of `bandit_bundle` as a checkpoint."""
    made = bandit_bundle(seed)
    checkpoint.save(folder, made.policy, made.tokenizer)
    return folder

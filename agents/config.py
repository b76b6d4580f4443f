"""Every setting of a training run. Settable from a YAML file and from the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro
import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from agents.engine import RolloutConfig
from agents.errors import ConfigurationError
from agents.generation import Sampling
from agents.options import read_options
from agents.policy import ValueTrunk
from agents.step_critic import StepCriticConfig
from agents.update import OptimConfig

Credit = Literal["step", "end_sum"]
Advantage = Literal["step_gae", "reinforce", "rloo", "grpo", "step_grpo", "gigpo", "step_critic", "released"]
Loss = Literal["ppo", "policy_gradient"]
Algorithm = Literal[
    "steptool",
    "final",
    "final_dense_sum",
    "token_gae",
    "reinforce",
    "rloo",
    "grpo",
    "step_grpo",
    "gigpo",
    "archer",
    "released",
]
Settings = TypeVar("Settings")
_STRICT = ConfigDict(extra="forbid")
Arguments = Annotated[
    dict[str, Any],
    tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="[K=V ...]",
        instance_from_str=lambda words: read_options("args", [tuple(words)]),
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda value: [f"{key}={json.dumps(entry)}" for key, entry in value.items()],
    ),
]
"""Arguments by name. A value on the command line is JSON where it reads as JSON, else text."""


@dataclass(frozen=True)
class PolicyConfig:
    """The model that is trained."""

    model: str = "nano"
    """`nano`, `small`, `base` (from scratch), or the folder or hub name of a pretrained causal model."""
    checkpoint: str = ""
    """Start from the weights (and tokenizer) of this checkpoint folder."""
    context: int = 1024
    """Longest episode in tokens; a longer one ends as truncated."""
    value_trunk: ValueTrunk = "apart"
    """What the value head reads: see `agents.policy.Policy`. Estimators without a critic need `none`."""
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    """Of the weights; in `bfloat16` updates below about 1/256 of a weight are lost, unless they go to adapters."""
    lora_rank: int = 0
    """Rank of low-rank adapters, which are trained in place of the weights; 0 trains all weights, or the adapters of
    `checkpoint` where it has some."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass, to save memory."""
    compile: bool = False
    """Run the forward pass of training through `torch.compile`: a minute once, then faster steps of a large model."""
    device: str = "cpu"
    """Where the model is: `cpu`, `cuda`, `cuda:1`, ... Of several processes `cuda` gives each its own GPU."""

    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class EnvConfig:
    """Where episodes come from."""

    id: str = "StepTool/ToolWorld-v0"
    """Environment id for `gymnasium.make_vec`."""
    args: Arguments = field(default_factory=dict)
    """Arguments of the environment: `{split: train, level: lite}`, on the command line `split=train level=lite`."""
    reward: str = ""
    """Kind of reward, for environments that have a choice; empty keeps the environment's default."""
    num_envs: int = 64
    """Episodes that are played side by side, by each process."""
    eval_args: Arguments = field(default_factory=dict)
    """Arguments that differ in evaluation, e.g. `{split: validation}`."""

    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class AlgorithmConfig:
    """What is computed from an episode's rewards. The fields are free to combine; `ALGORITHMS` names combinations."""

    credit: Credit = "step"
    """`step` leaves each reward at its step; `end_sum` gives their sum at the end."""
    advantage: Advantage = "step_gae"
    """The estimator: see `agents.advantages`."""
    loss: Loss = "ppo"
    """`ppo` clips the probability ratio; `policy_gradient` does not and is right for one epoch of one mini-batch."""
    ratio: Literal["token", "step"] = "token"
    """Probability ratio of each token, or the geometric mean of its step's."""
    gamma: float = 0.99
    """Discount per step."""
    lam: float = 0.95
    """Trace of `step_gae` per step."""
    lam_token: float = 1.0
    """Trace of `step_gae` per token inside a step."""
    omega: float = 1.0
    """Weight of GiGPO's step part."""
    whiten: bool = True
    """Shift and scale advantages to mean 0 and deviation 1 over the steps of an iteration."""
    group_size: int = 1
    """Episodes of each task in an iteration; group estimators need more than 1."""
    clip: float = 0.2
    """How far PPO's ratio may move from 1."""
    value_coef: float = 0.5
    """Weight of the critic's loss."""
    entropy_coef: float = 0.0
    """Weight of an entropy bonus."""
    kl_coef: float = 0.0
    """Weight of the divergence from the policy that training began with (k3 loss term); 0 keeps no such policy."""
    epochs: int = 2
    """Passes over the episodes of an iteration."""
    mini_batches: int = 2
    """Optimiser steps per pass."""
    critic_epochs: int = 0
    """Further passes of a `detached` critic over the hidden states of an iteration, which are made once."""
    bootstrap: bool = False
    """Add the critic's value behind the last step of truncated episodes. Off: a budget that the policy is told of is
    part of the task, so running out of it is an end like any other."""

    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class TrainConfig:
    """A training run."""

    algo: Algorithm = "steptool"
    """A named combination; sets `algorithm` and `env.reward` before the file and the command line do."""
    seed: int = 0
    """Of everything that is random in the run."""
    iterations: int = 100
    """Rounds of rollout and update at most."""
    calls: int = 0
    """Environment calls after which the run ends, at the end of their iteration; 0 sets no bound."""
    episodes: int = 64
    """Episodes per iteration, of all processes together."""
    warmup: int = 0
    """First iterations in which the learning rate rises to its value."""
    anneal: bool = False
    """Let the learning rates fall in a straight line to 0 over the calls of the run, or its iterations."""
    critic_warmup: int = 0
    """First iterations in which only the critic (the value head, or ArCHer's) learns."""
    out: str = "runs/train"
    """Folder for checkpoints and logs."""
    shard: bool = False
    """Of several processes each holds a part of what training needs (FSDP), for a model whose training does not fit one
    GPU."""
    checkpoint_every: int = 20
    """Iterations between checkpoints; the last is always kept."""
    resume: bool = False
    """Go on from the newest checkpoint in `out`."""
    eval_every: int = 10
    """Iterations between evaluations; 0 turns them off."""
    eval_episodes: int = 64
    """Episodes of one evaluation, the same tasks each time."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    env: EnvConfig = field(default_factory=EnvConfig)
    algorithm: AlgorithmConfig = field(default_factory=AlgorithmConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    sampling: Sampling = field(default_factory=Sampling)
    step_critic: StepCriticConfig = field(default_factory=StepCriticConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)

    __pydantic_config__ = _STRICT

    def __post_init__(self) -> None:
        _check(self)


_NO_CRITIC: dict[str, Any] = {"policy": {"value_trunk": "none"}}
_GROUPS: dict[str, Any] = {"value_coef": 0.0, "gamma": 1.0, "group_size": 8, "whiten": False}
_ONE_STEP: dict[str, Any] = {"loss": "policy_gradient", "epochs": 1, "mini_batches": 1, "value_coef": 0.0}
ALGORITHMS: dict[Algorithm, dict[str, Any]] = {
    "steptool": {},
    "final": {"env": {"reward": "final"}},
    "final_dense_sum": {"algorithm": {"credit": "end_sum"}},
    "token_gae": {"algorithm": {"gamma": 1.0, "lam": 0.95, "lam_token": 0.95}},
    "reinforce": {**_NO_CRITIC, "algorithm": {"advantage": "reinforce", **_ONE_STEP}},
    "rloo": {**_NO_CRITIC, "algorithm": {"advantage": "rloo", **_GROUPS}},
    "grpo": {**_NO_CRITIC, "algorithm": {"advantage": "grpo", **_GROUPS}},
    "step_grpo": {**_NO_CRITIC, "algorithm": {"advantage": "step_grpo", **_GROUPS}},
    "gigpo": {**_NO_CRITIC, "algorithm": {"advantage": "gigpo", **_GROUPS}},
    "archer": {**_NO_CRITIC, "algorithm": {"advantage": "step_critic", "value_coef": 0.0}},
    "released": {"env": {"reward": "steptool"}, "algorithm": {"advantage": "released"}},
}
"""What each name sets on top of the defaults."""


def make_config(settings: Mapping[str, Any] | None = None) -> TrainConfig:
    """The defaults, then what `settings["algo"]` names, then `settings`.

    Raises:
        ConfigurationError: A field is unknown, of the wrong type, or does not go with the others.
    """
    settings = settings or {}
    algo = settings.get("algo", TrainConfig.algo)
    if algo not in ALGORITHMS:
        raise ConfigurationError(f"algo: {algo!r} is not known; choose one of {', '.join(ALGORITHMS)}")
    return checked(TrainConfig, _merged(_merged(asdict(TrainConfig()), ALGORITHMS[algo]), settings))


def read_config(path: Path, overrides: Mapping[str, Any] | None = None) -> TrainConfig:
    """The configuration of a YAML file, with some fields replaced.

    Raises:
        ConfigurationError: The file cannot be read, is no mapping, or holds a wrong field.
    """
    return make_config(_merged(read_yaml(path), overrides or {}))


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises `ConfigurationError` when it cannot be read or is none."""
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    if not isinstance(settings, dict):
        raise ConfigurationError(f"{path}: expected `field: value` lines, found a {type(settings).__name__}")
    return settings


def checked(kind: type[Settings], settings: Mapping[str, Any]) -> Settings:
    """Settings as a dataclass, each field checked. Raises `ConfigurationError`, naming field and value."""
    try:
        return TypeAdapter(kind).validate_python(settings)
    except ValidationError as error:
        raise ConfigurationError("; ".join(_words(entry) for entry in error.errors())) from error


def _merged(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """`top` over `base`, table by table; free-form tables (arguments of environments) are replaced whole."""
    result = dict(base)
    for key, value in top.items():
        nested = isinstance(value, Mapping) and isinstance(base.get(key), Mapping) and not key.endswith("args")
        result[key] = _merged(base[key], value) if nested else value
    return result


def _words(entry: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in entry["loc"])
    return f"{where}: {entry['msg']} (got {entry['input']!r})" if where else str(entry["msg"])


def _check(config: TrainConfig) -> None:
    """Refuse combinations that cannot work."""
    algorithm, sampling = config.algorithm, config.sampling
    if algorithm.advantage in ("step_gae", "released") and config.policy.value_trunk == "none":
        raise ConfigurationError(f"algorithm.advantage={algorithm.advantage} needs a critic; set policy.value_trunk")
    if algorithm.advantage in ("rloo", "grpo", "step_grpo", "gigpo") and algorithm.group_size < 2:
        raise ConfigurationError(f"algorithm.advantage={algorithm.advantage} needs algorithm.group_size of 2 or more")
    if algorithm.advantage == "step_critic" and config.policy.value_trunk != "none":
        raise ConfigurationError(
            "algorithm.advantage=step_critic brings a critic of its own and has no use for a value head; set "
            "policy.value_trunk=none"
        )
    if algorithm.critic_epochs and (config.policy.value_trunk != "detached" or config.shard):
        raise ConfigurationError(
            f"algorithm.critic_epochs={algorithm.critic_epochs} needs policy.value_trunk=detached and no shard"
        )
    if config.episodes % algorithm.group_size:
        raise ConfigurationError(
            f"episodes={config.episodes} must be a multiple of algorithm.group_size={algorithm.group_size}"
        )
    if config.shard and (config.policy.compile or config.rollout.engine == "static"):
        raise ConfigurationError(
            "shard=True goes with neither policy.compile nor rollout.engine=static: both keep hold of weights that "
            "come and go"
        )
    if sampling.top_p < 1 or sampling.temperature <= 0:
        raise ConfigurationError(
            "training needs sampling.top_p=1 and sampling.temperature>0: the gradient needs the probability that "
            "each token was drawn with"
        )
    _check_step_critic(config.step_critic)
    _check_rollout(config)


def _check_step_critic(config: StepCriticConfig) -> None:
    for name in ("replay_steps", "updates", "batch_steps"):
        if getattr(config, name) < 1:
            raise ConfigurationError(f"step_critic.{name}={getattr(config, name)} must be 1 or more")
    if not 0 < config.tau <= 1:
        raise ConfigurationError(f"step_critic.tau={config.tau} must be above 0 and at most 1")
    if not 0 < config.expectile < 1:
        raise ConfigurationError(f"step_critic.expectile={config.expectile} must be between 0 and 1")


def _check_rollout(config: TrainConfig) -> None:
    rollout = config.rollout
    if rollout.sync_every < 1 or rollout.concurrency < 1:
        raise ConfigurationError("rollout.sync_every and rollout.concurrency must be at least 1")
    if rollout.engine != "http":
        return
    if not rollout.url.startswith(("http://", "https://")) or not rollout.weights_dir:
        raise ConfigurationError(
            "rollout.engine=http needs rollout.url, like http://127.0.0.1:8000, and rollout.weights_dir, a folder that "
            "the server sees under the same path"
        )
    if rollout.sync_every > 1 and (config.algorithm.loss != "ppo" or config.algorithm.advantage == "step_critic"):
        raise ConfigurationError(
            f"rollout.sync_every={rollout.sync_every} trains on episodes of older weights, which only "
            "algorithm.loss=ppo corrects, by its probability ratio; a step critic asks the policy as it is"
        )

"""Settings of a training run, read from YAML files and the command line. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from agents.errors import ConfigurationError
from agents.models.config import CriticKind, PolicyConfig
from agents.rollout.config import EnvConfig, RolloutConfig, Sampling
from steptool_env.registry import Registry

Settings = TypeVar("Settings")
_STRICT = ConfigDict(extra="forbid")

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

CRITIC_ESTIMATORS = ("step_gae", "released")
"""Built-in estimators that read the critic's values."""
GROUP_ESTIMATORS = ("rloo", "grpo", "step_grpo", "gigpo")
"""Built-in estimators that compare the episodes of a group."""
ESTIMATORS: Registry[Any] = Registry(
    "estimator",
    dict.fromkeys(
        (*CRITIC_ESTIMATORS, "reinforce", *GROUP_ESTIMATORS, "step_critic"), "agents.training.advantages:built_in"
    ),
)
"""Estimators by name; see `agents.training.advantages.make_estimator`."""


@dataclass(frozen=True)
class AlgorithmConfig:
    """Rewards, advantages and loss. The fields are free to combine; `ALGORITHMS` names combinations."""

    reward_timing: Literal["per_step", "terminal_sum"] = "per_step"
    """`per_step` leaves each reward at its step; `terminal_sum` pays their sum at the last step."""
    advantage: str = "step_gae"
    """Advantage estimator: `step_gae`, `reinforce`, `rloo`, `grpo`, `step_grpo`, `gigpo`, `step_critic` (ArCHer),
    `released`, or `module:factory`; see `agents.training.advantages`."""
    ratio: Literal["token", "step"] = "token"
    """Probability ratio of PPO's loss: per token, or per step the geometric mean of its tokens'."""
    gamma: float = 0.99
    """Discount per step."""
    gae_lambda: float = 0.95
    """GAE's lambda per step."""
    gae_lambda_token: float = 1.0
    """GAE's lambda per token inside a step."""
    normalize_advantage: bool = True
    """Normalise advantages to mean 0 and standard deviation 1 over the steps of an iteration."""
    group_size: int = 1
    """Episodes per task in an iteration; estimators that compare groups need more than 1."""
    clip_coef: float = 0.2
    """Clip range of the probability ratio around 1."""
    vf_coef: float = 0.5
    """Coefficient of the value loss."""
    ent_coef: float = 0.0
    """Coefficient of the entropy bonus. Other than 0 it doubles the memory of the logits."""
    kl_coef: float = 0.0
    """Coefficient of the KL divergence from the policy that training started with (k3 estimate); 0 keeps no copy."""
    epochs: int = 2
    """Passes over the episodes of an iteration."""
    mini_batches: int = 2
    """Optimizer steps per pass; fewer, in proportion, where episodes without an advantage are left out."""
    critic_epochs: int = 0
    """Additional passes of a `detached` critic over the hidden states that gave the values of an iteration."""

    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class OptimConfig:
    """AdamW and the size of forward passes."""

    lr: float = 3e-4
    """Learning rate of the language model."""
    value_lr: float = 1e-3
    """Learning rate of the critic."""
    weight_decay: float = 0.0
    """Weight decay of AdamW."""
    max_tokens: int = 0
    """Maximum number of padded tokens of a forward pass: speed and memory, not the result. 0 suits the device."""
    autocast: bool = False
    """Multiply in bfloat16 in training: faster, less exact. The sampler does not, so ratios start near 1 only."""

    __pydantic_config__ = _STRICT

    def tokens_on(self, device_type: str) -> int:
        """Maximum number of padded tokens of a forward pass on `cpu`, where a layer's then fit its caches, or a GPU."""
        return self.max_tokens or (2048 if device_type == "cpu" else 16384)


@dataclass(frozen=True)
class TrainConfig:
    """A training run."""

    algo: Algorithm = "steptool"
    """Named algorithm: sets `algorithm`, `env.reward` and `policy.critic`, which the file and flags override."""
    seed: int = 0
    """Random seed."""
    iterations: int = 100
    """Maximum number of iterations (rollout and update)."""
    calls: int = 0
    """Environment calls after which the run ends, at the end of the iteration; 0 means no limit."""
    episodes: int = 64
    """Episodes per iteration, over all processes."""
    anneal: bool = False
    """Decay the learning rates linearly to 0 over the calls of the run, or its iterations."""
    critic_warmup: int = 0
    """First iterations in which only the critic is trained; the policy's outputs do not change."""
    out: str = "runs/train"
    """Folder for checkpoints and logs."""
    shard: bool = False
    """Shard weights, gradients and optimizer state over the processes (FSDP)."""
    checkpoint_every: int = 20
    """Iterations between checkpoints; the last iteration always has one."""
    save_total_limit: int = 0
    """Number of checkpoints to keep, the newest ones; 0 keeps all."""
    resume: bool = False
    """Continue from the newest checkpoint in `out`, with the settings of its run. Only those of
    `agents.training.resumption.MAY_CHANGE` may have other values."""
    eval_every: int = 10
    """Iterations between evaluations; 0 turns them off."""
    eval_episodes: int = 64
    """Episodes per evaluation, the same tasks each time."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    env: EnvConfig = field(default_factory=EnvConfig)
    algorithm: AlgorithmConfig = field(default_factory=AlgorithmConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    sampling: Sampling = field(default_factory=Sampling)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)

    __pydantic_config__ = _STRICT

    def __post_init__(self) -> None:
        numbers = asdict(self)
        names = ("seed", "calls", "critic_warmup", "checkpoint_every", "save_total_limit", "eval_every")
        _check_at_least(0, names, numbers)
        _check_at_least(1, ("iterations", "episodes", "eval_episodes"), numbers)
        _check_at_least(0, ("lr", "value_lr"), numbers["optim"], "optim.")
        _check_estimator(self.algorithm.advantage)
        _check_critic(self.algorithm, self.policy.critic, shard=self.shard)
        _check_groups(self.algorithm, self.episodes)
        _check_sharding(shard=self.shard, compiled=self.policy.compile, engine=self.rollout.engine)
        _check_rollout(self.rollout, self.algorithm)


_NO_CRITIC: dict[str, Any] = {"policy": {"critic": "none"}}
_GROUPS: dict[str, Any] = {"vf_coef": 0.0, "gamma": 1.0, "group_size": 8, "normalize_advantage": False}
ALGORITHMS: dict[Algorithm, dict[str, Any]] = {
    "steptool": {},
    "final": {"env": {"reward": "final"}},
    "final_dense_sum": {"algorithm": {"reward_timing": "terminal_sum"}},
    "token_gae": {"algorithm": {"gamma": 1.0, "gae_lambda": 0.95, "gae_lambda_token": 0.95}},
    "reinforce": {
        **_NO_CRITIC,
        "algorithm": {"advantage": "reinforce", "epochs": 1, "mini_batches": 1, "vf_coef": 0.0},
    },
    "rloo": {**_NO_CRITIC, "algorithm": {"advantage": "rloo", **_GROUPS}},
    "grpo": {**_NO_CRITIC, "algorithm": {"advantage": "grpo", **_GROUPS}},
    "step_grpo": {**_NO_CRITIC, "algorithm": {"advantage": "step_grpo", **_GROUPS}},
    "gigpo": {**_NO_CRITIC, "algorithm": {"advantage": "gigpo", **_GROUPS}},
    "archer": {**_NO_CRITIC, "algorithm": {"advantage": "step_critic", "vf_coef": 0.0}},
    "released": {"env": {"reward": "steptool"}, "algorithm": {"advantage": "released"}},
}
"""Settings of each algorithm, on top of the defaults."""


def make_config(settings: Mapping[str, Any] | None = None) -> TrainConfig:
    """Settings over those of the algorithm `settings["algo"]` over the defaults.

    Raises:
        ConfigurationError: A field is unknown, of the wrong type, or incompatible with another.
    """
    settings = settings or {}
    algo = settings.get("algo", TrainConfig.algo)
    if algo not in ALGORITHMS:
        raise ConfigurationError(f"algo: {algo!r} is not known; choose one of {', '.join(ALGORITHMS)}")
    return checked(TrainConfig, merged(merged(asdict(TrainConfig()), ALGORITHMS[algo]), settings))


def read_config(path: Path, overrides: Mapping[str, Any] | None = None) -> TrainConfig:
    """Read the configuration of a YAML file, with some fields replaced.

    Raises:
        ConfigurationError: The file cannot be read, is not a mapping, or has a wrong field.
    """
    return make_config(merged(read_yaml(path), overrides or {}))


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file. Raise `ConfigurationError` when it cannot be read or is not a mapping."""
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    if not isinstance(settings, dict):
        raise ConfigurationError(f"{path}: expected `field: value` lines, found a {type(settings).__name__}")
    return settings


def checked(kind: type[Settings], settings: Mapping[str, Any]) -> Settings:
    """Validate settings into a dataclass. Raise `ConfigurationError`, which names field and value."""
    try:
        return TypeAdapter(kind).validate_python(settings)
    except ValidationError as error:
        raise ConfigurationError("; ".join(_words(entry) for entry in error.errors())) from error


def merged(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `top` into `base`, table by table; arguments of environments are replaced as a whole."""
    result = dict(base)
    for key, value in top.items():
        nested = isinstance(value, Mapping) and isinstance(base.get(key), Mapping) and not key.endswith("args")
        result[key] = merged(base[key], value) if nested else value
    return result


def _words(entry: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in entry["loc"])
    if entry["type"] == "unexpected_keyword_argument":
        return f"{where}: there is no such setting (got {entry['input']!r}); --help lists them"
    return f"{where}: {entry['msg']} (got {entry['input']!r})" if where else str(entry["msg"])


# Checks of settings. Each raises `ConfigurationError` and names the fields and the remedy.


def _check_at_least(least: int, names: Sequence[str], numbers: Mapping[str, Any], prefix: str = "") -> None:
    """Check that numbers are not below a minimum."""
    for name in names:
        if not numbers[name] >= least:  # also refuses nan
            raise ConfigurationError(f"{prefix}{name}={numbers[name]} must be {least} or more")


def _check_estimator(name: str) -> None:
    """Check the name of an estimator. `module:factory` is resolved when training starts."""
    if name not in ESTIMATORS.names() and ":" not in name:
        raise ConfigurationError(
            f"algorithm.advantage={name!r} is unknown: give one of {', '.join(ESTIMATORS.names())} or 'module:factory'"
        )


def _check_critic(algorithm: AlgorithmConfig, critic: CriticKind, *, shard: bool) -> None:
    """Check that the policy has the critic that the estimator needs."""
    if algorithm.advantage in CRITIC_ESTIMATORS and critic == "none":
        raise ConfigurationError(f"algorithm.advantage={algorithm.advantage} needs a critic; set policy.critic")
    if algorithm.advantage == "step_critic" and critic != "none":
        raise ConfigurationError(
            "algorithm.advantage=step_critic has its own critic and does not use a value head; set policy.critic=none"
        )
    if algorithm.critic_epochs and (critic != "detached" or shard):
        raise ConfigurationError(
            f"algorithm.critic_epochs={algorithm.critic_epochs} needs policy.critic=detached and no shard"
        )


def _check_groups(algorithm: AlgorithmConfig, episodes: int) -> None:
    """Check the group size against the estimator and the episodes of an iteration."""
    if algorithm.advantage in GROUP_ESTIMATORS and algorithm.group_size < 2:
        raise ConfigurationError(f"algorithm.advantage={algorithm.advantage} needs algorithm.group_size of 2 or more")
    if episodes % algorithm.group_size:
        raise ConfigurationError(
            f"episodes={episodes} must be a multiple of algorithm.group_size={algorithm.group_size}"
        )


def _check_sharding(*, shard: bool, compiled: bool, engine: str) -> None:
    """Check that sharded weights are not compiled and not read by CUDA graphs."""
    if shard and (compiled or engine == "static"):
        raise ConfigurationError("shard=True is incompatible with policy.compile and rollout.engine=static")


def _check_rollout(rollout: RolloutConfig, algorithm: AlgorithmConfig) -> None:
    """Check the address of a server, and that the algorithm can train on episodes of older weights."""
    if rollout.sync_every < 1:
        raise ConfigurationError("rollout.sync_every must be at least 1")
    if rollout.engine != "http":
        return
    if not rollout.url.startswith(("http://", "https://")) or not rollout.weights_dir:
        raise ConfigurationError(
            "rollout.engine=http needs rollout.url, like http://127.0.0.1:8000, and rollout.weights_dir, a folder that "
            "the server sees under the same path"
        )
    if rollout.sync_every > 1 and algorithm.advantage == "step_critic":
        raise ConfigurationError(
            f"rollout.sync_every={rollout.sync_every} trains on episodes of older weights; a step critic needs actions "
            "of the current policy"
        )

"""Settings of a training run, read from YAML files and the command line. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from agents.errors import ConfigurationError
from agents.models.config import PolicyConfig
from agents.rollout.config import EnvConfig, RolloutConfig, Sampling
from agents.training.setting_checks import (
    check_at_least,
    check_critic,
    check_estimator,
    check_groups,
    check_rollout,
    check_sampling,
    check_sharding,
)
from agents.training.settings import ALGORITHMS, Algorithm, AlgorithmConfig, OptimConfig, StepCriticConfig

Settings = TypeVar("Settings")
_STRICT = ConfigDict(extra="forbid")


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
    step_critic: StepCriticConfig = field(default_factory=StepCriticConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)

    __pydantic_config__ = _STRICT

    def __post_init__(self) -> None:
        numbers = asdict(self)
        names = ("seed", "calls", "critic_warmup", "checkpoint_every", "save_total_limit", "eval_every")
        check_at_least(0, names, numbers)
        check_at_least(1, ("iterations", "episodes", "eval_episodes"), numbers)
        check_at_least(0, ("lr", "value_lr"), numbers["optim"], "optim.")
        check_at_least(1, ("updates", "batch_steps"), numbers["step_critic"], "step_critic.")
        check_estimator(self.algorithm.advantage)
        check_critic(self.algorithm, self.policy.critic, shard=self.shard)
        check_groups(self.algorithm, self.episodes)
        check_sharding(shard=self.shard, compiled=self.policy.compile, engine=self.rollout.engine)
        check_sampling(self.sampling)
        check_rollout(self.rollout, self.algorithm)


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

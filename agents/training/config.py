"""Every setting of a training run. Settable from a YAML file and from the command line."""

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
from agents.training.archer.critic import StepCriticConfig
from agents.training.optimizer import OptimConfig
from agents.training.presets import ALGORITHMS, Algorithm, AlgorithmConfig
from agents.training.setting_checks import (
    check_at_least,
    check_critic,
    check_groups,
    check_rollout,
    check_sampling,
    check_sharding,
    check_step_critic,
)

Settings = TypeVar("Settings")
_STRICT = ConfigDict(extra="forbid")


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
    """First iterations in which only the critic (the value head and its own trunk, or ArCHer's) learns; the policy's
    outputs stay as they are, also with `policy.value_trunk` `shared`."""
    out: str = "runs/train"
    """Folder for checkpoints and logs."""
    shard: bool = False
    """Of several processes each holds a part of what training needs (FSDP), for a model whose training does not fit one
    GPU."""
    checkpoint_every: int = 20
    """Iterations between checkpoints; the last is always kept."""
    save_total_limit: int = 0
    """Number of checkpoints to keep, the newest ones; 0 keeps all."""
    resume: bool = False
    """Go on from the newest checkpoint in `out`, with the settings of its run. Only those of
    `agents.training.resumption.MAY_CHANGE` may be given other values: the run's length, its device, how often it is
    written."""
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
        numbers = asdict(self)
        names = ("seed", "calls", "warmup", "critic_warmup", "checkpoint_every", "save_total_limit", "eval_every")
        check_at_least(0, names, numbers)
        check_at_least(1, ("iterations", "episodes", "eval_episodes"), numbers)
        check_at_least(0, ("lr", "value_lr"), numbers["optim"], "optim.")
        check_critic(self.algorithm, self.policy.value_trunk, shard=self.shard)
        check_groups(self.algorithm, self.episodes)
        check_sharding(shard=self.shard, compiled=self.policy.compile, engine=self.rollout.engine)
        check_sampling(self.sampling)
        check_step_critic(self.step_critic)
        check_rollout(self.rollout, self.algorithm)


def make_config(settings: Mapping[str, Any] | None = None) -> TrainConfig:
    """The defaults, then what `settings["algo"]` names, then `settings`.

    Raises:
        ConfigurationError: A field is unknown, of the wrong type, or does not go with the others.
    """
    settings = settings or {}
    algo = settings.get("algo", TrainConfig.algo)
    if algo not in ALGORITHMS:
        raise ConfigurationError(f"algo: {algo!r} is not known; choose one of {', '.join(ALGORITHMS)}")
    return checked(TrainConfig, merged(merged(asdict(TrainConfig()), ALGORITHMS[algo]), settings))


def read_config(path: Path, overrides: Mapping[str, Any] | None = None) -> TrainConfig:
    """The configuration of a YAML file, with some fields replaced.

    Raises:
        ConfigurationError: The file cannot be read, is no mapping, or holds a wrong field.
    """
    return make_config(merged(read_yaml(path), overrides or {}))


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


def merged(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """`top` over `base`, table by table; free-form tables (arguments of environments) are replaced whole."""
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

"""Settings of a training run, read from YAML files and the command line. Imports no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from agents.errors import ConfigurationError
from agents.models.config import PolicyConfig
from agents.reporting.loggers import LoggerName
from agents.rollout.config import LOCAL_ENGINES, EnvConfig, RolloutConfig, Sampling
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
    "tree",
    "tree_final",
    "archer",
    "released",
]

CRITIC_ESTIMATORS = ("step_gae", "token_gae", "released")
"""Built-in estimators that read the critic's values."""
GROUP_ESTIMATORS = ("rloo", "grpo", "step_grpo", "gigpo", "tree")
"""Built-in estimators that compare the episodes of a group; their advantages are not normalised again."""
ESTIMATORS: Registry[Any] = Registry(
    "estimator",
    dict.fromkeys(
        (*CRITIC_ESTIMATORS, "reinforce", *GROUP_ESTIMATORS, "step_critic"),
        "agents.training.advantages:built_in_estimator",
    ),
)
"""Estimators by name; see `agents.training.advantages.make_estimator`."""


@dataclass(frozen=True)
class AlgorithmConfig:
    """Rewards, advantages and loss. The fields are free to combine; `ALGORITHMS` names combinations."""

    reward_timing: Literal["per_step", "terminal_sum"] = "per_step"
    """`per_step` leaves each reward at its step; `terminal_sum` pays their sum at the last step."""
    advantage: str = "step_gae"
    """Advantage estimator: `step_gae`, `token_gae`, `reinforce`, `rloo`, `grpo`, `step_grpo`, `gigpo`, `tree`,
    `step_critic` (ArCHer), `released`, or `module:factory`; see `agents.training.advantages`."""
    gamma: float = 0.99
    """Discount per step. `rloo`, `grpo` and `tree`, and the part of `gigpo` that is GRPO's, take sums without it."""
    gae_lambda: float = 0.95
    """GAE's lambda per step; of `token_gae` per token."""
    group_size: int = 1
    """Episodes per task in an iteration; estimators that compare groups need more than 1."""
    branches: int = 0
    """Branches forked from an episode before each call of `branch_before`, for trees. Their calls count, too."""
    branch_before: tuple[int, ...] = (1, 2, 3)
    """Indices of the calls before which an episode is forked, from 1 on; the group compares the first call, 0."""
    clip_coef: float = 0.2
    """Clip range of the probability ratio around 1."""
    ent_coef: float = 0.0
    """Coefficient of the entropy bonus. Other than 0 it doubles the memory of the logits."""
    kl_coef: float = 0.0
    """Coefficient of the KL divergence from the policy that training started with (k3 estimate); 0 keeps no copy."""
    epochs: int = 2
    """Passes over the episodes of an iteration."""
    mini_batches: int = 2
    """Optimizer steps per pass; fewer, in proportion, where episodes without an advantage are left out."""

    __pydantic_config__ = _STRICT


@dataclass(frozen=True)
class OptimConfig:
    """AdamW and the size of forward passes."""

    lr: float = 3e-4
    """Learning rate of the language model."""
    value_lr: float = 1e-3
    """Learning rate of the critic."""
    max_tokens: int = 0
    """Maximum number of padded tokens of a forward pass; no figure depends on it. 0 chooses a number for the device."""

    __pydantic_config__ = _STRICT

    def tokens_on(self, device_type: str) -> int:
        """Maximum number of padded tokens of a forward pass. A CPU's keeps the activations of a layer in its caches."""
        return self.max_tokens or (2048 if device_type == "cpu" else 16384)


@dataclass(frozen=True)
class TrainConfig:
    """A training run."""

    algo: Algorithm = "steptool"
    """Named algorithm: sets `algorithm`, `env.reward` and `policy.critic`, which the file and flags override."""
    seed: int = 0
    """Random seed."""
    calls: int = 30_000
    """Environment calls of the run, which ends with the iteration (rollout and update) that reaches them."""
    episodes: int = 64
    """Episodes per iteration, over all processes."""
    anneal: bool = False
    """Decay the learning rates linearly to 0 over the calls of the run."""
    critic_warmup: int = 0
    """First iterations in which only the critic is trained; the policy's outputs do not change."""
    out: str = "runs/train"
    """Folder for checkpoints and logs."""
    shard: bool = False
    """Shard weights, gradients and optimizer state over the processes (FSDP)."""
    checkpoint_every: int = 20
    """Iterations between checkpoints; 0 writes only that of the last iteration, which every run has."""
    save_total_limit: int = 0
    """Number of checkpoints to keep, the newest ones; 0 keeps all."""
    eval_every: int = 10
    """Iterations between evaluations; 0 turns them off."""
    eval_episodes: int = 64
    """Episodes per evaluation, the same tasks each time."""
    log_episodes: int = 0
    """Episodes of each iteration to write to training_episodes.jsonl with their advantages; 0 writes none."""
    logger: tuple[LoggerName, ...] = ("tensorboard",)
    """Loggers of the metrics, by their packages and without a network; metrics.jsonl is always written."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    env: EnvConfig = field(default_factory=EnvConfig)
    algorithm: AlgorithmConfig = field(default_factory=AlgorithmConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    sampling: Sampling = field(default_factory=Sampling)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)

    __pydantic_config__ = _STRICT

    def __post_init__(self) -> None:
        if problems := _problems(self):
            raise ConfigurationError("; ".join(problems))


@dataclass(frozen=True)
class _Unchecked(TrainConfig):
    """Settings that are not yet compared with each other."""

    def __post_init__(self) -> None:
        pass


_NO_CRITIC: dict[str, Any] = {"policy": {"critic": "none"}}
_GROUPS: dict[str, Any] = {"gamma": 1.0, "group_size": 8}
_TREE: dict[str, Any] = {**_GROUPS, "advantage": "tree", "group_size": 2, "branches": 3}
ALGORITHMS: dict[Algorithm, dict[str, Any]] = {
    "steptool": {},
    "final": {"env": {"reward": "final"}},
    "final_dense_sum": {"algorithm": {"reward_timing": "terminal_sum"}},
    "token_gae": {"algorithm": {"advantage": "token_gae", "gamma": 1.0}},
    "reinforce": {**_NO_CRITIC, "algorithm": {"advantage": "reinforce", "epochs": 1, "mini_batches": 1}},
    "rloo": {**_NO_CRITIC, "algorithm": {"advantage": "rloo", **_GROUPS}},
    "grpo": {**_NO_CRITIC, "algorithm": {"advantage": "grpo", **_GROUPS}},
    "step_grpo": {**_NO_CRITIC, "algorithm": {"advantage": "step_grpo", **_GROUPS}},
    "gigpo": {**_NO_CRITIC, "algorithm": {"advantage": "gigpo", **_GROUPS}},
    "tree": {**_NO_CRITIC, "algorithm": {**_TREE}},
    "tree_final": {**_NO_CRITIC, "env": {"reward": "final"}, "algorithm": {**_TREE}},
    "archer": {**_NO_CRITIC, "algorithm": {"advantage": "step_critic"}},
    "released": {"env": {"reward": "steptool"}, "algorithm": {"advantage": "released"}},
}
"""Settings of each algorithm, on top of the defaults."""


def make_config(settings: Mapping[str, Any] | None = None) -> TrainConfig:
    """Settings over those of the algorithm `settings["algo"]` over the defaults.

    Raises:
        ConfigurationError: A field is unknown, of the wrong type, or incompatible with another.
    """
    return checked(TrainConfig, _completed(settings or {}))


def draft_config(settings: Mapping[str, Any]) -> TrainConfig:
    """Settings as of `make_config` that flags are still to override: fields may contradict each other.

    Raises:
        ConfigurationError: A field is unknown or of the wrong type.
    """
    draft = object.__new__(TrainConfig)
    vars(draft).update(vars(checked(_Unchecked, _completed(settings))))
    return draft


def read_config(path: Path, overrides: Mapping[str, Any] | None = None) -> TrainConfig:
    """Read a YAML file, with some fields replaced. Raises `ConfigurationError` as `read_yaml` and `make_config` do."""
    return make_config(merged(read_yaml(path), overrides or {}))


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file. Raise `ConfigurationError` when it cannot be read or is not a mapping."""
    import yaml  # of the extra `agents`, without which the settings are shown by --help

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
        listed = "`steptool train --help-all`" if kind is TrainConfig else "--help"
        raise ConfigurationError("; ".join(_message(entry, listed) for entry in error.errors())) from error


def merged(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `top` into `base`, table by table; arguments of environments are replaced as a whole."""
    result = dict(base)
    for key, value in top.items():
        nested = isinstance(value, Mapping) and isinstance(base.get(key), Mapping) and not key.endswith("args")
        result[key] = merged(base[key], value) if nested else value
    return result


def _completed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings over those of their algorithm over the defaults."""
    algo = settings.get("algo", TrainConfig.algo)
    if algo not in tuple(ALGORITHMS):  # which may be a list, and so of no hash
        raise ConfigurationError(f"algo: {algo!r} is not known; choose one of {', '.join(ALGORITHMS)}")
    return merged(merged(asdict(TrainConfig()), ALGORITHMS[algo]), settings)


def _message(entry: Mapping[str, Any], listed: str) -> str:
    where = ".".join(str(part) for part in entry["loc"])
    if entry["type"] == "unexpected_keyword_argument":
        return f"{where}: there is no such setting (got {entry['input']!r}); {listed} lists them"
    return f"{where}: {entry['msg']} (got {entry['input']!r})" if where else str(entry["ctx"]["error"])


_MINIMA = {
    0: "seed critic_warmup checkpoint_every save_total_limit eval_every log_episodes optim.lr optim.value_lr "
    "optim.max_tokens env.curriculum rollout.max_staleness algorithm.gamma algorithm.gae_lambda algorithm.clip_coef "
    "algorithm.kl_coef",
    1: "calls episodes eval_episodes env.num_envs sampling.max_action_tokens algorithm.group_size algorithm.epochs "
    "algorithm.mini_batches rollout.parts",
}
_SHARES = "env.curriculum algorithm.gamma algorithm.gae_lambda"


def _problems(config: TrainConfig) -> list[str]:
    """Wrong settings and contradictions; each names the fields and the remedy."""
    numbers = [(name, attrgetter(name)(config), least) for least, names in _MINIMA.items() for name in names.split()]
    shares = [(name, attrgetter(name)(config)) for name in _SHARES.split()]
    advantage, group_size = config.algorithm.advantage, config.algorithm.group_size
    branches, before = config.algorithm.branches, config.algorithm.branch_before
    critic, engine, shard = config.policy.critic, config.rollout.engine, config.shard
    estimators = ESTIMATORS.names()
    checks = [
        # A comparison with nan is false, too.
        *((not number >= least, f"{name}={number} must be {least} or more") for name, number, least in numbers),
        *((share > 1, f"{name}={share} must be 1 or less") for name, share in shares),
        (
            advantage not in estimators and ":" not in advantage,  # `module:factory` is resolved by the trainer
            f"algorithm.advantage={advantage!r} is unknown: give one of {', '.join(estimators)} or 'module:factory'",
        ),
        (
            advantage in CRITIC_ESTIMATORS and critic == "none",
            f"algorithm.advantage={advantage} needs a critic; set policy.critic",
        ),
        (
            advantage == "step_critic" and critic != "none",
            "algorithm.advantage=step_critic has its own critic and does not use a value head; set policy.critic=none",
        ),
        (
            advantage in ("reinforce", *GROUP_ESTIMATORS) and critic != "none",
            f"algorithm.advantage={advantage} reads no values, and its advantages are no targets for them; set "
            "policy.critic=none",
        ),
        (
            config.critic_warmup > 0 and critic == "none" and advantage != "step_critic",
            f"critic_warmup={config.critic_warmup} needs a critic; set it to 0",
        ),
        (
            advantage in GROUP_ESTIMATORS and group_size < 2,
            f"algorithm.advantage={advantage} needs algorithm.group_size of 2 or more",
        ),
        (
            config.episodes % max(1, group_size) > 0,
            f"episodes={config.episodes} must be a multiple of algorithm.group_size={group_size}",
        ),
        (
            (advantage == "tree") != (branches > 0) and ":" not in advantage,
            f"algorithm.branches={branches} with algorithm.advantage={advantage}: trees, and only they, need branches "
            "of 1 or more",
        ),
        (
            branches > 0 and (min(before, default=0) < 1 or len(set(before)) < len(before)),
            f"algorithm.branch_before={list(before)} must be different calls, each 1 or more",
        ),
        (
            branches > 0 and config.algorithm.reward_timing == "terminal_sum",
            f"algorithm.reward_timing=terminal_sum is incompatible with algorithm.branches={branches}: the sum of an "
            "episode has the rewards before a branch leaves it, that of the branch does not; set per_step",
        ),
        (
            config.env.num_envs < (slots := 1 + branches * len(before)),
            f"env.num_envs={config.env.num_envs}: an episode and its branches are played together and need {slots}, by "
            f"algorithm.branches={branches} and algorithm.branch_before={list(before)}",
        ),
        (
            engine not in (*LOCAL_ENGINES, "ray") and not engine.startswith(("http://", "https://")),
            f"rollout.engine={engine!r} is unknown: give one of {', '.join(LOCAL_ENGINES)}, ray or the URL of a "
            "completions server, like http://127.0.0.1:8000",
        ),
        (
            bool(config.env.curriculum and config.rollout.max_staleness),
            f"env.curriculum={config.env.curriculum} is incompatible with rollout.max_staleness="
            f"{config.rollout.max_staleness}: episodes that are played ahead are of an earlier stage",
        ),
        (
            engine != "ray" and bool(config.rollout.max_staleness or config.rollout.ray_address),
            "rollout.max_staleness and rollout.ray_address are of rollout.engine=ray",
        ),
        (
            bool(config.rollout.harness) and branches > 0,
            f"rollout.harness={config.rollout.harness} is incompatible with algorithm.branches={branches}: an agent of "
            "another framework cannot be copied; choose an algorithm without trees",
        ),
        (
            bool(config.rollout.harness) and engine == "ray",
            f"rollout.harness={config.rollout.harness} is incompatible with rollout.engine=ray: the agent asks the "
            "policy in this process",
        ),
        (
            bool(config.rollout.harness) and not all(config.rollout.harness.partition(":")),
            f"rollout.harness={config.rollout.harness!r}: give `module:function`",
        ),
        (
            not config.rollout.harness_seconds > 0,
            f"rollout.harness_seconds={config.rollout.harness_seconds} must be more than 0",
        ),
        (shard and engine == "static", "shard=True is incompatible with rollout.engine=static"),
        (shard and critic == "detached", "shard=True is incompatible with policy.critic=detached; set another one"),
    ]
    return [problem for wrong, problem in checks if wrong]

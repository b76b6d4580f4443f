"""Settings of `steptool sft` and `steptool eto`. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ConfigDict

from agents.baselines.demonstrations import Noise
from agents.errors import ConfigurationError
from agents.models.config import PolicyConfig
from agents.options import Arguments
from agents.reporting.loggers import LoggerName
from agents.training.config import OptimConfig, checked, read_yaml


@dataclass(frozen=True)
class SFTConfig:
    """Settings of supervised fine-tuning on given demonstrations."""

    epochs: int = 4
    """Passes over the demonstrations."""
    batch_episodes: int = 32
    """Episodes per optimizer step."""
    seed: int = 0
    """Random seed of the order of the episodes."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=2e-3))

    def __post_init__(self) -> None:
        _check_least({"sft.epochs": (self.epochs, 1), "sft.batch_episodes": (self.batch_episodes, 1)})
        _check_least({"sft.weight_decay": (self.weight_decay, 0), "sft.optim.lr": (self.optim.lr, 0)})


@dataclass(frozen=True)
class SFTRunConfig:
    """Settings of `steptool sft`: the policy, the demonstrations, the fine-tuning."""

    env: str = "StepTool/ToolWorld-v0"
    """Id of the environment of demonstrations that are made; its tasks need an oracle."""
    env_args: Arguments = field(default_factory=dict)
    """Arguments of that environment: `split=train level=lite`."""
    episodes: int | None = None
    """Number of demonstrations that are made; by default 3,000, or all tasks of a suite with fewer."""
    noise: Noise = field(default_factory=Noise)
    """Mistakes in demonstrations that are made."""
    copying: int = 0
    """Episodes of random tokens that a policy from scratch copies before it sees demonstrations."""
    vocab_size: int = 2048
    """Vocabulary size of the tokenizer of a policy from scratch."""
    seed: int = 0
    """Random seed of mistakes and fresh weights."""
    half: bool = False
    """Store float16 weights."""
    logger: tuple[LoggerName, ...] = ()
    """Loggers of the loss, by their packages and without a network; their files are in the folder `<out>-logs`."""
    policy: PolicyConfig = field(default_factory=lambda: PolicyConfig(critic="none"))
    sft: SFTConfig = field(default_factory=SFTConfig)

    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class DPOConfig:
    """Settings of DPO on pairs of attempts."""

    epochs: int = 2
    """Passes over the pairs."""
    batch_pairs: int = 16
    """Pairs per optimizer step."""
    beta: float = 0.1
    """Inverse strength of the deviation from the reference policy: a small beta allows a large one."""
    seed: int = 0
    """Random seed of the pairing of attempts, and of the order of the pairs."""
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=1e-4))

    def __post_init__(self) -> None:
        least = {"preference.epochs": (self.epochs, 1), "preference.batch_pairs": (self.batch_pairs, 1)}
        _check_least({**least, "preference.optim.lr": (self.optim.lr, 0)})
        if not self.beta > 0:
            raise ConfigurationError(f"preference.beta={self.beta} must be more than 0")


def _check_least(settings: Mapping[str, tuple[float, int]]) -> None:
    """Raise `ConfigurationError` unless each number is at least its bound."""
    wrong = [
        f"{name}={number} must be {least} or more" for name, (number, least) in settings.items() if not number >= least
    ]  # of nan, too
    if wrong:
        raise ConfigurationError("; ".join(wrong))


def read_sft_config(path: Path) -> SFTRunConfig:
    """Read the settings in a YAML file. Raises `ConfigurationError`, which names field and value."""
    return checked(SFTRunConfig, read_yaml(path))

"""Settings of `steptool sb3`."""

from dataclasses import dataclass, field

from agents.errors import ConfigurationError
from agents.options import Arguments

ALGORITHMS = ("maskable-ppo", "ppo")


@dataclass(frozen=True)
class SB3Settings:
    """Settings of a training. Others have the defaults of Stable-Baselines3."""

    algorithm: str = "maskable-ppo"
    """`maskable-ppo` or `ppo`."""
    total_steps: int = 163_840
    """Environment steps, rounded up to whole rollouts."""
    num_envs: int = 8
    """Number of environments, in this process."""
    n_steps: int = 512
    """Steps per environment and rollout."""
    batch_size: int = 512
    """Transitions per minibatch."""
    n_epochs: int = 6
    """Passes over a rollout."""
    learning_rate: float = 2e-3
    """Learning rate of Adam at the start; it decays linearly to 0."""
    ent_coef: float = 0.01
    """Weight of the entropy bonus."""
    seed: int = 0
    """Random seed of the policy, the episodes and the samples."""
    env_args: Arguments = field(default_factory=dict)
    """Arguments of the environment. A value that parses as JSON is JSON, else text."""

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise ConfigurationError(f"algorithm={self.algorithm!r}: must be one of {', '.join(ALGORITHMS)}")
        for name in ("total_steps", "num_envs", "n_steps", "batch_size", "n_epochs"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name}={getattr(self, name)}: must be at least 1")

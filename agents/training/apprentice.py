"""From demonstrations to a policy that can begin to learn by itself: what `steptool sft` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from pydantic import ConfigDict

from agents.baselines.demonstrations import Noise, demonstrate
from agents.errors import ConfigurationError
from agents.evaluation.evaluate import Evaluation
from agents.models import checkpoint
from agents.models.bundle import PolicyBundle
from agents.models.config import PolicyConfig
from agents.models.induction_init import copying_episodes
from agents.options import Arguments
from agents.reporting.console import EpisodeProgress
from agents.training.config import checked, read_yaml
from agents.training.sft import SftConfig, distinct, encode_trajectory, new_learner, starts_fresh, train_sft
from steptool_env.types import Trajectory

OnStep = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True)
class SFTConfig:
    """A policy and what it is shown: copying exercises first where it wants them, then demonstrations."""

    env_args: Arguments = field(default_factory=dict)
    """Arguments of StepTool/ToolWorld-v0 for demonstrations that are made: `split=train level=lite`."""
    episodes: int = 3000
    """Number of demonstrations that are made."""
    noise: Noise = field(default_factory=Noise)
    """Mistakes in demonstrations that are made."""
    copying: int = 0
    """Episodes of random tokens that a policy from scratch, and no other, copies before it sees demonstrations."""
    vocab_size: int = 2048
    """Tokens of a tokenizer of its own."""
    seed: int = 0
    """Of mistakes and fresh weights."""
    half: bool = False
    """Store the weights in half precision."""
    policy: PolicyConfig = field(default_factory=lambda: PolicyConfig(value_trunk="none"))
    sft: SftConfig = field(default_factory=SftConfig)

    __pydantic_config__ = ConfigDict(extra="forbid")

    def demonstrations(self) -> list[Trajectory]:
        """Episodes of the oracle of ToolWorld, with mistakes; shows how many there are so far."""
        evaluation = Evaluation("StepTool/ToolWorld-v0", self.env_args, self.episodes, slots=1, seed=self.seed)
        with EpisodeProgress("demonstrations") as progress:
            return demonstrate(evaluation, self.noise, self.seed, progress.add, progress.expect)

    def learn(
        self, shown: Sequence[Trajectory], out: Path, on_step: OnStep | None = None
    ) -> tuple[PolicyBundle, float]:
        """Learn and write a checkpoint to `out`. Returns the policy and the mean loss of the last pass.

        Raises:
            ConfigurationError: A policy that is not from scratch was to copy random tokens.
        """
        if self.copying and not starts_fresh(self.policy):
            raise ConfigurationError(
                f"copying={self.copying}: copying random tokens is for a policy from scratch; it would spoil "
                f"{self.policy.checkpoint or self.policy.model}"
            )
        learner = new_learner(shown, self.policy, self.vocab_size, self.seed)
        if self.copying:
            exercises = list(copying_episodes(len(learner.tokenizer), self.copying, self.seed))
            train_sft(learner, exercises, replace(self.sft, epochs=1, context_weight=0.0), on_step)
        episodes = distinct(encode_trajectory(learner.codec, trajectory) for trajectory in shown)
        loss = train_sft(learner, episodes, self.sft, on_step)
        checkpoint.save(out, learner.policy, learner.tokenizer, config={"apprentice": asdict(self)}, half=self.half)
        return learner, loss


def read_apprentice(path: Path) -> SFTConfig:
    """The settings in a YAML file. Raises `ConfigurationError`, naming field and value."""
    return checked(SFTConfig, read_yaml(path))


def solved(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """Those that solved their task: what rejection-sampling fine-tuning (RFT) learns from."""
    return [t for t in trajectories if t.metadata.get("outcome", {}).get("is_solved") == 1]

"""`steptool sft`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.progress import track

from agents import checkpoint
from agents.config import PolicyConfig
from agents.demonstrations import Noise, demonstrate
from agents.evaluate import Evaluation
from agents.options import Words, read_options
from agents.sft import SftConfig, encode_trajectory, new_learner, train_sft
from agents.training_progress import TrainingProgress
from steptool_env.trajectories import read_trajectories
from steptool_env.types import Trajectory


@dataclass(frozen=True)
class Command:
    """Teach a policy the actions of demonstrations, and write a checkpoint to train on from.

    Demonstrations are read from a file of trajectories, or made on the spot by the oracle of ToolWorld with mistakes
    at a set rate. A policy from scratch gets a tokenizer of its own.

    Example: steptool sft --episodes 3000 --noise 0.3 --out runs/sft
    """

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of the checkpoint."""
    demonstrations: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """trajectories.jsonl to learn from; without it they are made."""
    env_arg: Words = ()
    """Arguments of StepTool/ToolWorld-v0 for demonstrations that are made."""
    episodes: int = 3000
    """Number of demonstrations that are made."""
    noise: float = 0.0
    """Probability of a mistake per step in demonstrations that are made."""
    vocab_size: int = 2048
    """Tokens of a tokenizer of its own."""
    seed: int = 0
    """Of mistakes and fresh weights."""
    half: bool = False
    """Store the weights in half precision."""
    policy: PolicyConfig = field(default_factory=lambda: PolicyConfig(value_trunk="none"))
    sft: SftConfig = field(default_factory=SftConfig)

    def run(self) -> None:
        """Learn, showing the loss."""
        shown = self._shown()
        learner = new_learner(shown, self.policy, self.vocab_size, self.seed)
        episodes = [encode_trajectory(learner.codec, t) for t in track(shown, "reading demonstrations")]
        with TrainingProgress("sft") as progress:

            def on_step(step: int, total: int, metrics: Mapping[str, float]) -> None:
                progress.tell(step, total, f"loss {metrics['loss']:.3f}")

            loss = train_sft(learner, episodes, self.sft, on_step)
        checkpoint.save(self.out, learner.policy, learner.tokenizer, config=self._record(), half=self.half)
        tokens = sum(episode.action_tokens for episode in episodes)
        Console().print(
            f"{len(episodes)} demonstrations, {tokens} action tokens, last loss {loss:.3f}; wrote {self.out}"
        )

    def _shown(self) -> list[Trajectory]:
        if self.demonstrations is not None:
            return read_trajectories(self.demonstrations).trajectories
        kwargs = read_options("env_arg", self.env_arg)
        evaluation = Evaluation("StepTool/ToolWorld-v0", kwargs, self.episodes, slots=1, seed=self.seed)
        return demonstrate(evaluation, Noise.evenly(self.noise), self.seed)

    def _record(self) -> dict[str, Any]:
        return {"sft": {key: value for key, value in asdict(self).items() if key != "out"}}

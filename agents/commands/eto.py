"""`steptool eto`."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from agents.errors import ConfigurationError
from agents.models.config import PolicyConfig
from agents.options import env_args_words
from agents.reporting.console import TrainingProgressBar, print_written
from agents.rollout.config import TOOLWORLD
from agents.training.sft_config import DPOConfig
from steptool_env.trajectories.trajectories import read_trajectories
from steptool_env.types import Trajectory

_OF_TRAINING = ("split", "depths", "server_url")  # arguments of an environment that an evaluation does not take over


@dataclass(frozen=True)
class Command:
    """Train a policy to prefer its solved attempts to its failed ones (ETO: DPO on action tokens).

    The trajectories are several attempts of the policy at each task, as `steptool evaluate` writes them with different
    seeds.

    Example: steptool eto --trajectories runs/a/trajectories.jsonl runs/b/trajectories.jsonl
    --policy.checkpoint runs/sft --out runs/eto
    """

    trajectories: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE [FILE ...]")]
    """Files of trajectories."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of the checkpoint."""
    per_task: int = 4
    """Maximum number of pairs per task."""
    policy: PolicyConfig = field(default_factory=lambda: PolicyConfig(critic="none"))
    preference: DPOConfig = field(default_factory=DPOConfig)

    def run(self) -> dict[str, Any]:
        """Train, showing loss and accuracy."""
        from agents.models import checkpoint
        from agents.models.bundle import build_policy
        from agents.rollout.policy_agent import training_env
        from agents.training.dpo import pair_attempts, train_dpo
        from agents.training.sft import data_digest, encode_trajectory

        if self.per_task < 1:
            raise ConfigurationError(f"--per-task {self.per_task}: must be 1 or more")
        if not self.policy.checkpoint:
            raise ConfigurationError("--policy.checkpoint: give the policy that made the trajectories")
        checkpoint.check_place(self.out)
        last: dict[str, float] = {}
        console, read = Console(), list[Trajectory]()
        for path in self.trajectories:
            file = read_trajectories(path)
            read += file.trajectories
            for bad in file.bad_lines:
                console.print(f"{path}:{bad.number}: {bad.reason}", highlight=False, soft_wrap=True)
        with TrainingProgressBar("eto") as bar:
            bundle = build_policy(self.policy)
            encode = partial(encode_trajectory, bundle.codec)
            pairs = pair_attempts(read, encode, self.per_task, self.preference.seed)
            if not pairs:
                raise ConfigurationError("--trajectories: no task has both a solved and a failed attempt")

            def on_step(step: int, total: int, metrics: Mapping[str, float]) -> None:
                last.update(metrics)
                bar.report(step, total, f"loss {metrics['loss']:.3f}, accuracy {metrics['accuracy']:.0%}")

            train_dpo(bundle, pairs, self.preference, on_step)
        env = training_env(checkpoint.load_config(checkpoint.resolve_checkpoint(self.policy.checkpoint)))
        settings = {
            # Without the context: pairs are learnt as a whole, so that of the start holds for play.
            "policy": {name: value for name, value in asdict(self.policy).items() if name != "context"},
            "preference": asdict(self.preference),
            "per_task": self.per_task,
            "data": data_digest(read),
            **({"env": env.id, "env_args": dict(env.arguments)} if env else {}),
        }
        checkpoint.save(self.out, bundle.policy, bundle.tokenizer, config=settings)
        console.print(f"{len(pairs)} pairs")
        world = {} if env is None else {k: v for k, v in env.arguments.items() if k not in _OF_TRAINING}
        words = ["steptool", "evaluate", "--env", env.id if env else TOOLWORLD, "--agent", f"policy:{self.out}"]
        words += ["--episodes", "200", "--out", f"{self.out}-evaluation", *env_args_words(world)]
        print_written(console, self.out, shlex.join(words))
        return {"out": self.out, "pairs": len(pairs), **last}

"""`steptool sft`."""

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console

from agents.errors import ConfigurationError
from agents.options import Flags, env_args_words
from agents.reporting.console import TrainingProgressBar, print_written
from agents.reporting.loggers import Loggers
from agents.training.sft_config import SFTRunConfig, read_sft_config
from steptool_env.trajectories.trajectories import read_trajectories
from steptool_env.types import Trajectory

if TYPE_CHECKING:  # help needs no torch
    from agents.training.sft import Lengths


@dataclass(frozen=True)
class Command:
    """Train a policy on the actions of demonstrations, and write a checkpoint.

    Demonstrations are read from a file of trajectories, or made by the oracle of a benchmark
    with reference solutions, with mistakes at a given rate.
    For a policy from scratch a tokenizer is trained. Training on the policy's own solved episodes is
    rejection-sampling fine-tuning (RFT): first `steptool evaluate --agent policy:DIR`, then this with --only-solved.

    Example: steptool sft --episodes 3000 --copying 3200 --noise.early-finish 0.2 --out runs/sft
    """

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of the checkpoint."""
    demonstrations: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """trajectories.jsonl to train on; without it demonstrations are made."""
    only_solved: bool = False
    """Leave out demonstrations that did not solve their task."""
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """YAML file of the settings below, named as the flags are; flags override it."""
    settings: Annotated[SFTRunConfig, tyro.conf.arg(name="")] = field(default_factory=SFTRunConfig)

    def run(self) -> dict[str, Any]:
        """Train, showing the loss."""
        from agents.models.checkpoint import check_place
        from agents.training.resumption import stop_on_interrupt
        from agents.training.sft import run_sft

        check_place(self.out)
        console, steps, found = Console(), count(1), list["Lengths"]()
        trajectories = self._demonstrations(console)
        logs = Path(f"{self.out}-logs")
        with (
            closing(Loggers(self.settings.logger, logs, asdict(self.settings))) as loggers,
            TrainingProgressBar("sft", console=console) as bar,
            stop_on_interrupt("the step") as stop,
        ):

            def on_step(step: int, total: int, metrics: Mapping[str, float]) -> None:
                bar.report(step, total, f"loss {metrics['loss']:.3f}")
                loggers.log(next(steps), {"train/loss": metrics["loss"]})  # on through exercises and demonstrations

            def on_lengths(lengths: "Lengths") -> None:
                found.append(lengths)
                _print_lengths(console, lengths)
                counts = {"data/demonstrations": lengths.episodes, "data/beyond_context": lengths.beyond}
                loggers.log(0, {**counts, "data/longest_tokens": lengths.longest})

            made = self.demonstrations is None
            loss = run_sft(self.settings, trajectories, self.out, on_step, stop, on_lengths, made=made)
        if stop():
            sys.stderr.write(
                f"stopped before the end; wrote {self.out}; go on from there with --policy.checkpoint {self.out} and "
                "another --out\n"
            )
            sys.exit(130)
        console.print(f"{len(trajectories)} demonstrations, loss {loss:.3f} nats per token")
        words = ["steptool", "train", "--policy.checkpoint", str(self.out), "--out", "RUN", "--env", self.settings.env]
        print_written(console, self.out, shlex.join([*words, *env_args_words(self.settings.env_args)]))
        beyond = {"beyond_context": found[0].beyond, "longest_tokens": found[0].longest}
        return {"out": self.out, "demonstrations": len(trajectories), **beyond, "loss": loss}

    def _demonstrations(self, console: Console) -> list[Trajectory]:
        from agents.training.sft import make_demonstrations, solved

        if self.demonstrations is None:
            console.print("making demonstrations")
            trajectories = make_demonstrations(self.settings)
        else:
            read = read_trajectories(self.demonstrations)
            for bad in read.bad_lines:
                console.print(f"{self.demonstrations}:{bad.number}: {bad.reason}")
            trajectories = read.trajectories
        kept = solved(trajectories) if self.only_solved else trajectories
        kept = [trajectory for trajectory in kept if trajectory.steps]  # of a lost episode there may be none
        if not kept:
            source = self.demonstrations or "made"
            raise ConfigurationError(
                f"demonstrations={source}: of {len(trajectories)} read, none is left to learn from"
            )
        return kept


def _print_lengths(console: Console, lengths: "Lengths") -> None:
    """Print the lengths of the demonstrations; warn of those that the policy cannot play to their end."""
    console.print(
        f"{lengths.episodes:,} different demonstrations, the longest of {lengths.longest:,} tokens; {lengths.beyond:,} "
        f"beyond the context of {lengths.context:,}",
        highlight=False,
    )
    if lengths.beyond:
        Console(stderr=True).print(
            f"Warning: {lengths.beyond:,} of {lengths.episodes:,} demonstrations are longer than the policy's context "
            f"of {lengths.context:,} tokens. They are learnt as a whole, but in play the context cuts episodes there. "
            f"{lengths.remedy}, or make prompts shorter (--env-args prompt=compact, or fewer tools).",
            style="yellow",
            highlight=False,
        )


def flags(words: Sequence[str]) -> Flags:
    """Return the flags over a file over the defaults."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--config", type=Path)
    path = early.parse_known_args(words)[0].config
    settings = read_sft_config(path) if path else SFTRunConfig()
    return Flags(Command, words, Command(out=tyro.MISSING, config=path, settings=settings))

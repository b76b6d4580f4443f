"""`steptool export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from agents.models.bundle import load_learner
from agents.models.weights import write_model


@dataclass(frozen=True)
class Command:
    """Write the language model of a checkpoint as other software reads it: a folder in Transformers' layout.

    Example: steptool export --checkpoint runs/sft --out runs/model; then `vllm serve runs/model`
    """

    checkpoint: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of a checkpoint, or of a run, of which the newest is taken."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder to write; replaced when it exists."""

    def run(self) -> None:
        """Write it."""
        learner = load_learner(self.checkpoint)
        write_model(self.out, learner.policy, learner.tokenizer)
        Console().print(f"wrote {self.out}")

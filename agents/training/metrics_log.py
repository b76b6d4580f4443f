"""Metrics log: JSON Lines, TensorBoard, and hooks."""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from agents.errors import TrainingError

Metrics = Mapping[str, float]
Sink = Callable[[int, Metrics], None]
"""(environment calls so far, metrics of an iteration)."""


class MetricsLog:
    """Writes the metrics of each iteration.

    Args:
        folder: Folder of `metrics.jsonl` and TensorBoard's event files.
        tensorboard: Write the event files.
        hooks: Further sinks, e.g. a wrapper of Weights & Biases: `lambda step, m: wandb.log(dict(m), step=step)`.
        keep_until: Iteration of the checkpoint that is resumed; later records are removed from `metrics.jsonl` and
            hidden in TensorBoard. Without it all earlier records are removed.
    """

    def __init__(
        self, folder: Path, *, tensorboard: bool = True, hooks: Iterable[Sink] = (), keep_until: int | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "metrics.jsonl"
        self._hooks = tuple(hooks)
        begin = self._begin(keep_until)
        self._writer: Any = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder), purge_step=begin)

    def write(self, calls: int, metrics: Metrics) -> None:
        """Write the metrics of one iteration, `iteration` among them; `calls` are the environment calls so far.

        Raises:
            TrainingError: The file cannot be written.
        """
        record = {"calls": calls, **{name: value if math.isfinite(value) else None for name, value in metrics.items()}}
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise TrainingError(f"cannot write {self._path}: {error}") from error
        if self._writer is not None:
            for name, value in metrics.items():
                self._writer.add_scalar(name, value, calls)
        for hook in self._hooks:
            hook(calls, metrics)

    def close(self) -> None:
        """Close the event files."""
        if self._writer is not None:
            self._writer.close()

    def _begin(self, keep_until: int | None) -> int:
        """Remove records after the checkpoint. Return the first number of calls after the records that are kept."""
        kept = []
        if keep_until is not None and self._path.exists():
            kept = [line for line in _lines(self._path) if json.loads(line)["iteration"] <= keep_until]
        self._path.write_text("".join(kept), encoding="utf-8")
        return int(json.loads(kept[-1])["calls"]) + 1 if kept else 0


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Read the records of a run's `metrics.jsonl`, oldest first, without an incomplete last line."""
    return [json.loads(line) for line in _lines(folder / "metrics.jsonl")]


def _lines(path: Path) -> list[str]:
    """Complete lines of a file; a killed run or a full disk may have left an incomplete one."""
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]

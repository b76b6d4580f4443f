"""Where metrics go: JSON Lines, TensorBoard, or whatever a hook makes of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from agents.errors import TrainingError

Metrics = Mapping[str, float]
Sink = Callable[[int, Metrics], None]
"""Takes the environment calls so far and the metrics of an iteration."""


class MetricsLog:
    """Hands every iteration's metrics to each sink.

    Args:
        folder: `metrics.jsonl` and TensorBoard's event files go here.
        tensorboard: Whether to write the event files.
        hooks: Further sinks, e.g. a wrapper of Weights & Biases: `lambda step, m: wandb.log(dict(m), step=step)`.
        keep_until: Iteration that a resumed run goes on from: what was logged behind it is dropped from `metrics.jsonl`
            and from what TensorBoard shows. Without it all that was logged before is dropped.
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
        """Record the metrics of one iteration.

        Args:
            calls: Environment calls so far: the horizontal axis of every curve.
            metrics: By name; `iteration` is among them.

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
        """Finish the event files."""
        if self._writer is not None:
            self._writer.close()

    def _begin(self, keep_until: int | None) -> int:
        """An unbroken file: none for a new run, the lines up to the checkpoint for a resumed one.

        Returns:
            The first number of calls behind the lines that are kept.
        """
        kept = []
        if keep_until is not None and self._path.exists():
            kept = [line for line in _lines(self._path) if json.loads(line)["iteration"] <= keep_until]
        self._path.write_text("".join(kept), encoding="utf-8")
        return int(json.loads(kept[-1])["calls"]) + 1 if kept else 0


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The records of a run's `metrics.jsonl`, oldest first; one that is being written is left out."""
    return [json.loads(line) for line in _lines(folder / "metrics.jsonl")]


def _lines(path: Path) -> list[str]:
    """The complete lines of a file; a run that was killed, or whose disk was full, may have left half of one."""
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]

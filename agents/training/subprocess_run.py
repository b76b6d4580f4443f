"""A training run as a child process, so that several go on side by side, each on a core of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from agents.errors import TrainingError
from agents.models import checkpoint
from agents.training.config import TrainConfig
from agents.training.metrics_log import read_metrics
from toolserver.testing import end


class TrainingProcess:
    """Runs `steptool train` with one thread, as a context manager; leaving ends it by its own process id.

    Args:
        config: The run; its settings, log and checkpoints are in `config.out`, in place of what was there.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.folder = Path(config.out)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        shutil.rmtree(self.folder, ignore_errors=True)  # else an older run's checkpoint may count as the newest
        self.folder.mkdir(parents=True)
        settings = self.folder / "settings.yaml"
        settings.write_text(yaml.safe_dump(asdict(self.config), sort_keys=False), encoding="utf-8")
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "agents.cli", "train", "--config", str(settings)],
                stdout=subprocess.DEVNULL,
                stderr=log,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is not None:
            end(self._process)

    def over(self, seconds: float) -> bool:
        """Whether the run is over, waiting for that as long as `seconds`.

        Raises:
            TrainingError: It failed; the message ends with what it said last.
        """
        assert self._process is not None
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        if status:
            said = self._log.read_text(encoding="utf-8", errors="replace")[-2000:].strip()
            raise TrainingError(f"training {self.folder} ended with status {status}: {said or 'it said nothing'}")
        return True

    def metrics(self) -> list[dict[str, float]]:
        """What it has logged so far."""
        return read_metrics(self.folder) if (self.folder / "metrics.jsonl").exists() else []

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint. Raises `TrainingError` where there is none."""
        found = checkpoint.newest(self.folder)
        if found is None:
            raise TrainingError(f"{self.folder} holds no checkpoint; set checkpoint_every above 0")
        return found

    @property
    def _log(self) -> Path:
        return self.folder / "errors.log"

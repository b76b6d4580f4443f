"""Runs as child processes with one thread each, so that several use several cores."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Self

import yaml

from agents.errors import ConfigurationError, TrainingError
from agents.models import checkpoint
from agents.training.config import TrainConfig
from agents.training.metrics_log import read_metrics
from toolserver import children

_SETTINGS = "settings.yaml"


def check_replaced(folder: Path) -> None:
    """Raise `ConfigurationError` for a folder that a `TrainingProcess` would remove and that is not of another one."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _SETTINGS).is_file():
        raise ConfigurationError(
            f"{folder} holds another run, which this training would remove; give another --out, or move that folder"
        )


class ModuleProcess:
    """Runs `python -m WORDS`, as a context manager; leaving ends it by its process id. It also ends with this process.

    `log` is the file of its stderr; `piped` makes its stdout readable by `lines`, else it is dropped.
    """

    def __init__(self, words: Sequence[str], log: Path, *, piped: bool = False) -> None:
        self._words, self._log, self._stdout = words, log, subprocess.PIPE if piped else subprocess.DEVNULL
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with self._log.open("w") as log:
            self._process = children.start(self._words, stdout=self._stdout, stderr=log, env=environment)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            children.end(self._process)

    def lines(self) -> Iterator[str]:
        """Lines of its stdout, until it ends."""
        assert self._process is not None
        yield from self._process.stdout or ()

    def over(self, seconds: float | None = None) -> bool:
        """Wait up to `seconds`, or without limit, and return whether the process has ended.

        Raises:
            TrainingError: It failed; the message ends with the tail of its stderr.
        """
        assert self._process is not None
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        if status:
            tail = self._log.read_text(encoding="utf-8", errors="replace")[-2000:].strip()
            raise TrainingError(f"{self._log.parent} ended with status {status}: {tail or 'no error output'}")
        return True


class TrainingProcess(ModuleProcess):
    """Runs `python -m MODULE SETTINGS`, which writes to `config.out`; an earlier run of it there is removed."""

    def __init__(self, config: TrainConfig, module: str) -> None:
        self.config = config
        self.folder = Path(config.out)
        self._settings = self.folder / _SETTINGS
        super().__init__([module, str(self._settings)], self.folder / "errors.log")

    def __enter__(self) -> Self:
        check_replaced(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)  # else an older run's checkpoint may count as the newest
        self.folder.mkdir(parents=True)
        self._settings.write_text(yaml.safe_dump(asdict(self.config), sort_keys=False), encoding="utf-8")
        return super().__enter__()

    def metrics(self) -> list[dict[str, float]]:
        """Records that the run has logged so far."""
        return read_metrics(self.folder) if (self.folder / "metrics.jsonl").exists() else []

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint. Raises `TrainingError` if there is no checkpoint."""
        found = checkpoint.newest(self.folder)
        if found is None:
            raise TrainingError(f"{self.folder} holds no checkpoint: the run has not written its first one")
        return found

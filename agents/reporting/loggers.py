"""Loggers of metrics: TensorBoard, Weights & Biases, MLflow and Trackio, each by its own package.

Each writes below the folder of the run, without a network. The packages' own variables of the environment choose
another place: `WANDB_MODE=online`, `MLFLOW_TRACKING_URI`, `TRACKIO_SPACE_ID` or `TRACKIO_SERVER_URL`.
"""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from agents.errors import ConfigurationError
from steptool_env.registry import install_hint

LoggerName = Literal["tensorboard", "wandb", "mlflow", "trackio"]

PROJECT = "steptool"
"""Name of the project or experiment; `WANDB_PROJECT`, `MLFLOW_EXPERIMENT_NAME` and `TRACKIO_PROJECT` replace it."""

_RUNS = "loggers.json"  # ids of the run at its loggers, which a resumed run continues
_LONGEST_PARAMETER = 500  # characters of a parameter that every MLflow server takes
_PARAMETERS, _METRICS = 100, 1000  # largest batches that every MLflow server takes


class Logger(Protocol):
    """Writer of metrics."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write the metrics of a step."""

    def close(self, *, failed: bool) -> None:
        """Write what is left, and end the run, as failed or as finished."""


class Loggers:
    """Several loggers as one. One that fails is reported on stderr once, and does not end a training.

    Args:
        names: Names of the loggers.
        folder: Folder of the run, whose name is that of the run.
        settings: Settings of the run.
        begin: Step from which a resumed run goes on; 0 starts another run.

    Raises:
        ConfigurationError: The package of a logger is not installed, or it refuses to start.
    """

    def __init__(
        self, names: Sequence[LoggerName], folder: Path, settings: Mapping[str, Any] | None = None, begin: int = 0
    ) -> None:
        self._failed: set[str] = set()
        self._open: dict[str, Logger] = {}
        runs = _read_runs(folder) if begin else {}
        if names:
            folder.mkdir(parents=True, exist_ok=True)
        for name in dict.fromkeys(names):
            try:
                self._open[name] = _KINDS[name](folder.resolve(), settings or {}, begin, runs)
            except ModuleNotFoundError as error:
                self.close()
                hint = install_hint(error.name or "", _EXTRAS[name])
                raise ConfigurationError(f"logger={name}: {error.name} is not installed; {hint}") from error
            except Exception as error:  # packages raise their own: of a server, a file, an account
                self.close()
                raise ConfigurationError(f"logger={name}: cannot start: {error}") from error
        if runs:
            (folder / _RUNS).write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write the metrics of a step; `step` counts up."""
        for name, logger in self._open.items():
            try:
                logger.log(step, metrics)
            except Exception as error:
                self._report(name, error)

    def close(self) -> None:
        """Write what is left, and end the runs: as failed ones while an exception passes."""
        failed = sys.exc_info()[0] is not None  # before the logger's own
        while self._open:
            name, logger = self._open.popitem()
            try:
                logger.close(failed=failed)
            except Exception as error:
                self._report(name, error)

    def _report(self, name: str, error: Exception) -> None:
        if name not in self._failed:
            self._failed.add(name)
            sys.stderr.write(f"warning: logger={name} failed and lacks metrics, metrics.jsonl has them: {error}\n")


class _TensorBoard:
    """Event files in the folder of the run."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], begin: int, runs: dict[str, str]) -> None:  # noqa: ARG002
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=begin)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def close(self, *, failed: bool) -> None:  # noqa: ARG002
        self._writer.close()


class _WandB:
    """Offline run in `wandb/`, which `wandb sync` uploads."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], begin: int, runs: dict[str, str]) -> None:  # noqa: ARG002
        import wandb

        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=folder.name,
            dir=str(folder),
            id=runs.get("wandb"),
            resume="allow" if "wandb" in runs else None,
            config=dict(settings),
            mode=os.environ.get("WANDB_MODE", "offline"),
            settings={"console": "off"},  # a progress display is no log
        )
        runs["wandb"] = self._run.id

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def close(self, *, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


class _MLflow:
    """Run of an experiment in `mlflow.db`, which `mlflow ui --backend-store-uri sqlite:///...` shows."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], begin: int, runs: dict[str, str]) -> None:  # noqa: ARG002
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client: Any = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}"))
        if "mlflow" not in runs:
            experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            found = self._client.get_experiment_by_name(experiment)
            number = found.experiment_id if found else self._client.create_experiment(experiment)
            runs["mlflow"] = self._client.create_run(number, run_name=folder.name).info.run_id
            found = [Param(name, str(value)[:_LONGEST_PARAMETER]) for name, value in _flat(settings)]
            for first in range(0, len(found), _PARAMETERS):
                self._client.log_batch(runs["mlflow"], params=found[first : first + _PARAMETERS])
        self._run = runs["mlflow"]

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000
        found = [Metric(name, value, now, step) for name, value in metrics.items()]
        for first in range(0, len(found), _METRICS):
            self._client.log_batch(self._run, metrics=found[first : first + _METRICS])

    def close(self, *, failed: bool) -> None:
        self._client.set_terminated(self._run, "FAILED" if failed else "FINISHED")


class _Trackio:
    """Run in `trackio/`, which `TRACKIO_DIR=... trackio show` shows."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], begin: int, runs: dict[str, str]) -> None:  # noqa: ARG002
        os.environ.setdefault("TRACKIO_DIR", str(folder / "trackio"))  # read when the package is imported
        import trackio

        self._run: Any = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=runs.get("trackio", folder.name),
            resume="allow" if "trackio" in runs else "never",
            config=dict(settings),
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )
        runs["trackio"] = self._run.name

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def close(self, *, failed: bool) -> None:  # noqa: ARG002
        self._run.finish()


_KINDS: dict[str, Any] = {"tensorboard": _TensorBoard, "wandb": _WandB, "mlflow": _MLflow, "trackio": _Trackio}
_EXTRAS = {"tensorboard": "agents", "wandb": "wandb", "mlflow": "mlflow", "trackio": "trackio"}


def _read_runs(folder: Path) -> dict[str, str]:
    path = folder / _RUNS
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return settings by their full names, as the flags are named."""
    found: list[tuple[str, Any]] = []
    for name, value in settings.items():
        nested = isinstance(value, Mapping) and value
        found += _flat(value, f"{prefix}{name}.") if nested else [(f"{prefix}{name}", value)]
    return found

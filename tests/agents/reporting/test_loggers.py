"""Loggers whose package is missing, or that fail; `tests/integrations/loggers` has the packages themselves."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.cli import main
from agents.errors import ConfigurationError
from agents.reporting import loggers
from agents.reporting.loggers import LoggerName, Loggers
from agents.training.metrics_log import MetricsLog, read_metrics


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [("wandb", "wandb", "wandb"), ("mlflow", "mlflow", "mlflow"), ("trackio", "trackio", "trackio"),
     ("tensorboard", "torch.utils.tensorboard", "agents")],
)  # fmt: skip
def test_a_missing_package_names_its_extra(
    name: LoggerName, package: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError, match=rf"logger={name}: .*pip install 'steptool-env\[{extra}\]'"):
        Loggers([name], tmp_path)


def test_an_unknown_logger_is_refused_with_the_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("logger: [paper]\n")
    with pytest.raises(SystemExit):
        main(["train", "--config", str(tmp_path / "config.yaml"), "--out", str(tmp_path)])
    error = capsys.readouterr().err
    assert "logger.0" in error
    assert "'tensorboard', 'wandb', 'mlflow' or 'trackio'" in error


class Failing:
    """A logger whose server is away."""

    def __init__(self, *_: Any) -> None:
        self.logged = 0

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        raise OSError("server away")

    def close(self, *, failed: bool) -> None:
        raise OSError("server away")


def test_a_logger_that_fails_is_reported_once_and_costs_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(loggers._KINDS, "mlflow", Failing)
    log = MetricsLog(tmp_path, loggers=["mlflow", "tensorboard"])
    for calls in (10, 20):
        log.write(calls, {"iteration": calls / 10, "train/loss": 1.0})
    log.close()
    warnings = capsys.readouterr().err.splitlines()
    assert warnings == ["warning: logger=mlflow failed and lacks metrics, metrics.jsonl has them: server away"]
    assert [record["calls"] for record in read_metrics(tmp_path)] == [10, 20]
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [10, 20]

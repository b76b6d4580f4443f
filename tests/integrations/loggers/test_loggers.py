"""`--logger` with the real packages, in a process without a network."""

import json
import os
import shutil
import struct
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("wandb", reason="needs wandb: pip install 'steptool-env[wandb]'")
pytest.importorskip("mlflow", reason="needs MLflow: pip install 'steptool-env[mlflow]'")
pytest.importorskip("trackio", reason="needs Trackio: pip install 'steptool-env[trackio]'")

from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto import wandb_internal_pb2
from werkzeug.serving import make_server

from agents.reporting.loggers import Loggers
from agents.training.metrics_log import read_metrics

pytestmark = pytest.mark.filterwarnings("ignore:.*noload")  # of MLflow's own tables

ROOT = Path(__file__).parents[3]
NAMES = ("tensorboard", "wandb", "mlflow", "trackio")
SMALL = ["--policy.checkpoint", "nano-sft", "--episodes", "4", "--env.num-envs", "4", "--eval-every", "0"]
SMALL += ["--sampling.max-action-tokens", "6", "--env-args", "split=train", "call_budget=2"]


def without_network() -> list[str]:
    """Words before a command that runs it where there is no network but this machine's; none where that is refused."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return []
    words = ["unshare", "--net", "--map-root-user", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    return words if subprocess.run([*words, "true"], capture_output=True).returncode == 0 else []


def steptool(cwd: Path, *words: str, **environment: str) -> None:
    """Run `steptool` in a folder of its own, with a home of its own."""
    command = [*without_network(), sys.executable, "-m", "agents.cli", *words]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB_", "MLFLOW_", "TRACKIO_"))}
    env = {**kept, "HOME": str(cwd / "home"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning: logger" not in done.stderr


def of_tensorboard(folder: Path, name: str) -> dict[int, float]:
    events = EventAccumulator(str(folder)).Reload()
    return {event.step: event.value for event in events.Scalars(name)}


def of_wandb(folder: Path, name: str) -> dict[int, float]:
    history: dict[int, dict[str, float]] = {}
    for record in wandb_records(folder, "history"):
        items = record.history.item
        row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
        history[int(row["_step"])] = row
    return {step: row[name] for step, row in history.items() if name in row}


def wandb_records(folder: Path, wanted: str) -> list[Any]:
    """The records of a kind in the offline runs of a folder, in LevelDB's log format of W&B's own messages."""
    found = []
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        data, place, parts = file.read_bytes(), 7, b""
        while place + 7 <= len(data):
            if 32768 - place % 32768 < 7:  # a block's end has no room for a header
                place += 32768 - place % 32768
                continue
            _, size, kind = struct.unpack_from("<IHB", data, place)
            parts += data[place + 7 : place + 7 + size]
            place += 7 + size
            if kind not in (1, 4):  # whole, or the last part
                continue
            record, parts = wandb_internal_pb2.Record.FromString(parts), b""
            if record.WhichOneof("record_type") == wanted:
                found.append(record)
    return found


def of_mlflow(folder: Path, name: str) -> dict[int, float]:
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("steptool").experiment_id])
    assert run.info.status == "FINISHED"
    return {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, name)}


def of_trackio(folder: Path, name: str) -> dict[int, float]:
    """In a process of its own: the package takes its folder when it is imported."""
    code = "import json, sys; from trackio.sqlite_storage import SQLiteStorage as s; "
    code += "print(json.dumps(s.get_logs('steptool', sys.argv[1])))"
    env = {**os.environ, "TRACKIO_DIR": str(folder / "trackio")}
    done = subprocess.run(
        [sys.executable, "-c", code, folder.name], env=env, capture_output=True, text=True, check=True
    )
    return {row["step"]: row[name] for row in json.loads(done.stdout.splitlines()[-1]) if name in row}


READERS = {"tensorboard": of_tensorboard, "wandb": of_wandb, "mlflow": of_mlflow, "trackio": of_trackio}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with all loggers at once, resumed by another process."""
    folder = tmp_path_factory.mktemp("loggers")
    out = folder / "run"
    steptool(folder, "train", "--logger", *NAMES, "--calls", "16", "--out", str(out), *SMALL)
    steptool(folder, "train", "--resume", "--out", str(out), "--calls", "24")
    return out


@pytest.mark.parametrize("logger", NAMES)
def test_every_metric_of_a_resumed_run_is_in_one_run_of_the_logger(logger: str, run: Path) -> None:
    records = read_metrics(run)
    assert len(records) >= 3
    for name in ("rollout/return", "train/loss", "time/iteration_seconds"):
        want = {int(record["calls"]): record[name] for record in records}
        assert READERS[logger](run, name) == pytest.approx(want, rel=1e-5)


def test_loggers_have_the_settings_of_the_run(run: Path) -> None:
    client = MlflowClient(f"sqlite:///{run / 'mlflow.db'}")
    (found,) = client.search_runs([client.get_experiment_by_name("steptool").experiment_id])
    assert (found.info.run_name, found.data.params["algorithm.gamma"]) == ("run", "0.99")
    runs = [record.run for record in wandb_records(run, "run")]
    assert {(each.project, each.display_name) for each in runs} == {("steptool", "run")}
    assert len({each.run_id for each in runs}) == 1
    config = {update.key: json.loads(update.value_json) for update in runs[0].config.update}
    assert config["algorithm"]["gamma"] == 0.99


def test_a_run_that_fails_is_no_finished_one(tmp_path: Path) -> None:
    words = ["-c", "import sys; from tests.integrations.loggers.test_loggers import fail; fail(sys.argv[1])"]
    done = subprocess.run([sys.executable, *words, str(tmp_path / "run")], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr.splitlines()[-1] == "ZeroDivisionError: a loss", done.stderr
    client = MlflowClient(f"sqlite:///{tmp_path / 'run' / 'mlflow.db'}")
    run = client.get_run(json.loads((tmp_path / "run" / "loggers.json").read_text())["mlflow"])
    assert (run.info.status, run.data.metrics) == ("FAILED", {"train/loss": 1.0})
    assert [record.exit.exit_code for record in wandb_records(tmp_path / "run", "exit")] == [1]


def fail(folder: str) -> None:
    """Raise in the middle of a run of the loggers that tell such runs apart."""
    with closing(Loggers(["wandb", "mlflow"], Path(folder))) as loggers:
        loggers.log(1, {"train/loss": 1.0})
        raise ZeroDivisionError("a loss")


def test_mlflow_gets_the_metrics_of_a_step_in_one_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A remote server answers a request in tens of milliseconds, and a step has some fifty metrics."""
    monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", f"sqlite:///{tmp_path / 'server.db'}")
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", str(tmp_path / "artifacts"))
    monkeypatch.setenv("MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE", "true")
    from mlflow.server import app

    asked: list[str] = []

    def counted(environ: Any, start: Any) -> Any:
        asked.append(environ["PATH_INFO"].rpartition("/")[2])
        return app(environ, start)

    server = make_server("127.0.0.1", 0, counted, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    metrics = {f"train/metric-{number}": number / 7 for number in range(60)}
    try:
        loggers = Loggers(["mlflow"], tmp_path / "run", {f"setting-{number}": number for number in range(150)})
        started = len(asked)
        assert asked.count("log-batch") == 2  # 150 settings, at most 100 of a request
        loggers.log(5, metrics)
        loggers.log(6, metrics)
        assert asked[started:] == ["log-batch"] * 2
        loggers.close()
        client = MlflowClient(url)
        run = client.get_run(json.loads((tmp_path / "run" / "loggers.json").read_text())["mlflow"])
        assert run.data.metrics == pytest.approx(metrics)
        assert run.data.params == {f"setting-{number}": str(number) for number in range(150)}
        assert [each.step for each in client.get_metric_history(run.info.run_id, "train/metric-3")] == [5, 6]
    finally:
        server.shutdown()
        thread.join()


def test_nothing_is_written_outside_the_run(run: Path) -> None:
    allowed = {"run", "home"}
    assert {path.name for path in run.parent.iterdir()} <= allowed


def test_a_fine_tuning_logs_its_loss(tmp_path: Path) -> None:
    out = tmp_path / "sft"
    steptool(
        tmp_path, "sft", "--logger", *NAMES, "--policy.checkpoint", "nano-sft", "--episodes", "8", "--sft.epochs", "2",
        "--sft.batch-episodes", "4", "--out", str(out),
    )  # fmt: skip
    logs = tmp_path / "sft-logs"
    losses = {logger: READERS[logger](logs, "train/loss") for logger in NAMES}
    assert list(losses["wandb"]) == [1, 2, 3, 4]
    assert all(found == pytest.approx(losses["wandb"], rel=1e-5) for found in losses.values())
    assert (out / "trainer_state.json").exists()


def test_a_logger_that_cannot_start_is_named(tmp_path: Path) -> None:
    words = ["train", "--logger", "mlflow", "--calls", "8", "--out", str(tmp_path / "run"), *SMALL]
    env = {**os.environ, "MLFLOW_TRACKING_URI": "nonsense://nowhere", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", "agents.cli", *words], env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: logger=mlflow: cannot start: ")

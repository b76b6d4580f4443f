"""Training on several processes: the same update as on one, and a whole run under `torchrun`."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from agents.distributed.processes import Processes, join
from agents.errors import ConfigurationError
from agents.models import checkpoint
from agents.models.checkpoint import Counters
from agents.rollout.collector import Rollout, merge_rollouts
from agents.training.metrics_log import read_metrics
from tests.agents.conftest import TASKS
from tests.agents.distributed.update_together import CASES, WAYS, updated

ROOT = Path(__file__).parents[3]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", "2"]
STEPTOOL = ["--no-python", str(Path(sys.executable).with_name("steptool"))]
COUNT = 2


def together(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a program as two processes."""
    return subprocess.run([sys.executable, *TORCHRUN, *words], cwd=ROOT, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("together")
    done = together("-m", "tests.agents.distributed.update_together", str(out))
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_two_processes_make_the_update_that_one_makes(case: str, way: str, results: Path) -> None:
    weights, metrics = updated(case)
    first, second = (load_file(results / f"{way} {case} {rank}.safetensors") for rank in range(COUNT))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), f"the copies differ in {name}"
    exact = all(tensor.dtype == torch.float64 for tensor in weights.values())
    for name, want in weights.items() if exact else ():  # AdamW's first steps blow rounding up
        torch.testing.assert_close(first[name], want, atol=1e-10, rtol=0)
    for name, value in metrics.items() if exact else (("train/grad_norm", metrics["train/grad_norm"]),):
        assert float(first[f"metric {name}"]) == pytest.approx(value, abs=1e-10 if exact else 0.01 * value)


def test_the_update_moves_the_weights() -> None:
    """So that the test above says something."""
    before = updated("critic alone")[0]
    after = updated("steptool")[0]
    moved = [name for name, tensor in after.items() if (tensor - before[name]).abs().max() > 1e-3]
    assert any(name.startswith("language_model.") for name in moved)


@pytest.mark.slow
def test_a_run_of_two_processes_is_logged_once_kept_and_resumed(start: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    flags = ["--out", str(out), "--policy.checkpoint", str(start), "--sampling.max-action-tokens", "6"]
    flags += ["--env-args", *TASKS, "--eval-args", "split=validation", "--env.num-envs", "2", "--episodes", "6"]
    flags += ["--algo", "grpo", "--algorithm.group-size", "2", "--eval-episodes", "2", "--eval-every", "1"]
    for calls, more in (("12", ["--shard"]), ("24", ["--resume"])):
        done = together(*STEPTOOL, "train", "--calls", calls, *more, *flags)
        assert done.returncode == 0, done.stderr
    records = read_metrics(out)
    assert [(r["iteration"], r["calls"]) for r in records] == [(0, 0), (1, 12), (2, 24)]  # 6 episodes of 2 calls
    assert all("eval/is_solved" in r for r in records)
    assert sorted(path.name for path in out.glob("checkpoint-*")) == ["checkpoint-1", "checkpoint-2"]
    assert checkpoint.load_counters(out / "checkpoint-2") == Counters(iteration=2, calls=24, episodes=12)


@pytest.mark.slow
def test_an_error_ends_every_process(tmp_path: Path) -> None:
    done = together(*STEPTOOL, "train", "--resume", "--out", str(tmp_path))
    assert done.returncode != 0
    assert "holds no checkpoint to resume from" in done.stderr


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shares_are_everything_once_and_in_order(count: int) -> None:
    items = list(range(5))
    assert [i for rank in range(count) for i in Processes(rank, count).local_slice(items)] == items


def test_rows_are_dealt_so_that_each_process_has_like_work() -> None:
    lengths = [9, 1, 8, 2, 7, 3, 6, 4, 5, 5]
    dealt = [Processes(rank, 2).local_rows(lengths) for rank in range(2)]
    assert sorted(dealt[0] + dealt[1]) == list(range(10))
    work = [sum(lengths[row] for row in rows) for rows in dealt]
    assert abs(work[0] - work[1]) <= max(lengths) / 2
    assert Processes().local_rows(lengths) == list(range(10))


def test_rollouts_of_processes_are_counted_together() -> None:
    both = merge_rollouts([Rollout(calls=3, dropped=1, sample_seconds=2.0), Rollout(calls=4, env_seconds=1.0)])
    assert (both.calls, both.dropped, both.sample_seconds, both.env_seconds) == (7, 1, 2.0, 1.0)


WAITS = """
import sys
from agents.distributed.processes import join
from toolserver.children import ended_by_signals

with ended_by_signals():
    processes = join("cpu")
    print("joined", flush=True)
    processes.gather(0) if processes.main else sys.stdin.readline()
"""


def test_a_signal_ends_a_process_that_waits_for_others() -> None:
    """A collective that waits runs no Python handler."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1]), "WORLD_SIZE": str(COUNT)}
    with ExitStack() as stack:
        started = [
            subprocess.Popen(
                [sys.executable, "-c", WAITS],
                env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank in range(COUNT)
        ]
        for process in started:
            stack.enter_context(process)
            stack.callback(process.kill)
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "joined\n"
        started[0].terminate()
        assert started[0].wait(30) == -signal.SIGTERM


def test_one_process_joins_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join("cuda:1") == Processes(0, 1, "cuda:1")
    assert not torch.distributed.is_initialized()


def test_one_process_cannot_hold_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(ConfigurationError, match="shard=True needs several processes"):
        join("cpu", sharded=True)


def test_one_gpu_for_several_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigurationError, match="cuda:1 is one device for 2 processes; cuda gives each its own"):
        join("cuda:1")

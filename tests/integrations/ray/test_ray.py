"""Evaluations, rollouts and experiments on a real cluster of two nodes, `ray start` twice; one of them is killed."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="needs Ray: pip install 'steptool-env[ray]'")

from agents.training.metrics_log import read_metrics

ROOT = Path(__file__).parents[3]
RAY = str(Path(sys.executable).with_name("ray"))
ENV = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
TASKS = ("split=train", "call_budget=3", "tools=26")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Node:
    """A node of a cluster: `ray start --block` in a session of its own, which is killed as a whole."""

    def __init__(self, folder: str, *words: str) -> None:
        command = [RAY, "start", "--block", "--node-ip-address", "127.0.0.1", "--disable-usage-stats", *words]
        command += ["--num-cpus", "1", "--num-gpus", "0", "--object-store-memory", "80000000"]
        self.log = Path(folder) / f"node-{len(list(Path(folder).glob('node-*')))}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=ENV, start_new_session=True)

    def processes(self) -> list[int]:
        """Processes of the node's session, from which nothing of it escapes."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                session = int(stat.read_text().rpartition(")")[2].split()[3])
            except (OSError, ValueError, IndexError):
                continue
            if session == self.process.pid:
                found.append(int(stat.parent.name))
        return found

    def kill(self) -> None:
        """End all processes of the node at once, as a power cut does."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()


class Cluster:
    def __init__(self, folder: str) -> None:
        self.folder, self.port = folder, free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.nodes = [
            Node(folder, "--head", "--port", str(self.port), "--include-dashboard", "false", "--temp-dir", folder)
        ]

    def join(self) -> Node:
        """Start another node, and wait until the cluster counts it."""
        self.wait(len(self.nodes))
        self.nodes.append(Node(self.folder, "--address", self.address))
        self.wait(len(self.nodes))
        return self.nodes[-1]

    def wait(self, count: int) -> None:
        """Wait until the head knows this many living nodes."""
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            words = [RAY, "status", "--address", self.address]
            shown = subprocess.run(words, capture_output=True, text=True, env=ENV).stdout
            if len(re.findall(r"^ 1 node_", shown, re.MULTILINE)) == count:
                return
        raise AssertionError(f"not {count} nodes: {[node.log.read_text()[-2000:] for node in self.nodes]}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="r-", ignore_cleanup_errors=True) as folder:  # sockets have short paths
        made = Cluster(folder)
        try:
            made.join()
            yield made
        finally:
            for node in made.nodes:
                node.kill()


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", *words]


def run(*words: str, cwd: Path | None = None) -> None:
    done = subprocess.run(command(*words), capture_output=True, text=True, env=ENV, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr


def evaluate(out: Path, *words: str) -> list[str]:
    args = ["agents.cli", "evaluate", "--env", "StepTool/ToolWorld-v0", "--env-args", "split=depth-2", "--seed", "4"]
    return [*args, "--episodes", "60", "--slots", "3", "--out", str(out), *words]


@pytest.mark.parametrize("agent", ["random", "policy:nano-sft"])
def test_an_evaluation_on_two_nodes_is_that_of_one_process(agent: str, cluster: Cluster, tmp_path: Path) -> None:
    words = ["--agent", agent] if agent == "random" else ["--agent", agent, "--episodes", "9"]
    run(*evaluate(tmp_path / "here", *words))
    run(*evaluate(tmp_path / "there", *words, "--ray", cluster.address))
    here, there = ((tmp_path / place / "trajectories.jsonl").read_bytes() for place in ("here", "there"))
    assert here == there
    assert (tmp_path / "here" / "metrics.json").read_bytes() == (tmp_path / "there" / "metrics.json").read_bytes()


TWICE = """
import shutil, sys
from agents.cluster.evaluation import AgentSpec, evaluate_on_cluster
from agents.evaluation.evaluate import Evaluation

address, folder = sys.argv[1:]
for name in ("random", "oracle"):
    shutil.copy(f"{folder}/{name}/trajectories.jsonl", f"{folder}/played.jsonl")
    evaluation = Evaluation("StepTool/ToolWorld-v0", {"split": "depth-2"}, 60, slots=3, seed=4)
    played = evaluate_on_cluster(address, evaluation, AgentSpec(f"replay:{folder}/played.jsonl", {}, 0))
    print(sum(each.metadata["outcome"]["is_solved"] for each in played) == (60 if name == "oracle" else 0))
"""


def test_a_second_evaluation_makes_its_agent_again(cluster: Cluster, tmp_path: Path) -> None:
    """The file that an agent is made of may be another one by then."""
    for name in ("random", "oracle"):
        run(*evaluate(tmp_path / name, "--agent", name))
    words = [sys.executable, "-c", TWICE, cluster.address, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, env=ENV)
    assert done.stdout.split() == ["True", "True"], done.stdout + done.stderr


def train(out: Path, *words: str) -> list[str]:
    args = ["agents.cli", "train", "--policy.checkpoint", "nano-sft", "--calls", "40", "--episodes", "8"]
    args += ["--env.num-envs", "8", "--eval-every", "0", "--sampling.max-action-tokens", "16", "--rollout.parts", "2"]
    args += ["--env-args", *TASKS, "--logger", "tensorboard", "--out", str(out)]
    return [*args, "--rollout.engine", "ray", *words]


def curve(folder: Path) -> list[dict[str, float]]:
    """The records of a run without its times."""
    return [{k: v for k, v in record.items() if not k.startswith("time/")} for record in read_metrics(folder)]


def kill_in_the_middle(words: list[str], begun: Path, node: Node) -> None:
    """Kill a node once the file of a running command has a line."""
    process = subprocess.Popen(command(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENV)
    deadline = time.monotonic() + 200
    while not (begun.exists() and begun.read_bytes().count(b"\n")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
    assert node.processes()
    node.kill()
    output, _ = process.communicate(timeout=250)
    assert process.returncode == 0, output


@pytest.mark.parametrize("staleness", [0, 1])
def test_a_learner_whose_actors_lose_a_node_learns_the_same(staleness: int, cluster: Cluster, tmp_path: Path) -> None:
    words = ["--rollout.ray-address", cluster.address, "--rollout.max-staleness", str(staleness)]
    run(*train(tmp_path / "whole", *words))
    node = cluster.nodes[-1]
    kill_in_the_middle(train(tmp_path / "killed", *words), tmp_path / "killed" / "metrics.jsonl", node)
    cluster.nodes.remove(node)
    cluster.join()
    whole, killed = curve(tmp_path / "whole"), curve(tmp_path / "killed")
    assert len(whole) >= 2
    assert whole == killed
    assert [record["rollout/staleness"] for record in whole] == [0.0, *[float(staleness)] * (len(whole) - 1)]


def test_an_evaluation_loses_nothing_with_a_node(cluster: Cluster, tmp_path: Path) -> None:
    words = ["--agent", "policy:nano-sft", "--episodes", "24"]
    run(*evaluate(tmp_path / "whole", *words, "--ray", cluster.address))
    node = cluster.nodes[-1]
    killed = tmp_path / "killed" / "trajectories.jsonl"
    kill_in_the_middle(evaluate(tmp_path / "killed", *words, "--ray", cluster.address), killed, node)
    cluster.nodes.remove(node)
    cluster.join()
    assert killed.read_bytes() == (tmp_path / "whole" / "trajectories.jsonl").read_bytes()


def test_runs_of_an_experiment_on_a_cluster_are_those_of_this_machine(cluster: Cluster, tmp_path: Path) -> None:
    words = ["--seeds", "2", "--arms", "final", "--calls", "16", "--points", "1", "--episodes", "2"]
    words += ["--end-episodes", "2", "--end-splits", "depth-4", "--depth", "4", "--allow-dirty"]
    for place, more in (("here", []), ("there", ["--ray", cluster.address])):
        (tmp_path / place).mkdir()
        run(
            "benchmarks.learning.experiment",
            *words,
            "--out",
            str(tmp_path / place / "results"),
            *more,
            cwd=tmp_path / place,
        )
    results = [sorted((tmp_path / place / "runs").rglob("result.json")) for place in ("here", "there")]
    assert len(results[0]) == len(results[1]) == 3
    for one, other in zip(*results, strict=True):
        found = [json.loads(path.read_text()) for path in (one, other)]
        for each in found:
            for record in (*each["curve"], each):
                for name in [n for n in record if n.startswith("time/") or n in ("seconds", "origin")]:
                    del record[name]
        assert found[0] == found[1]


def test_an_address_without_a_cluster_is_a_clear_error(tmp_path: Path) -> None:
    words = [*evaluate(tmp_path / "out", "--agent", "random"), "--ray", f"127.0.0.1:{free_port()}"]
    done = subprocess.run(command(*words), capture_output=True, text=True, env=ENV)
    assert done.returncode == 2
    assert "there is no cluster" in done.stderr.splitlines()[-1]

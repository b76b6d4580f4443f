"""The profile `scale` of docker-compose.yml, in real containers. docs/compose.md describes the run."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from threading import Event, Thread

import httpx
import pytest

ROOT = Path(__file__).parents[1]
IMAGES = (
    "steptool-env/server",
    "steptool-env/trainer",
    os.environ.get("REDIS_IMAGE", "redis:7"),
    os.environ.get("HAPROXY_IMAGE", "haproxy:2.6"),
)
START_SECONDS = 120.0

SOURCES = """
import hashlib, pathlib, toolserver
root = pathlib.Path(toolserver.__file__).parents[1]
paths = (path for package in ("agents", "steptool_env", "toolserver") for path in (root / package).rglob("*.py"))
contents = (str(path.relative_to(root)).encode() + path.read_bytes() for path in sorted(paths))
print(hashlib.sha256(b"".join(contents)).hexdigest())
"""
"""Program that prints a digest of the packages' modules."""
RESULTS = """
import hashlib, json, pathlib, sys
found = {}
for path in sorted(pathlib.Path("/runs", sys.argv[1]).rglob("*")):
    if path.suffix == ".safetensors" or path.name == "trajectories.jsonl":
        found["/".join(path.parts[3:])] = hashlib.sha256(path.read_bytes()).hexdigest()
    elif path.name == "metrics.jsonl":
        records = [json.loads(line) for line in path.read_text().splitlines()]
        found["metrics"] = [{k: v for k, v in each.items() if not k.startswith("time/")} for each in records]
    elif path.name == "metrics.json":
        found["/".join(path.parts[3:])] = json.loads(path.read_text())
print(json.dumps(found))
"""
"""Program that prints what a folder holds: digests of weights and episodes, and metrics without times."""

PLAYED = {
    "train": """steptool train --policy.checkpoint nano-sft --episodes 8 --env.num-envs 8 --calls 60 --eval-every 0
        --sampling.max-action-tokens 48 --out {out}
        --env-args split=demonstrations call_budget=4 server_url=http://proxy:8080""",
    "oracle": """steptool evaluate --env StepTool/ToolWorld-v0 --env-args split=practice --agent oracle --episodes 2000
        --server-url http://proxy:8080 --out {out}""",
    "replay": """steptool evaluate --env StepTool/StableToolBench-v0
        --env-args suite=G1_instruction queries=/data/solvable_queries/test_instruction
        --agent replay:/data/judged_runs/sample-thorough/G1_instruction.json
        --server-url http://proxy:8080 --out {out}""",
}
"""Commands of the trainer: on generated tools, the same by an agent of many calls, and on recordings in Redis."""


class Stack:
    """Containers of the profile `scale`, as a project of their own."""

    def __init__(self, compose: list[str]) -> None:
        self._name = f"steptool-test-{secrets.token_hex(4)}"
        self._command = [*compose, "-p", self._name, "--profile", "scale"]
        defaults = {"STABLETOOLBENCH_DATA": "", "WORKERS": "", "WORLD": "", "PROXY_PORT": "0"}
        self._environment = os.environ | defaults | {"TOOLSERVER_STATE_KEY": secrets.token_hex(32)}

    def compose(self, *words: str, check: bool = True, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of Compose; a failure fails the test with its output."""
        run = subprocess.run(
            [*self._command, *words],
            cwd=ROOT,
            env=self._environment | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and run.returncode:
            pytest.fail(f"{' '.join(words)}: status {run.returncode}\n{run.stdout[-2000:]}\n{run.stderr[-4000:]}")
        return run

    def trainer(self, *words: str) -> str:
        """Output of a command in a new container of the trainer."""
        return self.compose("run", "-T", "--rm", "--no-deps", "trainer", *words).stdout

    def url(self) -> str:
        """Address of the proxy on this machine."""
        return f"http://{self.compose('port', 'proxy', '8080').stdout.strip()}"

    def container(self, service: str) -> str:
        """Identifier of a service's container."""
        return self.compose("ps", "-q", service).stdout.strip()

    def play(self, folder: str) -> object:
        """Train, and evaluate on generated and on recorded tools; digests of weights and episodes, and the metrics."""
        for name, command in PLAYED.items():
            self.trainer(*command.format(out=f"/runs/{folder}/{name}").split())
        return json.loads(self.trainer("python", "-c", RESULTS, folder))


def docker(*words: str) -> str:
    """Output of a command of Docker."""
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout.strip()


def both(client: httpx.Client) -> bool:
    """Return whether the proxy regards both replicas as healthy."""
    return client.get("/proxy/replicas").text == "2\n"


def restart_in_turn(
    containers: list[str], stop: Event, kills: list[str], ready: Callable[[], bool] = lambda: True
) -> None:
    """Kill one container after the other, start it again and wait until it is healthy and `ready`, until `stop`."""
    for container in cycle(containers):
        if stop.is_set():
            return
        docker("kill", container)
        kills.append(container)
        docker("start", container)
        deadline = time.monotonic() + START_SECONDS
        while docker("inspect", "-f", "{{.State.Health.Status}}", container) != "healthy" or not ready():
            assert time.monotonic() < deadline, docker("logs", "--tail", "20", container)
            stop.wait(0.2)


def works(*words: str) -> bool:
    """Return whether a command exists and ends with status 0."""
    return shutil.which(words[0]) is not None and not subprocess.run(words, capture_output=True, check=False).returncode


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    if not works("docker", "info"):
        pytest.skip("needs a Docker daemon that answers `docker info`")
    composes = (["docker", "compose"], ["docker-compose"])
    if (compose := next((each for each in composes if works(*each, "version")), None)) is None:
        pytest.skip("needs `docker compose` or `docker-compose`")
    for image in IMAGES:
        if not works("docker", "image", "inspect", image):
            pytest.skip(f"needs the image {image}: `docker compose --profile scale build`, and pull the others")
    here = subprocess.run([sys.executable, "-c", SOURCES], cwd=ROOT, capture_output=True, text=True, check=True)
    for image in IMAGES[:2]:
        there = docker("run", "--rm", image, "python", "-c", SOURCES)
        assert there == here.stdout.strip(), f"{image} is of other sources: `docker compose --profile scale build`"
    stack = Stack(compose)
    try:
        yield stack
    finally:
        stack.compose("down", "-v", "-t", "1", check=False)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_replicas_without_a_key_are_refused_with_a_remedy(stack: Stack) -> None:
    run = stack.compose("up", "-d", "proxy", check=False, TOOLSERVER_STATE_KEY="")
    assert run.returncode
    logs = stack.compose("logs", "--no-color", "replica-1").stdout
    assert "state_key: has fewer than 16 characters; set TOOLSERVER_STATE_KEY" in logs
    stack.compose("down", "-v", "-t", "1")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_kill_costs_a_client_that_never_repeats_a_call_at_most_the_one_in_flight(stack: Stack) -> None:
    """The proxy's part alone: a reset connection is not repeated by it, everything else is, and no answer is wrong."""
    stack.compose("up", "-d", "proxy")
    call = {"category": "Geography", "tool": "atlascedar", "api": "find_city", "arguments": {"name": "Valofield"}}
    containers = [stack.container(name) for name in ("replica-1", "replica-2")]
    stop, kills, seen, lost = Event(), list[str](), Counter[tuple[int, bytes]](), 0
    with httpx.Client(base_url=stack.url(), timeout=60) as client, httpx.Client(base_url=stack.url()) as watching:
        killer = Thread(target=restart_in_turn, args=(containers, stop, kills, lambda: both(watching)))
        killer.start()
        try:
            while len(kills) < 5 and killer.is_alive():
                try:
                    answer = client.post("/v1/calls", json=[call | {"state": "open:seed=7:task=t1"}])
                except (httpx.RemoteProtocolError, httpx.ReadError):
                    lost += 1
                else:
                    lost += answer.status_code == 502
                    seen[answer.status_code, answer.content] += answer.status_code != 502
        finally:
            stop.set()
            killer.join()
    assert len(kills) >= 5
    assert [status for (status, _), number in seen.items() if number] == [200], seen
    assert lost <= len(kills)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_replicas_lose_nothing_and_change_no_byte(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    stack.compose("up", "-d", "proxy")
    expected = stack.play("undisturbed")
    stop, kills = Event(), list[str]()
    containers = [stack.container(name) for name in ("replica-1", "replica-2", "redis")]
    killer = Thread(target=restart_in_turn, args=(containers, stop, kills))
    killer.start()
    try:
        found = stack.play("disturbed")
    finally:
        stop.set()
        killer.join()
    assert found == expected
    assert isinstance(expected, dict)
    assert len([name for name in expected if name.endswith(".safetensors")]) >= 2
    assert all(record["rollout/dropped"] == 0 for record in expected["metrics"])
    assert expected["oracle/metrics.json"]["pass_rate"] == 1
    assert len(kills) >= 2 * len(containers)
    with capsys.disabled():
        sys.stdout.write(f"\n{len(kills)} kills; {json.dumps(found, indent=1)}\n")

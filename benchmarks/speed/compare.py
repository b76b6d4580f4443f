"""Speed of two source trees, measured in turns in one run: environment steps and routes of the tool server.

    git worktree add ../before COMMIT && python -m benchmarks.speed.compare --before ../before

Both trees are used through their public interface alone (Gymnasium ids, `toolserver serve`, HTTP), with the packages of
the running Python. The load, the echo and the reference server are those of the running tree. Processor times are more
reliable than rates where the machine is shared.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, chdir, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import tyro

from benchmarks.harness.command import run_command
from benchmarks.harness.episodes import Script
from benchmarks.harness.process import ROOT, Server, serve_app
from benchmarks.harness.report import Result, Row
from benchmarks.harness.timing import race
from benchmarks.speed import tree_laps
from benchmarks.speed.load import post_bytes
from benchmarks.speed.recordings import import_recordings, write_recordings
from benchmarks.speed.reference_server import RECORDINGS_VARIABLE
from benchmarks.speed.server import APPS, ECHO, LEAN, REFERENCE, as_calls, grouped, pin, pinned, timed_load
from toolserver import children
from toolserver.testing import ServerProcess

_BATCH = _SLOTS = 256
_CLIENTS = 32
_STEPS = 3  # actions of each episode in a vector


@dataclass(frozen=True)
class Options:
    """Compare two source trees. Example: python -m benchmarks.speed.compare --before ../before."""

    before: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Other source tree."""
    quick: bool = False
    """Few and short laps: one minute in place of five."""

    @property
    def rounds(self) -> int:
        """Laps of each contestant that count."""
        return 2 if self.quick else 9


def run(options: Options) -> Result:
    """Measure both trees."""
    trees = {"before": options.before.resolve(), "after": ROOT}
    with tempfile.TemporaryDirectory() as scratch, pinned(-1):
        steps = _steps(trees, Path(scratch), options)
        served = _served(trees, Path(scratch), options)
    return Result("compare", "Two source trees", {"Environment steps": steps, "Tool server": served})


@contextmanager
def _inside(tree: Path) -> Iterator[None]:
    """Child processes that start meanwhile run in a tree."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(tree)
    try:
        with chdir(tree):
            yield
    finally:
        os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


@contextmanager
def _server(tree: Path, *arguments: str) -> Iterator[Server]:
    with _inside(tree):
        process = ServerProcess(arguments)
        process.__enter__()
    try:
        pin(process.pid, 0)
        yield Server(process.url, process.pid)
    finally:
        process.close()


@contextmanager
def _player(tree: Path, laps: Path, url: str) -> Iterator[Callable[[], dict[str, float]]]:
    """Yield a function that plays the next lap in a child process of a tree."""
    command = [sys.executable, "-P", tree_laps.__file__, str(laps), url]
    with _inside(tree):
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdin is not None
        assert child.stdout is not None
        send, receive = child.stdin, child.stdout

        def play() -> dict[str, float]:
            send.write("\n")
            send.flush()
            played: dict[str, float] = json.loads(receive.readline())
            return played

        yield play


def _recorded(tree: Path, folder: Path, episodes: int) -> list[Script]:
    """Record the oracle's actions in the tasks of a tree, which may differ from those of other trees."""
    words = f"evaluate --env StepTool/ToolWorld-v0 --agent oracle --episodes {episodes} --out".split()
    with _inside(tree):
        status = children.run(["agents.cli", *words, str(folder)], stdout=subprocess.DEVNULL)
    if status:
        raise RuntimeError(f"the oracle's episodes in {tree} ended with status {status}")
    with (folder / "trajectories.jsonl").open(encoding="utf-8") as lines:
        return [
            Script(found["task"]["id"], found["metadata"]["episode_seed"], _texts(found["steps"]))
            for found in map(json.loads, lines)
        ]


def _texts(steps: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(step["action"]["text"] for step in steps)


def _steps(trees: dict[str, Path], scratch: Path, options: Options) -> list[Row]:
    """One episode at a time in process, and a vector over HTTP: every lap has other tasks, those of the tree."""
    laps = options.rounds + 1
    contestants: dict[tuple[str, str], Any] = {}
    with ExitStack() as stack:
        for name, tree in trees.items():
            scripts = _recorded(tree, scratch / name, 4 * _SLOTS * laps)
            equal = [script for script in scripts if len(script.actions) == _STEPS]
            for place, chosen in {"in process": scripts, f"{_SLOTS} over HTTP": equal}.items():
                file = scratch / f"{name}-{len(place)}.json"
                file.write_text(json.dumps([chosen[lap * _SLOTS : (lap + 1) * _SLOTS] for lap in range(laps)]))
                server = stack.enter_context(_server(tree, "--world", "0")) if chosen is equal else None
                url = server.url if server else ""
                contestants[place, name] = stack.enter_context(_player(tree, file, url))
        played = race(contestants, options.rounds)
    return [
        {
            "environment": place,
            "tree": name,
            "steps/s": round(median(each["steps"] / each["seconds"] for each in own)),
            "us/step": median(each["seconds"] / each["steps"] for each in own) * 1e6,
            "CPU us/step of the environment": median(each["cpu"] / each["steps"] for each in own) * 1e6,
        }
        for (place, name), own in played.items()
    ]


def _served(trees: dict[str, Path], scratch: Path, options: Options) -> list[Row]:
    """Recorded answers, one call per request and many."""
    recordings, cache = scratch / "recordings", scratch / "cache"
    requests = write_recordings(recordings, apis=500, entries=3)
    import_recordings(recordings, cache)
    bodies: dict[str, tuple[int, int, Sequence[Any]]] = {
        "/virtual": (_CLIENTS, 1, requests),
        "/v1/calls": (1, _BATCH, grouped(as_calls(requests), _BATCH)),
    }
    seconds = 0.3 if options.quick else 2.0
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(_server(tree, "--cache", str(cache), "--read-only"))
            for name, tree in trees.items()
        }
        settings = {RECORDINGS_VARIABLE: str(recordings / "tool_response_cache")}
        servers[ECHO] = stack.enter_context(serve_app(f"{APPS}:echo", *LEAN))
        servers[REFERENCE] = stack.enter_context(serve_app(f"{APPS}:make_reference", "--factory", settings=settings))
        contestants = {}
        for route, (clients, _, sent) in bodies.items():
            for name, server in servers.items():
                pin(server.pid, 0)
                if route == "/virtual" or name in trees:
                    prepared = [post_bytes(server.url, route, body) for body in sent]
                    contestants[route, name] = partial(timed_load, server, prepared, clients, seconds)
        laps = race(contestants, options.rounds)
    rates = {who: median(lap.load.rate for lap in own) for who, own in laps.items()}
    return [
        {
            "route": route,
            "server": name,
            "clients": bodies[route][0],
            "calls/s": round(rates[route, name] * bodies[route][1]),
            "CPU us/call": median(lap.cpu for lap in own) / bodies[route][1],
            **{
                f"x {peer}": rates[route, name] / rates[route, peer] if (route, peer) in rates else None
                for peer in ("before", ECHO, REFERENCE)
            },
            "failures": sum(lap.load.failures for lap in own),
        }
        for (route, name), own in laps.items()
    ]


if __name__ == "__main__":
    run_command("speed.compare", Options, run, ["uvicorn", "uvloop", "httptools"])

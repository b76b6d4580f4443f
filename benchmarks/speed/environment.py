"""Environment steps per second: ToolWorld and StableToolBench, in process and over HTTP, beside other environments.

    python -m benchmarks.speed.environment --data stabletoolbench

All contestants play episodes of the same lengths, in turns. Actions are scripted: gold solutions of ToolWorld's tasks,
and StepTool's published episodes for StableToolBench. Peers have their own tasks (a game, an echo) and take part if
they are installed, see docs/benchmarks.md.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import gymnasium as gym
import tyro

from agents.base import Agent
from agents.baselines.oracle import OracleAgent
from agents.baselines.replay import ReplayAgent
from benchmarks.harness.command import run_command
from benchmarks.harness.episodes import Env, Played, Script, make_vector, play, play_vector, record
from benchmarks.harness.report import Result, Row
from benchmarks.harness.timing import Pace, race
from benchmarks.peers import Peer
from benchmarks.peers.gem import gem
from benchmarks.peers.gym import cartpole
from benchmarks.peers.openenv import ECHO, ECHO_INSIDE, ECHO_TOOL, ECHO_TOOL_INSIDE, openenv
from steptool_env.suites.imported import imported_cache
from toolserver.testing import ServerProcess

PEERS: Mapping[str, Peer] = {"gymnasium": cartpole, "gem-llm": gem, "openenv": openenv}
"""Context managers of the peers, by package."""

IN_PROCESS, OVER_NETWORK = "in process", "HTTP"
"""Transports: tools in the same process, or behind a socket of 127.0.0.1."""

REFERENCES = ("OpenEnv echo", "OpenEnv echo tool", "CartPole")
"""Peers of the ratios, by transport: a step in process is compared with theirs in process, one over HTTP with theirs
over the WebSocket of their protocol."""

_REFERENCE_ROWS: Mapping[tuple[str, str], str] = {
    ("OpenEnv echo", IN_PROCESS): ECHO_INSIDE,
    ("OpenEnv echo", OVER_NETWORK): ECHO,
    ("OpenEnv echo tool", IN_PROCESS): ECHO_TOOL_INSIDE,
    ("OpenEnv echo tool", OVER_NETWORK): ECHO_TOOL,
    ("CartPole", IN_PROCESS): "CartPole",
}
"""Row of each (peer, transport)."""

_STEP, _RATIO, _RATE = 50.0, 20, 12_000  # targets: microseconds of a step, ratio to a peer, steps/s of a vector
_RUN, _SET = "steptool_cot", "G1_instruction"  # set of the replayed published episodes
_LEVELS = ("lite", "standard")


@dataclass(frozen=True)
class Options:
    """Measure environment steps. Example: python -m benchmarks.speed.environment --quick."""

    quick: bool = False
    """Fewer episodes and rounds: seconds instead of minutes."""
    data: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of StableToolBench's data (docs/data.md); without it only ToolWorld is measured."""

    @property
    def episodes(self) -> int:
        """Number of episodes per lap."""
        return 24 if self.quick else 256

    @property
    def tasks(self) -> int:
        """Number of different episodes per environment, enough that no lap profits from caches of another."""
        return 2 * self.episodes * (self.rounds + 1)

    @property
    def rounds(self) -> int:
        """Number of counted laps per contestant."""
        return 3 if self.quick else 7

    @property
    def sizes(self) -> Sequence[int]:
        """Sizes of vector environments."""
        return (1, 16) if self.quick else (1, 16, 64, 256, 1024)


class World(NamedTuple):
    """Environment of this project.

    Attributes:
        name: Name in the tables.
        env_id: Id for `gym.make`.
        arguments: Arguments of the environment.
        agent: Agent whose episodes are recorded and played.
        server: Flags of its tool server.
        whole: True if its suite has fewer tasks than a run can use; then all are played.
    """

    name: str
    env_id: str
    arguments: Mapping[str, Any]
    agent: Agent
    server: Sequence[str]
    whole: bool = False


def run(options: Options) -> Result:
    """Measure every available environment."""
    worlds = _worlds(options.data)
    scripts = {
        world.name: record(world.env_id, world.arguments, world.agent, None if world.whole else options.tasks)
        for world in worlds
    }
    notes = [] if options.data else ["StableToolBench was not measured: --data was not given."]
    with ExitStack() as stack:
        urls = {world.name: stack.enter_context(ServerProcess(world.server)).url for world in worlds}
        single: dict[str, Callable[[], Played]] = {}
        for world in worlds:
            for number, (where, url) in enumerate(_places(urls[world.name]).items()):
                made = gym.make(world.env_id, **world.arguments, server_url=url, disable_env_checker=True)
                env = stack.enter_context(closing(made))
                laps = _laps(scripts[world.name], options.episodes, number * (options.rounds + 1))
                single[f"{world.name}, {where}"] = partial(_play_next, env, laps)
        for package, peer in PEERS.items():
            try:
                single.update(stack.enter_context(peer(scripts[worlds[0].name][: options.episodes])))
            except ImportError as error:
                notes.append(f"{package} was not measured: {error}.")
        one = _single_rows(race(single, options.rounds))
        many: list[Row] = []
        for world in worlds:
            many += _vector_rows(world, urls[world.name], scripts[world.name], options)
    tables = {"One episode at a time": one, "Episodes side by side": many, "What was played": _played(scripts)}
    return Result("environment", "Environment steps per second", tables, [*notes, *_targets(one, many)])


def _targets(one: Sequence[Row], many: Sequence[Row]) -> list[str]:
    """Return the targets and the results of this run."""
    notes = []
    for place in (IN_PROCESS, OVER_NETWORK):
        (row,) = (each for each in one if each["environment"] == f"ToolWorld lite, {place}")
        ratio = row["x OpenEnv echo tool"]
        if isinstance(ratio, float):
            peer = _REFERENCE_ROWS["OpenEnv echo tool", place]
            notes.append(f"Target: a step, {place}, {_RATIO} x {peer}: {_outcome(ratio >= _RATIO)} ({ratio:.1f} x).")
    (alone,) = (row for row in one if row["environment"] == f"ToolWorld lite, {IN_PROCESS}")
    step = alone["us/step"]
    assert isinstance(step, float)
    notes.append(f"Target: a step in process at most {_STEP} us: {_outcome(step <= _STEP)} ({step:.1f} us).")
    for row in many:
        where = row["environment"], row["tools"], row["episodes at once"]
        if where == ("ToolWorld lite", OVER_NETWORK, 256) and isinstance(rate := row["steps/s"], int):
            notes.append(f"Target: {_RATE:,} steps/s of 256 over HTTP: {_outcome(rate >= _RATE)} ({rate:,}).")
    return notes


def _outcome(reached: bool) -> str:
    return "reached" if reached else "missed"


def _worlds(data: Path | None) -> list[World]:
    worlds = [
        World(
            f"ToolWorld {level}",
            "StepTool/ToolWorld-v0",
            {"level": level},
            OracleAgent(),
            ["--world", "0", "--world-level", level],
        )
        for level in _LEVELS
    ]
    if data is not None:
        agent = ReplayAgent.from_path(str(data / "judged_runs" / _RUN / f"{_SET}.json"))
        server = ["--cache", str(imported_cache(data / "server")), "--read-only"]
        worlds.append(
            World(
                "StableToolBench",
                "StepTool/StableToolBench-v0",
                {"suite": _SET, "data": str(data)},
                agent,
                server,
                whole=True,
            )
        )
    return worlds


def _places(url: str) -> dict[str, str | None]:
    return {IN_PROCESS: None, OVER_NETWORK: url}


def _laps(scripts: Sequence[Script], episodes: int, first: int) -> Iterator[list[Script]]:
    """Return `episodes` scripts per lap, from those of lap `first` on, cyclically."""
    endless = islice(cycle(scripts), first * episodes % len(scripts), None)
    while True:
        yield list(islice(endless, episodes))


def _play_next(env: Env, laps: Iterator[list[Script]]) -> Played:
    return play(env, next(laps))


def _vector_rows(world: World, url: str, scripts: Sequence[Script], options: Options) -> list[Row]:
    """Return the laps of vector environments of every size, with as many steps as the scripts have (or 8 per slot)."""
    total = options.episodes * sum(len(script.actions) for script in scripts) // len(scripts)
    with ExitStack() as stack:
        contestants: dict[tuple[str, int], Callable[[], Played]] = {}
        for where, place in _places(url).items():
            for size in options.sizes:
                made = make_vector(world.env_id, {**world.arguments, "server_url": place}, size)
                envs = stack.enter_context(closing(made))
                contestants[where, size] = partial(play_vector, envs, cycle(scripts), max(total, 8 * size))
        laps = race(contestants, options.rounds)
    rows: list[Row] = []
    for (where, size), played in laps.items():
        pace = Pace.of([each.stepping for each in played])
        alone = Pace.of([each.stepping for each in laps[where, 1]]).rate
        rows.append(
            {
                "environment": world.name,
                "tools": where,
                "episodes at once": size,
                "steps/s": round(pace.rate),
                "slowest": round(pace.slowest),
                "us/step": pace.microseconds,
                "steps/s with resets": round(Pace.of([each.whole for each in played]).rate),
                "x one at a time": pace.rate / alone,
            }
        )
    return rows


def _single_rows(laps: Mapping[str, Sequence[Played]]) -> list[Row]:
    paces = {name: Pace.of([each.stepping for each in played]) for name, played in laps.items()}

    def ratio(name: str, other: str) -> float | None:
        reference = _REFERENCE_ROWS.get((other, _transport(name)))
        return paces[name].rate / paces[reference].rate if reference in paces else None

    return [
        {
            "environment": name,
            "steps/s": round(pace.rate),
            "slowest": round(pace.slowest),
            "us/step": pace.microseconds,
            "steps/s with resets": round(Pace.of([each.whole for each in laps[name]]).rate),
            **{f"x {other}": ratio(name, other) for other in REFERENCES},
        }
        for name, pace in paces.items()
    ]


def _transport(name: str) -> str:
    """Return the transport of a row: in process, unless its name has a protocol."""
    return OVER_NETWORK if name.endswith((", HTTP", ", WebSocket")) else IN_PROCESS


def _played(scripts: Mapping[str, Sequence[Script]]) -> list[Row]:
    return [
        {
            "environment": name,
            "different episodes": len(each),
            "steps": sum(len(script.actions) for script in each),
            "characters of an action": sum(len(a) for s in each for a in s.actions) / sum(len(s.actions) for s in each),
        }
        for name, each in scripts.items()
    ]


if __name__ == "__main__":
    run_command("speed.environment", Options, run, ["gem-llm", "openenv"])

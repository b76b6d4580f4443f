"""Growth of costs with size: fitted exponents of costs that must be constant or linear.

    python -m benchmarks.speed.scaling

| cost | against |
|---|---|
| a call of the tool service, in process | APIs in the catalog |
| a step of ToolWorld, with text and reward | steps taken before in the episode |
| a step of one episode in a vector environment | concurrent episodes |
| an episode with the model: reading the prompt once, then actions and observations | tokens of the prompt |
| importing StableToolBench's folders | recorded calls in them |

Each is measured at several sizes, in turns. The exponent is the slope of cost over size on logarithmic axes: 0 is
constant, 1 is proportional.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from time import perf_counter

import gymnasium as gym

from agents.baselines.oracle import OracleAgent
from benchmarks.harness.command import run_command
from benchmarks.harness.episodes import Envs, Script, make_vector, play_vector, record
from benchmarks.harness.report import Result, Row
from benchmarks.harness.timing import Lap, Pace, growth, race
from benchmarks.speed.recordings import import_recordings, write_recordings
from benchmarks.speed.sampling import contexts
from steptool_env.formats import make_format
from toolserver.cache import ResponseCache
from toolserver.catalog.api_schema import ApiSpec, ToolCall, encode_body
from toolserver.catalog.catalog import Catalog
from toolserver.resolvers.recorded import RecordedResolver
from toolserver.service.service import ToolService

Laps = Mapping[int, Callable[[], Lap]]
"""Function that runs one lap, by size."""

_ENV = "StepTool/ToolWorld-v0"
_CALLS = 1000  # each of another API, spread over the catalog
_PASSES = 20  # rounds over the calls in one lap: garbage collection evicts the processor's caches before the first
_WINDOW = 16  # steps per measurement at one history length
_ROUNDS = 5
_APIS_OF_A_TOOL = 10
_CALLS_OF_AN_API = 50


@dataclass(frozen=True)
class Options:
    """Measure the growth of costs. Example: python -m benchmarks.speed.scaling --quick."""

    quick: bool = False
    """Small sizes and few rounds: seconds."""


def run(options: Options) -> Result:
    """Measure every growth."""
    rounds = 2 if options.quick else _ROUNDS
    measured: list[tuple[str, str, str, AbstractContextManager[Laps]]] = [
        ("call, us", "APIs in the catalog", "0 ± 0.05", catalogs(_sizes(options, 1_000, 10_000, 100_000))),
        ("step, us", "earlier steps", "0 ± 0.05", histories(_sizes(options, 8, 32, 128, 512))),
        ("step of one episode, us", "episodes at once", "<= 0", vectors(_sizes(options, 1, 16, 64, 256, 1024))),
        ("import of a call, us", "recorded calls", "0 ± 0.05", imports(_sizes(options, 500, 5_000, 50_000))),
        ("episode, ms", "tokens of the prompt", "<= 1.1", nullcontext(contexts(_sizes(options, 128, 256, 512, 1024)))),
    ]
    tables: dict[str, Sequence[Row]] = {}
    exponents: list[Row] = []
    for cost, size, wanted, laps in measured:
        with laps as each:
            rows, exponent = fit(cost, size, each, rounds)
        tables[f"{cost} by {size}"] = rows
        exponents.append({"cost": cost, "by": size, "exponent": exponent, "wanted": wanted})
    return Result("scaling", "How costs grow", {"Exponents": exponents, **tables})


def _sizes(options: Options, *sizes: int) -> Sequence[int]:
    return sizes[:2] if options.quick else sizes


def fit(cost: str, size: str, laps: Laps, rounds: int) -> tuple[list[Row], float]:
    """Return the cost of one unit at each size (milliseconds if its name says so), and the exponent of its growth."""
    scale = 1e3 if cost.endswith("ms") else 1e6
    paces = {each: Pace.of(own) for each, own in race(laps, rounds).items()}
    # The fastest lap: other processes only add time.
    costs = {each: scale / pace.fastest for each, pace in paces.items()}
    rows: list[Row] = [{size: each, cost: costs[each], "median": scale / paces[each].rate} for each in costs]
    return rows, growth(list(costs), list(costs.values()))


@contextmanager
def catalogs(sizes: Sequence[int]) -> Iterator[Laps]:
    """Return calls of a service with recordings, by the number of APIs in its catalog."""
    with ExitStack() as stack:
        laps = {}
        for size in sizes:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            specs = [ApiSpec("Data", f"Tool {n // _APIS_OF_A_TOOL}", f"Api {n % _APIS_OF_A_TOOL}") for n in range(size)]
            calls = [_call(specs[n * size // _CALLS], n) for n in range(_CALLS)]
            cache = stack.enter_context(ResponseCache(folder))
            with cache.transaction():
                for call in calls:
                    cache.put(call, encode_body("", {"answer": "x" * 300}))
            laps[size] = partial(_answer, ToolService(Catalog(specs), [RecordedResolver(cache)]), calls)
        yield laps


def _call(spec: ApiSpec, number: int) -> ToolCall:
    return ToolCall(spec.category, spec.tool, spec.name, {"number": number})


def _answer(service: ToolService, calls: Sequence[ToolCall]) -> Lap:
    begin = perf_counter()
    for _ in range(_PASSES):
        for call in calls:
            service.call(call)
    return Lap(_PASSES * len(calls), perf_counter() - begin)


@contextmanager
def histories(lengths: Sequence[int]) -> Iterator[Laps]:
    """Return steps of ToolWorld by the number of earlier steps in the episode."""
    with closing(gym.make(_ENV, call_budget=max(lengths) + _WINDOW + 1, disable_env_checker=True)) as env:
        _, info = env.reset(seed=0)
        name = info["functions"][0]["name"]
        call = make_format(info["format"]).render(name, '{"id": "1", "name": "a"}')
        yield {length: partial(_late_steps, env, call, length) for length in lengths}


def _late_steps(env: gym.Env[str, str], call: str, length: int) -> Lap:
    env.reset(seed=0)
    for _ in range(length):
        env.step(call)
    begin = perf_counter()
    for _ in range(_WINDOW):
        env.step(call)
    return Lap(_WINDOW, perf_counter() - begin)


@contextmanager
def vectors(sizes: Sequence[int]) -> Iterator[Laps]:
    """Return steps of one episode, by the number of concurrent episodes."""
    scripts = cycle(record(_ENV, {}, OracleAgent(), 1024))
    with ExitStack() as stack:
        laps = {}
        for size in sizes:
            envs = make_vector(_ENV, {}, size)
            stack.callback(envs.close)
            laps[size] = partial(_stepping, envs, scripts, max(512, 4 * size))
        yield laps


def _stepping(envs: Envs, scripts: Iterator[Script], steps: int) -> Lap:
    return play_vector(envs, scripts, steps).stepping


@contextmanager
def imports(sizes: Sequence[int]) -> Iterator[Laps]:
    """Return imports of generated folders in StableToolBench's layout, by their number of calls, a multiple of 50."""
    with ExitStack() as stack:
        laps = {}
        for size in sizes:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            write_recordings(folder, size // _CALLS_OF_AN_API, _CALLS_OF_AN_API)
            laps[size] = partial(_import, folder, size)
        yield laps


def _import(folder: Path, size: int) -> Lap:
    with tempfile.TemporaryDirectory() as target:
        begin = perf_counter()
        import_recordings(folder, Path(target))
        seconds = perf_counter() - begin
        with ResponseCache(target, read_only=True) as cache:
            if len(cache) != size:
                raise RuntimeError(f"{len(cache)} of {size} calls were imported")
    return Lap(size, seconds)


if __name__ == "__main__":
    run_command("speed.scaling", Options, run)

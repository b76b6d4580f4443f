"""A suite small enough to see through: three tools that answer at once, and a reward that counts."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from steptool_env.client import LocalToolClient, ToolClient
from steptool_env.env import ToolEnv
from steptool_env.episodes.config import EpisodeConfig
from steptool_env.episodes.episode import Transition
from steptool_env.errors import ConfigurationError, ToolTransportError
from steptool_env.formats import make_format
from steptool_env.rewards import StepReward
from steptool_env.types import Step, Task
from toolserver.catalog.api_schema import (
    ApiSpec,
    Outcome,
    Parameter,
    Provenance,
    StatusCode,
    ToolCall,
    ToolResponse,
    encode_body,
)
from toolserver.catalog.catalog import Catalog
from toolserver.resolvers.base import Resolver, ValidatedCall
from toolserver.service.service import ToolService

COUNTER = ApiSpec("Toys", "Counter", "Count up", "Adds to the count.", (Parameter("by", "NUMBER"),))
ECHO = ApiSpec("Toys", "Echo", "Say it", "Says it back.", (Parameter("text"),), tool_description="An echo.")
BROKEN = ApiSpec("Toys", "Broken", "Fail", "Always fails.")


class ToyTools(Resolver):
    """`Count up` keeps its count in the state token; `Say it` repeats; `Fail` fails."""

    blocking = False

    def resolve(self, call: ValidatedCall) -> ToolResponse:
        if call.tool == "broken":
            return ToolResponse(encode_body("API not working error...", ""), Outcome.UNAVAILABLE, Provenance.SYNTHETIC)
        if call.tool == "echo":
            return ToolResponse(encode_body("", call.arguments.get("text", "")))
        by = call.arguments.get("by", 1)
        count = int(call.state.removeprefix("count=")) + (by if isinstance(by, int) else 0)
        return ToolResponse(encode_body("", {"count": count}), Outcome.OK, Provenance.WORLD, f"count={count}", 0.5)


class ToySuite:
    """Ten tasks, all with the same tools."""

    name = "toys"

    def __init__(self, **settings: Any) -> None:
        self.settings: Mapping[str, Any] = settings

    def __len__(self) -> int:
        return 10

    def task(self, index: int) -> Task:
        if not 0 <= index < 10:
            raise IndexError(index)
        functions = (COUNTER.function_name,)
        return Task(f"toy-{index}", "toys", f"Count to {index}.", (COUNTER, ECHO, BROKEN), functions)

    def find(self, task_id: str) -> Task:
        prefix, _, index = task_id.partition("-")
        if prefix != "toy" or not index.isdigit() or int(index) >= 10:
            raise ConfigurationError(f"task {task_id!r}: there are toy-0 to toy-9")
        return self.task(int(index))

    def initial_state(self, task: Task, episode_seed: int) -> str:
        return f"count={episode_seed % 100}"

    def service(self) -> ToolService:
        return ToolService(Catalog((COUNTER, ECHO, BROKEN)), [ToyTools()])


@dataclass
class CountingScorer:
    """Pays 1 for every success, and in hindsight the number of the step as well."""

    statuses: list[StatusCode] = field(default_factory=list)

    def score(self, step: Step) -> StepReward:
        self.statuses.append(step.status)
        good = float(step.status is StatusCode.OK)
        return StepReward(good, {"good": good})

    def hindsight(self) -> tuple[StepReward, ...]:
        return tuple(StepReward(n + float(s is StatusCode.OK), {"n": float(n)}) for n, s in enumerate(self.statuses))

    def outcome(self) -> Mapping[str, float]:
        return {"is_solved": float(self.statuses[-1] is StatusCode.FINAL_ANSWER)}


class CountingReward:
    def start(self, task: Task) -> CountingScorer:
        return CountingScorer()


def call(name: str, **arguments: Any) -> str:
    """A call in the `react` format."""
    return make_format("react").render(name, json.dumps(arguments))


COUNT = call("count_up_for_counter", by=1)
SAY = call("say_it_for_echo", text="hello")
FAIL = call("fail_for_broken")
ANSWER = call("Finish", return_type="give_answer", final_answer="done")
GIVE_UP = call("Finish", return_type="give_up_and_restart")
ACTIONS = (COUNT, SAY, FAIL, ANSWER, GIVE_UP, "no call at all", call("unknown"), call("Finish"))


def toy_config(**changes: Any) -> EpisodeConfig:
    """Rules with a budget of six calls."""
    return EpisodeConfig(**{"reward": CountingReward(), "call_budget": 6, **changes})


def toy_env(**changes: object) -> ToolEnv:
    return ToolEnv(ToySuite(), toy_config(**changes))


def play(env: ToolEnv, actions: Sequence[str]) -> list[Transition]:
    """Return everything that `env` returns for `actions`, until its episode ends."""
    seen: list[Transition] = []
    for action in actions:
        if env.episode.over:
            break
        seen.append(env.step(action))
    return seen


class Unreachable(ToolClient):
    """A client whose server is away."""

    def call_many(self, calls: Sequence[ToolCall]) -> list[ToolResponse]:
        raise ToolTransportError("http://tools: ConnectError")

    def stream(self, calls: Sequence[ToolCall]) -> Iterator[ToolResponse]:
        yield from self.call_many(calls)


class CountingClient(LocalToolClient):
    """Remembers how many calls came in each exchange."""

    def __init__(self) -> None:
        super().__init__(ToySuite())
        self.exchanges: list[int] = []

    def call_many(self, calls: Sequence[ToolCall]) -> list[ToolResponse]:
        self.exchanges.append(len(calls))
        return super().call_many(calls)

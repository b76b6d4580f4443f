"""Worlds, samplers and episodes for several tests; each world is made once per process."""

import json
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from steptool_env.toolworld import Oracle, TaskSampler, WorldTask, gold_answer
from steptool_env.toolworld.suite import ToolWorldSuite, load_suite
from steptool_env.types import FINISH, Action, Step, Task
from toolserver.catalog.api_schema import Provenance, StatusCode, encode_body
from toolserver.episodes.state_token import StateCodec, opening_token
from toolserver.resolvers.world import changes_of
from toolserver.world import make_world
from toolserver.world.changes import Changes
from toolserver.world.vendors import VendorApi, VendorRegistry

LEVELS = ("lite", "standard", "full")


@cache
def vendors(level: str = "lite", seed: int = 0) -> VendorRegistry:
    return VendorRegistry(make_world(seed, level))


@cache
def sampler(split: str, level: str = "lite") -> TaskSampler:
    return TaskSampler(vendors(level), split)


def tasks(split: str, level: str = "lite", count: int = 40) -> list[WorldTask]:
    return [sampler(split, level).task(index) for index in range(count)]


def suite(split: str = "train", level: str = "lite", **settings: Any) -> ToolWorldSuite:
    return load_suite(split, level, **settings)


def opened(task: Task, seed: int = 3) -> Task:
    """Return `task` with the opening state of an episode."""
    state = opening_token(seed, "none", task.id)
    return Task(task.id, task.suite, task.query, task.tools, task.relevant, state, task.family, task.solution)


class Play:
    """Plays an episode without an environment and records the steps as the environment does."""

    def __init__(self, task: Task) -> None:
        self.task = opened(task)
        self.solution: WorldTask = task.solution
        self.steps: list[Step] = []
        state = StateCodec().read(self.task.state)
        self._changes: Changes = changes_of(state)

    def call(self, api: VendorApi, arguments: dict[str, Any]) -> Step:
        answer = api.answer(self.solution.columns.world, arguments, self._changes)
        self._changes = answer.changes
        body = encode_body(answer.error, answer.response).decode()
        action = Action("", api.spec.function_name, json.dumps(arguments))
        return self._add(Step(action, body, answer.outcome.status_code, body, Provenance.WORLD))

    def junk(self) -> Step:
        return self._add(Step(Action("hello", error="no call"), "", StatusCode.BAD_INPUT))

    def finish(self, answer: str | None) -> list[Step]:
        arguments, status = {"return_type": "give_answer", "final_answer": answer}, StatusCode.FINAL_ANSWER
        if answer is None:
            arguments, status = {"return_type": "give_up_and_restart"}, StatusCode.GAVE_UP
        self._add(Step(Action("", FINISH, json.dumps(arguments)), "", status))
        return self.steps

    def _add(self, step: Step) -> Step:
        self.steps.append(step)
        return step


def solve(task: Task) -> list[Step]:
    """Return the oracle's steps."""
    play, oracle = Play(task), Oracle(task.solution)
    while (call := oracle.next_call()) is not None:
        step = play.call(call.api, call.arguments)
        oracle.observe(call, step.status == StatusCode.OK, json.loads(step.body)["response"], Provenance.WORLD)
    return play.finish(None if oracle.gives_up else gold_answer(task.solution))


def rewards(reward: Any, task: Task, steps: Sequence[Step]) -> list[float]:
    """Return the rewards of an episode, in hindsight where the reward has it."""
    scorer = reward.start(opened(task))
    given = [scorer.score(step).reward for step in steps]
    hindsight = scorer.hindsight()
    return given if hindsight is None else [each.reward for each in hindsight]


def of_depth(suite_: ToolWorldSuite, depth: int, count: int) -> Iterable[Task]:
    found = (suite_.task(index) for index in range(len(suite_)))
    matching = (task for task in found if task.solution.plan.depth == depth and task.solution.solvable)
    return [next(matching) for _ in range(count)]

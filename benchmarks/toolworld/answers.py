"""Corpus of labelled answers to questions in world 0 (level `standard`).

The file has JSON lines. A line is a question: id, kind of its slots, query, nodes of the plan (operation and inputs; an
input is a stated value, or `[node, output]` of an earlier node), asked outputs (`[node, output]`, with `true` as third
element for all rows), their values, and answers with labels.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from steptool_env.errors import DataError
from steptool_env.toolworld import WorldTask
from steptool_env.toolworld.planning.columns import Columns
from steptool_env.toolworld.planning.plan import Asked, From, Given, Node, Plan, Source
from steptool_env.toolworld.planning.toolset import Toolset
from toolserver.world import make_world
from toolserver.world.vendors import Health, VendorApi, VendorRegistry

LEVEL = "standard"
CORPUS = Path(__file__).parents[2] / "tests" / "data" / "answers.jsonl"
"""The file in the repository."""


class Answer(NamedTuple):
    """A labelled answer. `right`, a careful reader's label: it answers the question and does not contradict itself."""

    text: str
    right: bool
    style: str


class Question(NamedTuple):
    """A question with its task, the kind and the expected values of its asked outputs, and labelled answers."""

    id: str
    kind: str
    task: WorldTask
    answers: tuple[Answer, ...]
    values: list[list[Any]]


@cache
def read_questions(path: Path = CORPUS) -> tuple[Question, ...]:
    """Read all questions, in the order of the file; once per process.

    Raises:
        DataError: The file does not exist.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the corpus of labelled answers, {CORPUS.name}")
    return tuple(_question(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines())


@cache
def _vendors() -> VendorRegistry:
    return VendorRegistry(make_world(0, LEVEL))


@cache
def _columns() -> Columns:
    return Columns(_vendors().world)


def _question(record: Mapping[str, Any]) -> Question:
    plan = _plan(record)
    bound = tuple(_api(node.operation) for node in plan.nodes)
    apis = tuple(dict.fromkeys(bound))
    task = WorldTask(
        f"corpus-{record['id']}", "corpus", record["query"], plan, Toolset(apis, bound), columns=_columns()
    )
    answers = tuple(Answer(**each) for each in record["answers"])
    return Question(record["id"], record["kind"], task, answers, record["values"])


def _plan(record: Mapping[str, Any]) -> Plan:
    nodes: list[Node] = []
    plan = Plan((), (), ())
    world = _vendors().world
    for operation, inputs in record["nodes"]:
        nodes.append(Node(operation, {name: _source(value) for name, value in inputs.items()}))
        arguments = {name: plan.value(source) for name, source in nodes[-1].inputs.items()}
        plan = Plan(tuple(nodes), (*plan.results, world.execute(operation, arguments)), ())
    return Plan(plan.nodes, plan.results, tuple(Asked(*each) for each in record["asked"]))


def _source(value: Any) -> Source:
    return From(*value) if isinstance(value, list) else Given(value)


@cache
def _api(operation: str) -> VendorApi:
    """Return the first healthy API of an operation whose vendor uses the world's units."""
    vendors = _vendors()
    for index in vendors.offering(operation):
        api = vendors.tool(index).api_of(operation)
        if api is None or api.health is not Health.OK:
            continue
        if not (api.vendor.style.values.imperial or api.vendor.style.values.cents):
            return api
    raise DataError(f"{operation}: no healthy vendor of level {LEVEL} offers it in the world's units")

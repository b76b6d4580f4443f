"""Generated tasks: they are distinct, offer the needed APIs, and do not reveal the answer."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from steptool_env.toolworld import SPLITS, TaskSampler, gold_answer, read_task_id
from steptool_env.toolworld.answers.parsing import fold
from steptool_env.toolworld.planning.plan import From, Given
from steptool_env.toolworld.planning.toolset import COUNTS
from steptool_env.toolworld.suite import ToolWorldSuite
from steptool_env.toolworld.wording.operation_patterns import Phrases
from tests.toolserver.world.worlds import LEVELS, sampler, tasks, vendors
from toolserver.errors import ConfigurationError
from toolserver.world.schema import OperationKind, ValueKind
from toolserver.world.vendors import Health

SIX = ("G1_instruction", "G1_tool", "G1_category", "G2_instruction", "G2_category", "G3_instruction")
SOME = [
    ("train", "lite"),
    ("G1_category", "lite"),
    ("G3_instruction", "lite"),
    ("depth-4", "standard"),
    ("train", "full"),
]
some = pytest.mark.parametrize(("split", "level"), SOME)


@some
def test_the_same_arguments_give_the_same_tasks(split: str, level: str) -> None:
    again = TaskSampler(vendors(level), split)
    for index, task in enumerate(tasks(split, level, 10)):
        twin = again.task(index)
        assert (twin.id, twin.query, twin.plan.signature) == (task.id, task.query, task.plan.signature)
        assert [api.key for api in twin.toolset.apis] == [api.key for api in task.toolset.apis]


def test_training_tasks_do_not_depend_on_the_order_in_which_they_are_asked_for() -> None:
    forward = TaskSampler(vendors(), "train")
    queries = [forward.task(index).query for index in range(12)]
    backward = TaskSampler(vendors(), "train")
    assert [backward.task(index).query for index in reversed(range(12))] == queries[::-1]


@some
def test_every_needed_api_is_offered_once_under_a_name_of_its_own(split: str, level: str) -> None:
    low, high = COUNTS[level]
    for task in tasks(split, level):
        names = [api.spec.function_name for api in task.toolset.apis]
        assert len(set(names)) == len(names)
        assert low <= len(names) <= max(high, len(task.toolset.needed))
        assert set(task.needed) <= set(task.toolset.apis)
        assert all(api.health is Health.OK for api in task.needed if task.solvable)


@some
def test_a_query_tells_no_id_that_a_call_must_find(split: str, level: str) -> None:
    for task in tasks(split, level):
        plan = task.plan
        stated = {source.value for node in plan.nodes for source in node.inputs.values() if isinstance(source, Given)}
        words = set(fold(task.query).split())
        for result in plan.results:
            ids = {row.entity for row in result.rows} | {
                value
                for row in result.rows
                for name, value in row.values.items()
                if result.operation.outputs[name].type.kind is ValueKind.ID
            }
            assert not {fold(each) for each in ids - stated if each} & words


@some
def test_a_query_says_everything_that_its_calls_must_be_given(split: str, level: str) -> None:
    for task in tasks(split, level):
        for node in task.plan.nodes:
            for name, source in node.inputs.items():
                slot = task.columns.world.operations[node.operation].inputs[name]
                if isinstance(source, Given) and slot.type.kind in (ValueKind.TEXT, ValueKind.ID):
                    assert fold(str(source.value)) in fold(task.query)


def test_of_a_ranking_only_what_its_question_names_is_asked() -> None:
    ranked = 0
    for task in tasks("G3_instruction", "standard", 120):
        for asked in task.plan.asked:
            operation = task.plan.results[asked.node].operation
            if operation.kind is OperationKind.RANK:
                entity = task.columns.world.entities[operation.subject]
                measure = entity.attribute(operation.attribute).name
                label = Phrases(task.columns.world).label(f"{entity.name}.{measure}")
                assert asked.output in (entity.attributes[0].name, measure)
                assert asked.output != measure or label.removeprefix("number of ") in task.query
                ranked += 1
    assert ranked > 10


@some
def test_the_answer_is_not_in_the_query(split: str, level: str) -> None:
    for task in tasks(split, level):
        if task.solvable and not task.plan.writes:
            assert fold(gold_answer(task)) not in fold(task.query)


@some
def test_a_plan_flows_forward_and_is_as_deep_as_it_says(split: str, level: str) -> None:
    for task in tasks(split, level):
        plan = task.plan
        assert all(parent < index for index, node in enumerate(plan.nodes) for parent in node.parents())
        assert all(len(list(node.parents())) <= 3 for node in plan.nodes)
        if split.startswith("depth-"):
            assert plan.depth == int(split[-1])
        used = {source.node for node in plan.nodes for source in node.inputs.values() if isinstance(source, From)}
        assert used | {len(plan.nodes) - 1} == set(range(len(plan.nodes)))  # no call is for nothing


@pytest.mark.parametrize("split", SIX)
def test_the_six_test_splits_are_solvable_and_span_what_their_names_say(split: str) -> None:
    for task in tasks(split):
        assert task.solvable
        tools = {api.vendor.index for api in task.toolset.bound}
        categories = {api.spec.category for api in task.toolset.bound}
        assert (len(tools) == 1) == split.startswith("G1")
        assert (len(categories) > 1) == split.startswith("G3")


def test_unsolvable_tasks_are_as_frequent_as_asked() -> None:
    assert not any(task.solvable for task in tasks("unsolvable"))
    shares = {}
    for share in (0.0, 0.05, 0.4):
        drawn = TaskSampler(vendors(), "train", unsolvable=share)
        shares[share] = sum(not drawn.task(index).solvable for index in range(200)) / 200
    assert shares[0.0] == 0.0
    assert 0.01 < shares[0.05] < 0.1
    assert 0.3 < shares[0.4] < 0.5


def test_an_id_names_one_task_of_one_setting() -> None:
    assert read_task_id(sampler("G1_tool", "standard").task_id(7)) == (0, "standard", "G1_tool", 7)
    ids = {
        TaskSampler(vendors(), "train", **settings).task_id(0)
        for settings in ({}, {"unsolvable": 0.5}, {"depths": {2: 1.0}})
    }
    assert len(ids) == 3


@pytest.mark.parametrize("level", LEVELS)
def test_depths_can_be_chosen_where_the_split_leaves_them_open(level: str) -> None:
    chosen = TaskSampler(vendors(level), "train", depths={2: 1.0})
    assert {chosen.task(index).plan.depth for index in range(20)} == {2}


def test_queries_come_in_many_forms() -> None:
    firsts = {task.query.split()[0] for task in tasks("train", "full", 60)}
    assert len(firsts) >= 8


@pytest.mark.parametrize("split", SPLITS)
def test_no_task_is_twice_in_a_split_other_than_train(split: str) -> None:
    if SPLITS[split].part != "train":
        signatures = [task.plan.signature for task in tasks(split)]
        assert len(set(signatures)) == len(signatures)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"split": "G9"}, "G1_instruction"),
        ({"unsolvable": 1.5}, "unsolvable"),
        ({"depths": {9: 1.0}}, "depths"),
        ({"depths": {1: 0.0}}, "depths"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        TaskSampler(vendors(), **settings)  # type: ignore[arg-type]


def test_beyond_the_end_there_is_no_task() -> None:
    with pytest.raises(IndexError, match="400"):
        sampler("G1_tool").task(400)


@pytest.mark.parametrize("text", ["", "w0-lite", "x0-lite-train-1", "w0-lite-train-"])
def test_what_is_no_task_id_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="w0-lite-train-17"):
        read_task_id(text)


@pytest.mark.parametrize("level", LEVELS)
def test_no_computed_answer_is_an_input_of_its_call(level: str) -> None:
    """At 60 km/h the distance in kilometres is the travel time in minutes, so the last call is needless."""
    for task in tasks("train", level, 400):
        result = task.plan.results[-1]
        if result.operation.kind is OperationKind.COMPUTE and len(task.plan.asked) == 1:
            value = result.values[task.plan.asked[0].output]
            numbers = [each for each in result.arguments.values() if type(each) in (int, float)]
            if type(value) in (int, float):
                assert all(abs(value - each) > 0.002 * abs(value) for each in numbers), task.query


def test_threads_find_the_tasks_that_one_finds() -> None:
    """A task depends on those before it; each thread asks for others first, as judges of recorded episodes do."""
    one, several = ToolWorldSuite("depth-2", tools=30), ToolWorldSuite("depth-2", tools=30)
    expected = [one.task(index).query for index in range(24)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda index: several.task(index).query, range(24)))
    finally:
        sys.setswitchinterval(interval)
    assert found == expected

"""Verdicts on tau2's telecom tasks: those of tau2's own evaluators, with the calls that each verdict needs."""

import json
import random
import sys
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import pytest

from agents.baselines.demonstrations import Noise, demonstrate
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.registry import make_agent
from steptool_env.rewards.graded import start_grading
from steptool_env.tau2.grading import Call, fulfilled, needed_calls, sources
from steptool_env.tau2.solutions import Tau2Solutions
from steptool_env.tau2.suite import load_suite
from steptool_env.types import Action, Step, Trajectory
from toolserver.calls.json_parsing import parse
from toolserver.catalog.api_schema import Provenance, StatusCode
from toolserver.tau2 import Simulation, Tau2Task, load_apis, load_checks, load_tasks

ENV = "StepTool/Tau2Telecom-v0"

pytestmark = [
    pytest.mark.usefixtures("tau2"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning"),  # of tau2's evaluators
]


def play(agent: str, episodes: int | None = None, **settings: object) -> list[Trajectory]:
    return evaluate(Evaluation(ENV, {"policy": "none", **settings}, episodes), make_agent(agent))


def mean(played: Sequence[Trajectory], name: str) -> float:
    return sum(each.metadata["outcome"][name] for each in played) / len(played)


def calls_of(trajectory: Trajectory) -> list[Call]:
    """The calls that the simulation answered."""
    return [
        Call(index, step.action.name, parse(step.action.arguments or "{}"))
        for index, step in enumerate(trajectory.steps)
        if step.provenance is Provenance.WORLD
    ]


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Verdict of tau2's own evaluators on calls, as `evaluate_simulation` combines them; none where they raise.

    They make the calls again and compare the answers, so that the ids of new bills must not be random.
    """
    if find_spec("pandas") is None:  # imported for tables of results; no evaluator uses it
        monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=object))
    environment = import_module("tau2.evaluator.evaluator_env").EnvironmentEvaluator
    action = import_module("tau2.evaluator.evaluator_action").ActionEvaluator
    model = import_module("tau2.data_model.message")
    make = import_module("tau2.domains.telecom.environment").get_environment
    opened = {solo: make(solo_mode=solo) for solo in (False, True)}  # which takes most of the time
    tools = import_module("tau2.domains.telecom.tools")

    def constructor(solo_mode: bool = False) -> Any:
        return deepcopy(opened[solo_mode])

    def verdict(task: Tau2Task, calls: Sequence[Call]) -> bool | None:
        numbers = count()
        ids = SimpleNamespace(uuid4=lambda: SimpleNamespace(hex=f"{next(numbers):08x}"))
        monkeypatch.setattr(tools, "uuid", ids)
        messages: list[Any] = []
        made = constructor(solo_mode=True)
        start = task.definition.initial_state
        made.set_state(start.initialization_data, start.initialization_actions, [])
        for number, call in enumerate(calls):
            asked = model.ToolCall(id=str(number), name=call.function, arguments=dict(call.arguments))
            messages.append(model.AssistantMessage(role="assistant", tool_calls=[asked]))
            messages.append(made.get_response(asked))
        numbers = count()
        try:
            rewards = [
                environment.calculate_reward(constructor, task.definition, messages, solo_mode=True).reward,
                action.calculate_reward(task.definition, messages).reward if task.needs_calls else 1.0,
            ]
        except AttributeError:  # settings of a wrong type
            return None
        return all(reward == 1 for reward in rewards)

    return verdict


def ours(task: Tau2Task, calls: Sequence[Call]) -> bool:
    simulation = Simulation(task)
    for call in calls:
        simulation.call(call.function, call.arguments)
    return all(fulfilled(task, simulation, calls))


def test_the_oracle_solves_all_tasks_and_each_return_is_one() -> None:
    played = play("oracle", group="all", policy="manual")
    assert len(played) == 114
    assert mean(played, "is_solved") == mean(played, "progress") == mean(played, "assertions") == 1
    assert all(abs(sum(each.rewards) - 1) < 1e-9 for each in played)
    assert max(len(each.steps) for each in played) == 13
    assert not [step for each in played for step in each.steps if "characters cut" in step.observation]
    assert all(
        "<policy>" in each.task.query and Tau2Solutions().solution_of(each.task).ticket in each.task.query
        for each in played
    )


def test_tasks_that_hold_at_the_start_are_marked_and_left_out_by_default() -> None:
    held = {task.id for task in load_tasks().values() if all(Simulation(task).met(task))}
    assert len(held) == 20
    played = play("no-tools", group="all")
    assert {each.task.id for each in played if not each.metadata["outcome"]["is_repair"]} == held
    assert {each.task.suite for each in played if each.task.id in held} == {"Tau2Telecom/all/escalate"}
    assert mean(played, "is_solved") == 0  # their verdict also asks for a transfer
    assert held.isdisjoint(load_suite().task(index).id for index in range(len(load_suite())))


def wrong_runs() -> Iterator[Trajectory]:
    """Episodes of the noisy oracle, and of the random and the greedy agent, in tasks of all groups."""
    noise = Noise(wrong_tool=0.08, wrong_argument=0.1, repetition=0.1, early_finish=0.07)
    for seed in (7, 8):
        yield from demonstrate(Evaluation(ENV, {"group": "all", "policy": "none"}), noise, seed=seed)
    for agent in ("greedy-docs", "random"):
        yield from evaluate(Evaluation(ENV, {"group": "all", "policy": "none"}, 60), make_agent(agent))


def test_tau2s_own_evaluators_give_the_same_verdicts(theirs: Any) -> None:
    """On 348 recorded runs with mistakes, most of them wrong, and some right all the same."""
    verdicts = []
    for each in wrong_runs():
        expected = theirs(Tau2Solutions().solution_of(each.task), calls_of(each)) and each.finished
        assert (each.metadata["outcome"]["is_solved"] == 1) == bool(expected), each.task.id
        verdicts.append(bool(expected))
    assert len(verdicts) == 348
    assert verdicts.count(False) > 200
    assert verdicts.count(True) > 60


def mutated(task: Tau2Task, rng: random.Random) -> list[Call]:
    """The reference solution cut, or with one to three edits: a call left out, repeated, moved, or of another task."""
    calls = [Call(0, call.function, dict(call.arguments)) for call in task.gold]
    if rng.random() < 0.3:
        return calls[: rng.randrange(len(calls))]
    for _ in range(rng.randint(1, 3)):
        edit, place = rng.randrange(4), rng.randrange(len(calls) + 1)
        if edit == 0 and calls:
            calls.pop(min(place, len(calls) - 1))
        elif edit == 1 and calls:
            calls.insert(place, rng.choice(calls))
        elif edit == 2:
            rng.shuffle(calls)
        else:
            other = rng.choice(rng.choice(list(load_tasks().values())).gold)
            calls.insert(place, Call(0, other.function, dict(other.arguments)))
    return calls


def test_tau2s_own_evaluators_give_the_same_verdicts_on_edited_solutions(theirs: Any) -> None:
    rng, verdicts = random.Random(3), []
    tasks = list(load_tasks().values())
    for task in (rng.choice(tasks) for _ in range(400)):
        calls = mutated(task, rng)
        expected = theirs(task, calls)
        assert ours(task, calls) == expected, (task.id, calls)
        verdicts.append(expected)
    assert verdicts.count(False) > 200
    assert verdicts.count(True) > 80


def test_settings_of_a_wrong_type_are_not_met_where_tau2s_evaluator_raises(theirs: Any) -> None:
    task = next(task for task in load_tasks().values() if task.group == "mms")
    calls = [
        *(Call(0, call.function, call.arguments) for call in task.gold),
        Call(0, "set_apn_settings", {"apn_settings": "x"}),
    ]
    assert theirs(task, calls) is None
    assert not ours(task, calls)


def test_all_contributing_calls_and_no_others_are_needed() -> None:
    rng, removed = random.Random(5), 0
    tasks = list(load_tasks().values())
    for task in (rng.choice(tasks) for _ in range(80)):
        calls = [Call(index, call.function, call.arguments) for index, call in enumerate(mutated(task, rng))]
        kept = needed_calls(task, calls)
        removed += len(calls) - len(kept)
        if not ours(task, calls):
            continue
        assert ours(task, kept)
        for place in range(len(kept)):
            assert not ours(task, [*kept[:place], *kept[place + 1 :]])
    assert removed > 60


def test_two_toggles_that_undo_each_other_contribute_nothing() -> None:
    task = load_tasks()["telecom-0"]
    gold = [Call(index, call.function, call.arguments) for index, call in enumerate(task.gold)]
    toggled = [*gold, *(Call(index, "toggle_data", {}) for index in (10, 11)), Call(12, "toggle_wifi", {})]
    assert [call.step for call in needed_calls(task, toggled)] == [call.step for call in gold]
    assert needed_calls(task, []) == []


def test_a_part_of_a_repair_contributes_to_the_assertions_that_it_meets() -> None:
    refuels = 0
    for task in load_tasks().values():
        calls = [Call(0, "toggle_data", {}), *(Call(1, call.function, call.arguments) for call in task.gold)]
        refuel = [call for call in calls if call.function == "refuel_data"]
        if refuel and not ours(task, [calls[0], *refuel]):
            assert needed_calls(task, [calls[0], *refuel]) == refuel
            refuels += 1
    assert refuels == 49  # a refuel is the whole solution of one task


def test_the_look_up_of_an_identifier_contributes_and_a_guess_has_no_source() -> None:
    look_up = Call(
        0, "get_customer_by_phone", {"phone_number": "555-123-2002"}, writes=False, answer='"C1001", "L1002"'
    )
    again = look_up._replace(step=1)
    refuel = Call(2, "refuel_data", {"customer_id": "C1001", "line_id": "L1002", "gb_amount": 2.0})
    assert sources("phone 555-123-2002", [look_up, again, refuel], [refuel]) == [look_up]
    assert sources("phone 555-123-2002", [again._replace(answer=""), refuel], [refuel]) == []
    assert sources("C1001 and L1002", [look_up, refuel], [refuel]) == []
    failed = look_up._replace(succeeded=False)
    assert sources("phone 555-123-2002", [failed, again, refuel], [refuel]) == [again]
    guess = Call(0, "get_details_by_id", {"id": "C1001"}, writes=False, answer='"C1001"')  # repeats what it was asked
    assert sources("phone 555-123-2002", [guess, refuel], [refuel]) == []
    write = Call(0, "resume_line", {"customer_id": "C1", "line_id": "L1"}, answer='"C1001", "L1002"')
    assert sources("phone 555-123-2002", [write, refuel], [refuel]) == []


def step_of(step: Step, function: str, **arguments: object) -> Step:
    return replace(step, action=Action("", function, json.dumps(arguments)))


def test_a_failed_call_is_no_source_of_a_setting() -> None:
    """The answer to a mode that does not exist lists those that do; they are texts with digits."""
    task = next(
        index
        for index, task in enumerate(load_tasks().values())
        if any(call.function == "set_network_mode_preference" for call in task.gold)
    )
    settings = {"group": "all", "policy": "none", "reward": "steptool"}
    (played,) = evaluate(Evaluation(ENV, settings), make_agent("oracle"), tasks=[task])
    grading = start_grading(played.task)
    for step in (step_of(played.steps[0], "set_network_mode_preference", mode="junk"), *played.steps):
        grading.observe(step)
    assert grading.solved
    assert grading.contribution[:2] == (False, True)


def test_checks_that_tell_something_new_cost_nothing() -> None:
    (played,) = play("oracle", 1)
    grading = start_grading(played.task)
    check = replace(played.steps[0], action=Action("", "check_status_bar", "{}"))
    assert [grading.observe(check).useful for _ in range(2)] == [True, False]
    assert grading.observe(replace(check, action=Action("", "toggle_data_saver_mode", "{}"))) == ((), False)


def test_look_ups_along_the_identifiers_of_a_ticket_cost_nothing() -> None:
    (played,) = play("oracle", 1)
    grading, step = start_grading(played.task), played.steps[0]
    look_ups = [
        step_of(step, "get_details_by_id", id="L1002"),  # a guess
        step_of(step, "get_customer_by_phone", phone_number="555-123-2002"),
        *(step_of(step, "get_details_by_id", id=line) for line in ("L1001", "L1002", "L1002", "L1003")),
        *(step_of(step, "get_bills_for_customer", customer_id="C1001", limit=limit) for limit in (12, 1, 2)),
        *(step_of(step, "check_app_permissions", app_name=app) for app in ("messaging", "browser", "messaging")),
    ]
    useful = [grading.observe(each).useful for each in look_ups]
    assert useful == [False, True, True, True, False, True, True, False, False, True, True, False]


def test_useless_calls_are_not_free() -> None:
    """With other arguments each time, a function that changes nothing is free at most once, and others never."""
    (played,) = play("oracle", 1)
    grading = start_grading(played.task)
    for function in load_apis():
        names = load_apis()[function].function["parameters"]["properties"]
        observed = [
            grading.observe(step_of(played.steps[0], function, **dict.fromkeys(names, f"junk{number}")))
            for number in range(20)
        ]
        assert sum(each.useful and not each.done for each in observed) <= (function in load_checks()), function


def test_look_ups_of_what_does_not_exist_pay_nothing_and_cost() -> None:
    for reward, least in (("steptool", 0.0), ("progress", -0.02 * 20)):
        env = gym.make(ENV, policy="none", reward=reward)
        env.reset(seed=0)
        for function, name in (("check_app_status", "app_name"), ("set_network_mode_preference", "mode")):
            for number in range(10):
                made = json.dumps({name: f"junk{number}"})
                *_, info = env.step(f"Thought: x\nAction: {function}\nAction Input: {made}")
                assert info["status"] == StatusCode.REQUEST_FAILED
        *_, info = env.step(
            'Thought: x\nAction: Finish\nAction Input: {"return_type": "give_answer", "final_answer": "x"}'
        )
        assert sum(info["step_rewards"]) == pytest.approx(least)


def test_an_edited_file_is_graded_without_an_error() -> None:
    """Steps that no tool wrote count for nothing."""
    (played,) = play("oracle", 1)
    grading = start_grading(played.task)
    world = next(step for step in played.steps if step.provenance is Provenance.WORLD)
    for name, arguments in (
        ("break_vpn", "{}"),
        ("__init__", "{}"),
        ("toggle_data", "{"),
        ("toggle_data", "[]"),
        ("", ""),
    ):
        grading.observe(replace(world, action=Action("", name, arguments)))
    grading.observe(played.steps[-1])
    assert not grading.solved
    assert grading.progress == 0
    assert not any(grading.contribution)


def test_all_reference_calls_contribute_but_for_few() -> None:
    played = play("oracle", reward="steptool", split="test")
    terms = [step.reward_terms for each in played for step in each.steps[:-1]]
    assert all(each["succ_calling"] == 1 for each in terms)
    assert sum(each["contribution"] for each in terms) > 0.9 * len(terms)


def test_the_published_splits_share_no_task() -> None:
    suites = {split: load_suite(split, "all") for split in ("train", "test", "all")}
    names = {split: {suite.task(index).id for index in range(len(suite))} for split, suite in suites.items()}
    assert names["train"].isdisjoint(names["test"])
    assert names["train"] | names["test"] == names["all"]
    assert len(load_apis()) == len(suites["all"].task(0).tools) == 43

"""Verdicts on BFCL's tasks: those of BFCL's own checker, with the calls that each verdict needs."""

import json
import random
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from importlib import import_module

import pytest

from agents.baselines.demonstrations import Noise, demonstrate
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.registry import make_agent
from steptool_env.bfcl.grading import Call, TurnGrading, first_failed_turn, gold_turns, needed_calls
from steptool_env.bfcl.solutions import BfclSolutions
from steptool_env.bfcl.suite import SPLITS, load_suite, split_of
from steptool_env.rewards.graded import start_grading
from steptool_env.types import Action, Step, Trajectory
from toolserver.bfcl import CATEGORIES, BfclTask, Simulation, load_tasks
from toolserver.calls.json_parsing import parse
from toolserver.catalog.api_schema import Provenance

ENV = "StepTool/BFCL-v0"

pytestmark = pytest.mark.usefixtures("bfcl")


def play(agent: str, episodes: int | None = None, **settings: object) -> list[Trajectory]:
    return evaluate(Evaluation(ENV, settings, episodes), make_agent(agent))


def mean(played: Sequence[Trajectory], name: str) -> float:
    return sum(each.metadata["outcome"][name] for each in played) / len(played)


def turns_of(trajectory: Trajectory) -> list[list[Call]]:
    """The calls that the simulated APIs answered, by turn."""
    turns: list[list[Call]] = [[]]
    for index, step in enumerate(trajectory.steps):
        if step.ends_turn:
            turns.append([])
        elif step.provenance is Provenance.WORLD:
            turns[-1].append(Call(index, step.action.name, parse(step.action.arguments or "{}")))
    return turns


def theirs(task: BfclTask, turns: Sequence[Sequence[Call]], run: str) -> bool:
    """Verdict of BFCL's own checker, which evaluates calls as Python text; its rule for runs that ended early."""
    if len(turns) != len(task.gold):
        return False

    def written(function: str, arguments: object) -> str:
        assert isinstance(arguments, dict)
        return f"{function}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"

    made = [[[written(call.function, call.arguments)] for call in turn] for turn in turns]
    gold = [[written(call.function, call.arguments) for call in turn] for turn in task.gold]
    entry = {"id": task.id, "initial_config": deepcopy(task.config), "involved_classes": list(task.classes)}
    checker = import_module("bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker")
    return bool(checker.multi_turn_checker(made, gold, entry, f"multi_turn_{task.category}", run)["valid"])


def test_the_oracle_solves_all_tasks_and_each_return_is_one() -> None:
    played = play("oracle")
    assert len(played) == 800
    assert mean(played, "is_solved") == mean(played, "progress") == mean(played, "turns") == 1
    assert all(abs(sum(each.rewards) - 1) < 1e-9 for each in played)
    assert max(len(each.steps) for each in played) <= 40
    assert not [step for each in played for step in each.steps if "characters cut" in step.observation]


def test_no_task_passes_without_a_call() -> None:
    assert all(any(task.gold) for task in load_tasks().values())
    assert all(first_failed_turn(task, [[] for _ in task.gold]) < len(task.gold) for task in load_tasks().values())


def wrong_runs() -> Iterator[Trajectory]:
    """Episodes of the noisy oracle, and of the random and the greedy agent, in tasks of all categories."""
    noise = Noise(wrong_tool=0.04, wrong_argument=0.05, repetition=0.05, early_finish=0.02)
    for category in CATEGORIES:
        settings = {"split": "test", "category": category}
        yield from demonstrate(Evaluation(ENV, settings), noise, seed=7)
        for agent in ("greedy-docs", "random"):
            yield from evaluate(Evaluation(ENV, settings, 20), make_agent(agent))


def test_bfcls_own_checker_gives_the_same_verdicts() -> None:
    """On 320 recorded runs with mistakes, of which more than 200 are wrong and some are right all the same."""
    verdicts = []
    for number, each in enumerate(wrong_runs()):
        expected = theirs(BfclSolutions().solution_of(each.task), turns_of(each), f"run{number}") and each.finished
        assert (each.metadata["outcome"]["is_solved"] == 1) == expected, each.task.id
        verdicts.append(expected)
    assert len(verdicts) == 320
    assert verdicts.count(False) > 200
    assert verdicts.count(True) > 30


def mutated(task: BfclTask, rng: random.Random) -> list[list[Call]]:
    """The reference solution with one to three edits: a call left out, repeated, moved, or of another turn."""
    turns = [[Call(0, call.function, dict(call.arguments)) for call in turn] for turn in task.gold]
    for _ in range(rng.randint(1, 3)):
        source, target = rng.choice([turn for turn in turns if turn] or [[]]), rng.choice(turns)
        if not source:
            break
        call = rng.choice(source)
        edit = rng.randrange(4)
        if edit == 0:
            source.remove(call)
        elif edit == 1:
            source.insert(rng.randint(0, len(source)), call)
        elif edit == 2:
            rng.shuffle(source)
        else:
            target.append(call)
    return turns


def test_bfcls_own_checker_gives_the_same_verdicts_on_edited_solutions() -> None:
    rng, verdicts = random.Random(3), []
    for number, task in enumerate(rng.sample(list(load_tasks().values()), 400)):
        turns = mutated(task, rng)
        expected = theirs(task, turns, f"edit{number}")
        assert (first_failed_turn(task, turns) == len(turns)) == expected, task.id
        verdicts.append(expected)
    assert verdicts.count(False) > 200
    assert verdicts.count(True) > 50


def test_nearly_all_reference_calls_contribute_and_needless_ones_do_not() -> None:
    played = play("oracle", reward="steptool", split="test")
    for each in played:
        assert each.rewards[-1] == 1
        needed = [step.reward_terms["contribution"] for step in each.steps[:-1]]
        assert sum(needed) >= len(needed) - 1
        assert all(step.reward_terms["succ_calling"] == 1 for step in each.steps[:-1])
    noise = Noise(repetition=0.3, wrong_tool=0.1)
    needless = 0
    for each in demonstrate(Evaluation(ENV, {"split": "test", "reward": "steptool"}), noise, seed=2):
        calls = [step for step in each.steps if step.provenance is Provenance.WORLD]
        contributed = sum(step.reward_terms.get("contribution", 0) for step in calls)
        needless += len(calls) - contributed
        assert contributed <= sum(len(turn) for turn in BfclSolutions().solution_of(each.task).gold)
    assert needless > 100


def test_progress_names_the_needed_calls_that_a_step_is_the_first_to_make() -> None:
    """The calls of a reference solution, from the last to the first in each turn, as far as they can be made so."""
    out_of_order = 0
    for played in play("oracle", 60):
        grading, turn = TurnGrading(BfclSolutions().solution_of(played.task)), list[Step]()
        for step in played.steps:
            if step.provenance is Provenance.WORLD:
                turn.append(step)
                continue
            for other in reversed(turn):
                before = set(grading.reached)
                done = grading.observe(other).done
                assert set(done) == set(grading.reached) - before
                out_of_order += bool(done) and done[0] != len(before)
            turn.clear()
            assert grading.observe(step).done == ()
    assert out_of_order > 10


def test_a_write_with_other_arguments_makes_no_needed_call() -> None:
    """Its answer may be the same: a file of another name says no more than the right one."""
    cases, functions = 0, set()
    for played in play("oracle", 120):
        task, (first, *_) = BfclSolutions().solution_of(played.task), gold_turns(played.task.id)
        made = [step for step in played.steps[: len(first.answers)] if step.provenance is Provenance.WORLD]
        for place, (step, needed) in enumerate(zip(made, first.answers, strict=True)):
            assert step.action.name == needed.function
            for name in [name for name, value in needed.arguments.items() if needed.writes and isinstance(value, str)]:
                other = {**needed.arguments, name: f"{needed.arguments[name]}x"}
                simulation, grading = Simulation(task), start_grading(played.task)
                for before, answered in zip(made[:place], first.answers, strict=False):
                    simulation.call(answered.function, dict(answered.arguments))
                    grading.observe(before)
                if simulation.call(needed.function, other).text != needed.text:
                    continue
                progress = grading.progress
                action = Action("", needed.function, json.dumps(other))
                assert not grading.observe(replace(step, action=action)).useful
                assert grading.progress == progress
                cases += 1
                functions.add(needed.function)
    assert cases > 10
    assert len(functions) > 2


def test_a_contributing_call_cannot_be_left_out() -> None:
    rng, removed = random.Random(5), 0
    for task in rng.sample(list(load_tasks().values()), 60):
        turns = [[Call(0, call.function, dict(call.arguments)) for call in turn] for turn in task.gold]
        for turn in turns:
            turn += rng.sample(turn, len(turn) // 2)
        accepted = first_failed_turn(task, turns)
        kept = needed_calls(task, turns[:accepted])
        assert first_failed_turn(task, kept) == accepted
        removed += sum(map(len, turns[:accepted])) - sum(map(len, kept))
        for number, turn in enumerate(kept):
            for place in range(len(turn)):
                without = [list(each) for each in kept]
                del without[number][place]
                assert first_failed_turn(task, without) < accepted
    assert removed > 30


def test_a_held_out_function_is_offered_in_its_turn() -> None:
    (played,) = [each for each in play("oracle", category="miss_func") if each.task.id == "multi_turn_miss_func_0"]
    names = {spec.function_name for spec in played.task.tools}
    (late,) = [turn for turn in played.task.turns if turn.tools]
    assert "sort" not in names
    assert [spec.function_name for spec in late.tools] == ["sort"]
    (shown,) = [step for step in played.steps if late.message in step.observation]
    (short,) = [
        each
        for each in play("oracle", category="miss_func", max_observation_length=20, call_budget=30)
        if each.task.id == played.task.id
    ]
    assert [step.observation for step in short.steps if late.message in step.observation] == [
        shown.observation.replace("Calls left: 52", "Calls left: 22")
    ]
    assert '"name": "sort"' in shown.observation or "'name': 'sort'" in shown.observation


def test_an_edited_file_is_graded_without_an_error() -> None:
    """Steps that no tool wrote count for nothing; more ends of turns than the task has end none."""
    (played,) = play("oracle", 1)
    grading = start_grading(played.task)
    world = next(step for step in played.steps if step.provenance is Provenance.WORLD)
    end = next(step for step in played.steps if step.ends_turn)
    for name, arguments in (("startEngine", "{}"), ("__init__", "{}"), ("ls", "{"), ("ls", "[]"), ("", "")):
        grading.observe(replace(world, action=Action("", name, arguments)))
    for step in [end] * 20 + [played.steps[-1]]:
        grading.observe(step)
    assert not grading.solved
    assert grading.progress == 0
    assert not any(grading.contribution)
    assert grading.outcome()["is_solved"] == 0


def test_the_splits_share_no_scenario_and_make_up_the_benchmark() -> None:
    scenarios: dict[str, set[int]] = {}
    for task in load_tasks().values():
        scenarios.setdefault(split_of(task), set()).add(task.number)
    assert {name: len(numbers) for name, numbers in scenarios.items()} == {"train": 140, "validation": 20, "test": 40}
    assert sum(map(len, scenarios.values())) == 200
    assert sum(len(load_suite(split)) for split in SPLITS if split != "all") == len(load_suite("all")) == 800

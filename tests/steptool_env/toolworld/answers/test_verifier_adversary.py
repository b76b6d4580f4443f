"""Cheating by the answer alone does not pay: on every split, no adversary is rewarded on one task in a hundred."""

from collections import defaultdict
from itertools import islice

import pytest

from steptool_env.toolworld import SPLITS, Obstacle, WorldTask, gold_answer, grader_of
from tests.steptool_env.toolworld.answers.adversaries import ADVERSARIES, KNOWING, Run, play, says_nothing
from tests.toolserver.world.worlds import tasks

FEWEST, FEW, MANY = 40, 60, 200
BOUND = 0.01
SOLVABLE = [split for split in SPLITS if split != "unsolvable"]
LARGER = [("depth-2", "standard"), ("G3_instruction", "standard"), ("depth-3", "full")]


def runs_of(task: WorldTask) -> tuple[Run, Run]:
    """All calls of the gold solution; and all but the last one, which mostly tells the answer."""
    whole = play(task)
    return whole, play(task, len(whole.responses) - 1)


def hold_against_adversaries(split: str, level: str, count: int) -> None:
    tried: dict[str, int] = defaultdict(int)
    passed: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for task in tasks(split, level, count):
        whole, part = runs_of(task)
        # A change of state is right once it is made, whatever is said about it.
        runs = (part,) if task.plan.writes and task.solvable else (whole, part)
        for adversary in ADVERSARIES:
            for run in runs[:1] if adversary in KNOWING else runs:
                answers = list(adversary(run))
                solved = [answer for answer in answers if run.solves(answer)]
                tried[adversary.__name__] += bool(answers)
                if solved:
                    passed[adversary.__name__].append((task.id, task.query, solved[0]))
    assert tried["says_nothing"] >= count
    for name, cases in passed.items():
        assert len(cases) < BOUND * tried[name], (name, f"{len(cases)} of {tried[name]}", cases[:5])


@pytest.mark.parametrize("split", SPLITS)
def test_no_adversary_is_rewarded(split: str) -> None:
    hold_against_adversaries(split, "lite", FEW)


@pytest.mark.parametrize(("split", "level"), LARGER)
def test_no_adversary_is_rewarded_in_larger_worlds(split: str, level: str) -> None:
    hold_against_adversaries(split, level, FEWEST)


@pytest.mark.slow
@pytest.mark.parametrize("level", ["lite", "standard", "full"])
@pytest.mark.parametrize("split", SPLITS)
def test_no_adversary_is_rewarded_on_many_tasks(split: str, level: str) -> None:
    hold_against_adversaries(split, level, MANY)


def test_every_adversary_finds_an_occasion() -> None:
    for adversary in ADVERSARIES:
        found = (task for task in tasks("train", "lite", MANY) if task.solvable and any(adversary(play(task))))
        assert len(list(islice(found, 3))) == 3, adversary.__name__


@pytest.mark.parametrize("split", SOLVABLE)
def test_giving_up_what_can_be_solved_is_never_right(split: str) -> None:
    for task in tasks(split, "lite", FEWEST):
        if task.solvable:
            for run in (play(task, 0), play(task)):
                assert not grader_of(task).grade(run.tracker, None, gave_up=True).solved, task.query


@pytest.mark.parametrize("level", ["lite", "standard", "full"])
def test_giving_up_at_once_is_right_only_where_a_tool_is_missing(level: str) -> None:
    for task in tasks("unsolvable", level, FEWEST):
        solved = grader_of(task).grade(play(task, 0).tracker, None, gave_up=True).solved
        assert solved is (task.obstacle is Obstacle.MISSING), (task.id, task.obstacle)
        assert grader_of(task).grade(play(task).tracker, None, gave_up=True).solved, task.id


def test_what_cannot_be_solved_has_no_answer() -> None:
    for task in tasks("unsolvable", "lite", FEW):
        run = play(task)
        assert not any(run.solves(answer) for answer in (*says_nothing(run), gold_answer(task))), task.query


def test_the_honest_answer_is_rewarded_after_the_same_runs() -> None:
    for task in tasks("train", "standard", FEW):
        if task.solvable:
            assert play(task).solves(gold_answer(task)), task.query

"""Grading of ComplexFuncBench's episodes on a handmade task: progress, success, contribution, rewards."""

import json
from typing import Any

import pytest

from steptool_env.complexfuncbench.benchmark import call_key, digest_of
from steptool_env.complexfuncbench.grading import CallGrading
from steptool_env.complexfuncbench.solutions import RecordedSolutions
from steptool_env.complexfuncbench.task import GoldTask, NeededCall, task_from_json, task_to_json
from steptool_env.errors import ConfigurationError
from steptool_env.judges import make_judge
from steptool_env.rewards import make_reward
from steptool_env.types import FINISH, Action, Step, Task
from toolserver.catalog.api_schema import ApiSpec, Parameter, Provenance, StatusCode, encode_body

PLACE = ApiSpec("ComplexFuncBench", "booking", "Taxi_Search_Location", required=(Parameter("query"),))
TAXI = ApiSpec("ComplexFuncBench", "booking", "Search_Taxi", required=(Parameter("from_id"), Parameter("to_id")))
DETAILS = ApiSpec("ComplexFuncBench", "booking", "Vehicle_Details", required=(Parameter("id"),))
SPECS = {spec.function_name: spec for spec in (PLACE, TAXI, DETAILS)}


def gold(
    spec: ApiSpec, arguments: dict[str, Any], inputs: tuple[tuple[int, ...], ...] = (), answer: Any = None
) -> NeededCall:
    lookup = spec is PLACE
    digest = digest_of(answer) if lookup else ""
    return NeededCall(spec.function_name, arguments, call_key(spec, arguments), lookup, digest, inputs)


SOLUTION = GoldTask(
    "Cross-0",
    "Cross",
    "Cross/0",
    "A taxi from the hotel to the museum, and all about the cheapest.",
    tuple(SPECS),
    (
        gold(PLACE, {"query": "the hotel"}, answer=[{"id": "H"}]),
        gold(PLACE, {"query": "the museum"}, answer=[{"id": "M"}]),
        gold(TAXI, {"from_id": "H", "to_id": "M"}, ((0,), (1,))),
        gold(DETAILS, {"is_id": "T"}, ((2,),)),
    ),
    True,
)
TASK = Task("Cross-0", "ComplexFuncBench/all/Cross", SOLUTION.query, tuple(SPECS.values()), solution=SOLUTION)

HOTEL = (PLACE, {"query": "The Hotel"}, [{"id": "H"}])
MUSEUM = (PLACE, {"query": "the museum"}, [{"id": "M"}])
SAME_MUSEUM = (PLACE, {"query": "museum of art"}, [{"id": "M"}])
OTHER = (PLACE, {"query": "the station"}, [{"id": "S"}])
RIDE = (TAXI, {"to_id": "M", "from_id": "H"}, [{"id": "T"}])
CAR = (DETAILS, {"id": "T"}, {"seats": 4})


def step(spec: ApiSpec, arguments: dict[str, Any], answer: Any, status: StatusCode = StatusCode.OK) -> Step:
    body = encode_body("", answer).decode()
    action = Action("", spec.function_name, json.dumps(arguments))
    return Step(action, body, status, body, Provenance.RECORDED)


def finish(status: StatusCode = StatusCode.FINAL_ANSWER) -> Step:
    return Step(Action("", FINISH, '{"return_type": "give_answer", "final_answer": "x"}'), "", status)


def graded(*calls: Any, end: Step | None = None) -> CallGrading:
    grading = CallGrading(SOLUTION, TASK.tools)
    for call in calls:
        grading.observe(step(*call))
    grading.observe(end or finish())
    return grading


def test_the_reference_solution_solves_the_task_and_every_call_contributes() -> None:
    grading = graded(HOTEL, MUSEUM, RIDE, CAR)
    assert grading.outcome() == {"is_solved": 1.0, "is_complete": 1.0, "progress": 1.0, "is_grounded": 1.0}
    assert grading.contribution == (True, True, True, True, False)


@pytest.mark.parametrize("calls", [(HOTEL, MUSEUM, RIDE), (HOTEL, MUSEUM, CAR), (CAR,), ()])
def test_a_task_without_a_needed_call_is_not_solved(calls: tuple[Any, ...]) -> None:
    assert not graded(*calls).solved


def test_look_ups_may_be_missing_and_then_give_nobody_credit() -> None:
    grading = graded(OTHER, RIDE, CAR)
    assert (grading.solved, grading.outcome()["is_complete"], grading.progress) == (True, 0.0, 0.5)
    assert grading.contribution == (False, True, True, False)


@pytest.mark.parametrize("end", [finish(StatusCode.GAVE_UP), step(*OTHER)])
def test_without_an_answer_nothing_is_solved_and_nothing_contributes(end: Step) -> None:
    grading = graded(HOTEL, MUSEUM, RIDE, CAR, end=end)
    assert (grading.solved, grading.progress) == (False, 1.0)
    assert not any(grading.contribution)


def test_a_call_whose_follower_is_missing_contributes_nothing() -> None:
    """The taxi's answer was for the details, which were never asked."""
    assert graded(HOTEL, MUSEUM, RIDE).contribution == (False, False, False, False)


def test_a_look_up_that_comes_after_its_use_supplied_nothing() -> None:
    grading = graded(HOTEL, RIDE, MUSEUM, CAR)
    assert grading.solved
    assert grading.contribution == (True, True, False, True, False)


def test_repeated_and_needless_calls_contribute_nothing() -> None:
    grading = graded(OTHER, HOTEL, HOTEL, MUSEUM, RIDE, RIDE, CAR, CAR)
    assert grading.contribution == (False, True, False, True, True, False, True, False, False)


def test_a_look_up_with_the_same_recorded_answer_is_the_needed_one() -> None:
    assert graded(HOTEL, SAME_MUSEUM, RIDE, CAR).outcome()["is_complete"] == 1.0
    assert graded(HOTEL, SAME_MUSEUM, MUSEUM, RIDE, CAR).contribution == (True, True, False, True, True, False)


def test_a_failed_or_injected_answer_makes_no_needed_call() -> None:
    grading = CallGrading(SOLUTION, TASK.tools)
    failed = step(*CAR, status=StatusCode.TIMEOUT)
    injected = step(*CAR)
    injected.provenance = Provenance.INJECTED
    for each in (failed, injected):
        assert grading.observe(each).done == ()
    assert grading.observe(step(*CAR)).done == (3,)


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '"text"', "null", "{", '{"id": NaN}'])
def test_arguments_of_any_text_are_graded(text: str) -> None:
    grading = CallGrading(SOLUTION, TASK.tools)
    broken = step(*CAR)
    broken.action.arguments = text
    assert grading.observe(broken).done == ()


def test_the_rewards_follow_the_grades() -> None:
    calls = (HOTEL, HOTEL, MUSEUM, RIDE, CAR)
    expected = {
        "progress": (0.125, -0.02, 0.125, 0.125, 0.125, 0.5),
        "steptool": (1.0, 0.5, 1.0, 1.0, 1.0, 1.0),
        "final": (0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
        "potential": (0.25, 0.0, 0.25, 0.25, 0.25, 0.0),
    }
    for kind, rewards in expected.items():
        options = {"judge": "gold"} if kind in ("steptool", "final") else {}
        scorer = make_reward(kind, **options).start(TASK)
        online = tuple(scorer.score(each).reward for each in (*(step(*call) for call in calls), finish()))
        hindsight = scorer.hindsight()
        final = online if hindsight is None else tuple(scored.reward for scored in hindsight)
        assert final == pytest.approx(rewards), kind
        assert scorer.outcome()["is_solved"] == 1.0


def test_the_judge_says_which_calls_succeeded() -> None:
    steps = [step(*HOTEL), step(*CAR, status=StatusCode.REQUEST_FAILED), finish()]
    assert make_judge("gold").judge(TASK, steps).succ_calling == (1.0, 0.0, 0.0)


def test_a_task_is_the_same_after_a_file() -> None:
    record = json.loads(json.dumps(task_to_json(SOLUTION)))
    assert task_from_json(record) == SOLUTION
    assert (SOLUTION.depth, SOLUTION.leaves) == (3, (3,))


def test_a_task_of_another_benchmark_is_refused() -> None:
    other = Task("w0-lite-train-0", "train", "", ())
    with pytest.raises(ConfigurationError, match="not a task of ComplexFuncBench"):
        RecordedSolutions().grading(other)

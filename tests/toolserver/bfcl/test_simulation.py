"""BFCL's simulated APIs behind the call interface: reference calls, bad calls, states that travel."""

import decimal
import json
import os
import pickle
import random
import subprocess
import sys
import time
from base64 import b85encode
from concurrent.futures import ThreadPoolExecutor

import pytest

from toolserver.bfcl import APIS, CATEGORIES, BfclTask, Simulation, load_apis, load_tasks
from toolserver.bfcl.data import _gold_call, bfcl_module
from toolserver.calls.episode_state import EpisodeState
from toolserver.calls.simulations import Simulator, call_text
from toolserver.catalog.api_schema import Outcome, ToolCall, ToolResponse
from toolserver.catalog.catalog import Catalog
from toolserver.catalog.views import openai_function
from toolserver.episodes.state_token import MAX_TOKEN_LENGTH, opening_token
from toolserver.errors import ConfigurationError, StateTokenError
from toolserver.resolvers.simulated import SimulatedResolver, simulated_codec
from toolserver.service.service import ToolService

pytestmark = pytest.mark.usefixtures("bfcl")


def texts(task: BfclTask) -> tuple[str, ...]:
    return tuple(call_text(call.function, call.arguments) for turn in task.gold for call in turn)


def test_there_are_two_hundred_tasks_of_each_category() -> None:
    tasks = load_tasks()
    assert [sum(task.category == category for task in tasks.values()) for category in CATEGORIES] == [200] * 4
    assert sum(len(turn) for task in tasks.values() for turn in task.gold) == 4625
    assert len(load_apis()) == 128
    assert all(len(task.messages) == len(task.gold) for task in tasks.values())
    assert {len(task.added) for task in tasks.values() if task.category == "miss_func"} == {1}
    assert not any(task.added for task in tasks.values() if task.category != "miss_func")


def test_functions_are_offered_as_the_benchmark_documents_them() -> None:
    function = openai_function(load_apis()["startEngine"])
    assert function["name"] == "startEngine"
    assert function["description"].endswith(" Note that the provided function is in Python 3 syntax.")
    assert function["parameters"]["properties"]["ignitionMode"]["type"] == "string"
    function["parameters"]["properties"].clear()
    assert openai_function(load_apis()["startEngine"])["parameters"]["properties"]
    for spec in load_apis().values():
        json.dumps(openai_function(spec))
        assert {spec.tool} <= {name for task in load_tasks().values() for name in task.classes}


@pytest.mark.parametrize(
    "text", ["__import__('os').system('true')", "cd(folder=open('x'))", "cd(folder=1) or 2", "cd", "a.b(1)"]
)
def test_a_reference_call_that_is_no_call_with_literals_is_refused(text: str) -> None:
    with pytest.raises((ValueError, KeyError, SyntaxError)):
        _gold_call(text, {"cd": ["folder"]})


def test_every_reference_call_is_answered() -> None:
    for task in load_tasks().values():
        simulation = Simulation(task)
        for turn in task.gold:
            for call in turn:
                assert simulation.call(call.function, call.arguments).outcome is Outcome.OK


def test_bad_calls_are_answers_in_the_benchmarks_words() -> None:
    simulation = Simulation(load_tasks()["multi_turn_base_0"])
    unknown = simulation.call("cat", {"file": "x"})
    assert unknown.outcome is Outcome.INVALID_ARGUMENTS
    assert unknown.text == f"Error during execution: {unknown.error}"
    assert "unexpected keyword argument 'file'" in unknown.error
    missing = simulation.call("cat", {"file_name": "nothing"})
    assert (missing.outcome, missing.text) == (Outcome.CONFLICT, json.dumps({"error": missing.error}))
    broken = simulation.call("cd", {"folder": 7})
    assert (broken.outcome, broken.text) == (Outcome.FAILED, f"Error during execution: {broken.error}")


@pytest.mark.parametrize("function", ["__init__", "_load_scenario", "_navigate_to_directory", "eval", "exit"])
def test_only_documented_functions_can_be_called(function: str) -> None:
    with pytest.raises(LookupError):
        Simulation(load_tasks()["multi_turn_base_0"]).call(function, {})
    with pytest.raises(LookupError):
        Simulation(load_tasks()["multi_turn_base_0"]).call("startEngine", {"ignitionMode": "START"})


def test_numbers_that_would_run_for_hours_are_refused_at_once() -> None:
    task = next(task for task in load_tasks().values() if "MathAPI" in task.classes)
    simulation, start = Simulation(task), time.monotonic()
    for function, arguments in (
        ("power", {"base": 7, "exponent": 10**12}),
        ("square_root", {"number": 2, "precision": 10**9}),
        ("square_root", {"number": 2, "precision": 1001}),
        ("logarithm", {"value": 2, "base": 10, "precision": 10**9}),
        ("logarithm", {"value": 2, "base": 10, "precision": 1e9}),
        ("logarithm", {"value": 2, "base": 10, "precision": "10000000"}),
        ("logarithm", {"value": 2, "base": 10, "precision": 10**400}),
        ("round_number", {"number": 7, "decimal_places": -(10**9)}),
    ):
        assert simulation.call(function, arguments).outcome is Outcome.INVALID_ARGUMENTS
    assert simulation.call("power", {"base": 2, "exponent": 10}).value == {"result": 1024}
    assert time.monotonic() - start < 1


def test_copies_of_folders_do_not_grow_without_end() -> None:
    simulation = Simulation(next(task for task in load_tasks().values() if "GorillaFileSystem" in task.classes))
    start = time.monotonic()
    simulation.call("mkdir", {"dir_name": "a0"})
    answers = []
    for level in range(40):  # each folder has the one before twice
        simulation.call("mkdir", {"dir_name": f"a{level + 1}"})
        answers.append(simulation.call("cp", {"source": f"a{level}", "destination": f"a{level + 1}"}))
        simulation.call("mv", {"source": f"a{level}", "destination": f"a{level + 1}"})
        answers.append(simulation.call("cp", {"source": f"a{level + 1}", "destination": f"b{level}"}))
        simulation.call("mv", {"source": f"b{level}", "destination": f"a{level + 1}"})
    assert answers[0].error == ""
    assert answers[-1].error == "The file system is too large."
    assert simulation.call("find", {"path": "."}).error == "The file system is too large."
    assert time.monotonic() - start < 5


def test_logarithms_of_several_threads_have_their_own_precision() -> None:
    task = next(task for task in load_tasks().values() if "MathAPI" in task.classes)
    wanted = {digits: Simulation(task).call("logarithm", {"value": 2, "base": 10, "precision": digits}).text
              for digits in (5, 40)}  # fmt: skip
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(2) as pool:
            for found in pool.map(lambda digits: [
                Simulation(task).call("logarithm", {"value": 2, "base": 10, "precision": digits}).text
                for _ in range(300)
            ], (5, 40)):  # fmt: skip
                assert set(found) <= {wanted[5], wanted[40]}
                assert len(set(found)) == 1
    finally:
        sys.setswitchinterval(interval)


def test_a_precision_that_a_call_sets_ends_with_the_call() -> None:
    task = next(task for task in load_tasks().values() if "MathAPI" in task.classes)
    before = decimal.getcontext().prec
    Simulation(task).call("square_root", {"number": 2, "precision": 3})
    assert decimal.getcontext().prec == before


def test_arguments_are_not_shared_with_the_state() -> None:
    """A list that a call passes is kept by some classes, which change it."""
    task = load_tasks()["multi_turn_base_90"]
    arguments = [dict(call.arguments) for turn in task.gold for call in turn]
    copies = json.dumps(arguments)
    for _ in range(2):
        simulation = Simulation(task)
        for call in (call for turn in task.gold for call in turn):
            simulation.call(call.function, call.arguments)
    assert json.dumps(arguments) == copies


def test_ages_do_not_depend_on_the_clock() -> None:
    task = next(task for task in load_tasks().values() if "TravelAPI" in task.classes)
    travel = Simulation(task)
    travel.instances["TravelAPI"].user_first_name, travel.instances["TravelAPI"].user_last_name = "A", "B"
    arguments = {"first_name": "A", "last_name": "B", "passport_number": "US1"}
    adult = travel.call("verify_traveler_information", {**arguments, "date_of_birth": "2006-09-01"})
    assert adult.value == {"verification_status": True}
    child = travel.call("verify_traveler_information", {**arguments, "date_of_birth": "2006-09-02"})
    assert child.value["verification_failure"] == "Traveler must be at least 18 years old."


def test_a_state_is_the_calls_that_led_to_it() -> None:
    """Continued, forked in the middle, pickled, and made again from its calls, a simulation answers the same."""
    for task in list(load_tasks().values())[::20]:
        calls, simulator, whole = texts(task), Simulator(APIS), Simulation(task)
        for place, call in enumerate(calls):
            name, arguments = json.loads(call)
            expected = whole.copy().call(name, arguments)
            assert whole.call(name, arguments).text == expected.text
            assert simulator.answer(task, calls[:place], call).text == expected.text
            assert simulator.answer(task, calls[:place], call).text == expected.text  # a fork of the state before
            assert APIS.replayed(task, calls[:place]).call(name, arguments).text == expected.text
        assert pickle.loads(pickle.dumps(whole)).call("pwd" if "GorillaFileSystem" in task.classes else name, {})


_DIGEST = """
from hashlib import blake2b
from toolserver.bfcl import Simulation, load_tasks
answers = blake2b()
for task in load_tasks().values():
    simulation = Simulation(task)
    for turn in task.gold:
        for call in turn:
            answers.update(simulation.call(call.function, call.arguments).text.encode())
print(answers.hexdigest())
"""


def test_two_processes_in_two_time_zones_give_the_same_answers() -> None:
    digests = set()
    for seed, zone in (("0", "UTC"), ("1", "Asia/Kolkata")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone}
        run = subprocess.run(
            [sys.executable, "-c", _DIGEST], env=environment, capture_output=True, text=True, check=True
        )
        digests.add(run.stdout)
    assert len(digests) == 1


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bfcl_eval", None)
    monkeypatch.delitem(sys.modules, "bfcl_eval.constants", raising=False)
    with pytest.raises(ConfigurationError, match=r"pip install --no-deps bfcl-eval==2026\.3\.23 mpmath"):
        bfcl_module("constants")


def service() -> ToolService:
    return ToolService(Catalog(load_apis().values()), [SimulatedResolver(APIS)], codec=simulated_codec(APIS))


def called(function: str, arguments: dict[str, object] | str, state: EpisodeState | str) -> ToolResponse:
    spec = load_apis()[function]
    return service().call(ToolCall(spec.category, spec.tool, spec.name, arguments, state))


def test_calls_need_the_state_of_a_task_that_has_the_api() -> None:
    assert called("pwd", {}, "").outcome is Outcome.INVALID_ARGUMENTS
    assert called("pwd", {}, EpisodeState(task="no-task")).outcome is Outcome.INVALID_ARGUMENTS
    assert called("startEngine", {}, EpisodeState(task="multi_turn_base_0")).outcome is Outcome.INVALID_ARGUMENTS
    answer = called("pwd", {}, EpisodeState(task="multi_turn_base_0"))
    assert answer.response == {"current_working_directory": "/workspace"}
    assert isinstance(answer.state, EpisodeState)
    assert answer.state.changes == ('["pwd", {}]',)


def test_a_state_with_other_changes_is_refused() -> None:
    codec = simulated_codec(APIS)
    for changes in (("pwd()",), ('["exec", {}]',), ([1],), ('["pwd", []]',), ("[" * 90_000,)):
        state = EpisodeState(task="multi_turn_base_0", changes=changes)
        with pytest.raises(StateTokenError):
            simulated_codec(APIS).read(codec.write(state))
    assert simulated_codec(APIS).read(codec.write(EpisodeState(task="x", changes=('["pwd", {}]',)))).task == "x"
    wrong = EpisodeState(task="multi_turn_base_0", changes=('["startEngine", {}]',))
    assert called("pwd", {}, wrong).outcome is Outcome.FORBIDDEN


def test_the_longest_episode_fits_into_a_token() -> None:
    """Long random texts are refused before their token would be too long for a request."""
    codec, state = simulated_codec(APIS), simulated_codec(APIS).read(opening_token(1, "none", "multi_turn_base_0"))
    rng, spec = random.Random(0), load_apis()["echo"]
    tools, outcomes, lengths = service(), [], []
    for _ in range(5):
        arguments = {"content": b85encode(rng.randbytes(12_000)).decode()}
        response = tools.call(ToolCall(spec.category, spec.tool, spec.name, arguments, state))
        assert isinstance(response.state, EpisodeState)
        state = response.state
        outcomes.append(response.outcome)
        lengths.append(len(codec.write(state)))
        assert simulated_codec(APIS).read(codec.write(state)).changes == state.changes
    assert outcomes == [Outcome.OK, Outcome.OK, *[Outcome.INVALID_ARGUMENTS] * 3]
    assert 30_000 < max(lengths) < MAX_TOKEN_LENGTH

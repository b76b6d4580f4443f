"""`CoT@n` and DFSDT walk the tree as ToolBench does, and every step is counted."""

import json

import pytest

from steptool_env.env import ToolEnv
from steptool_env.errors import ConfigurationError
from steptool_env.search import SearchNode, SearchPolicy, cot, dfsdt, diversity_prompt
from tests.steptool_env.toys import ANSWER, COUNT, GIVE_UP, SAY, ToySuite, Unreachable, toy_config
from toolserver.catalog.api_schema import StatusCode

NAMES = {COUNT: "c", SAY: "s", ANSWER: "A", GIVE_UP: "G"}


def ready(**changes: object) -> ToolEnv:
    env = ToolEnv(ToySuite(), toy_config(**changes))
    env.reset(seed=0, options={"task": 0, "episode_seed": 0})
    return env


def scripted(tree: dict[str, str], visits: list[str]) -> SearchPolicy:
    """Acts by the path so far and the number of siblings: `tree["cs"]` are the actions tried after `c`, `s`."""
    actions = {name: action for action, name in NAMES.items()}

    def decide(node: SearchNode) -> str:
        path = "".join(NAMES[step.action.text] for step in node.path)
        name = tree[path][len(node.siblings)]
        visits.append(path + name)
        return actions[name]

    return decide


def test_the_first_answer_ends_the_search() -> None:
    visits: list[str] = []
    result = dfsdt(ready(), scripted({"": "cA", "c": "sA", "cs": "A"}, visits))
    assert visits == ["c", "cs", "csA"]
    assert (result.answered, result.calls, len(result.trajectory.steps)) == (True, 3, 3)
    assert result.trajectory.metadata["search_calls"] == 3
    assert result.trajectory.metadata["outcome"] == {"is_solved": 1.0}


def test_giving_up_backs_up_two_levels() -> None:
    visits: list[str] = []
    result = dfsdt(ready(), scripted({"": "cs", "c": "sA", "cs": "GA", "s": "A"}, visits))
    assert visits == ["c", "cs", "csG", "cA"]  # the second child of `cs` is passed over
    assert (result.answered, result.calls) == (True, 4)
    assert [NAMES[step.action.text] for step in result.trajectory.steps] == ["c", "A"]


def test_the_call_budget_backs_up_one_level() -> None:
    visits: list[str] = []
    result = dfsdt(ready(call_budget=2), scripted({"": "cs", "c": "cs", "s": "cA"}, visits))
    assert visits == ["c", "cc", "cs", "s", "sc", "sA"]
    assert (result.answered, result.calls) == (True, 6)


def test_without_an_answer_the_first_that_gave_up_is_chosen() -> None:
    result = dfsdt(ready(call_budget=2), scripted({"": "cs", "c": "cG", "s": "cc"}, []))
    assert not result.answered
    assert result.trajectory.steps[-1].status is StatusCode.GAVE_UP


def test_branches_do_not_see_each_others_effects() -> None:
    """The count lies in the tools' state: it is 2 after two calls on a path, however many were made beside it."""
    result = dfsdt(ready(), scripted({"": "sc", "s": "cc", "sc": "GG", "c": "cc", "cc": "A"}, []))
    assert result.answered
    assert [json.loads(step.body)["response"] for step in result.trajectory.steps[:2]] == [{"count": 1}, {"count": 2}]


def test_backed_out_calls_are_charged() -> None:
    visits: list[str] = []
    tree = {"": "cs", "c": "cs", "cc": "GG", "cs": "GG", "s": "AA"}
    assert dfsdt(ready(), scripted(tree, visits), max_calls=4).calls == 4
    assert visits == ["c", "cc", "ccG", "cs"]
    cut = dfsdt(ready(), scripted({"": "c", "c": "c", "cc": "c"}, []), max_calls=2)
    assert (cut.answered, cut.calls, cut.trajectory.truncated, len(cut.trajectory.steps)) == (False, 2, True, 2)


def test_a_search_does_not_change_the_environment() -> None:
    env = ready()
    before = env.snapshot()
    dfsdt(env, scripted({"": "cA", "c": "A"}, []))
    assert env.snapshot() == before


def test_siblings_are_shown_with_their_results() -> None:
    seen: list[tuple[str, ...]] = []

    def policy(node: SearchNode) -> str:
        seen.append(tuple(step.action.name for step in node.siblings))
        return SAY if not node.siblings else ANSWER

    dfsdt(ready(call_budget=1), policy)
    assert seen == [(), ("say_it_for_echo",)]
    env = ready()
    env.step(SAY)
    text = diversity_prompt(env.episode.steps)
    assert '"name": "say_it_for_echo"' in text
    assert "hello" in text
    assert "Calls left" not in text


def test_chains_are_independent_and_stop_at_an_answer() -> None:
    ends = iter([GIVE_UP, COUNT, ANSWER, ANSWER])
    result = cot(ready(call_budget=2), lambda node: next(ends) if node.path else SAY, attempts=4)
    assert (result.answered, result.calls) == (True, 6)
    assert [step.action.text for step in result.trajectory.steps] == [SAY, ANSWER]


@pytest.mark.parametrize("before", [0, 2])
def test_the_first_move_of_each_chain_has_the_number_of_its_attempt(before: int) -> None:
    """Also of chains that begin in the middle of an episode: with equal numbers a policy would repeat the first."""
    env = ready()
    for _ in range(before):
        env.step(COUNT)
    moves: list[int] = []

    def policy(node: SearchNode) -> str:
        moves.append(node.attempt)
        return COUNT if len(node.path) == before else GIVE_UP

    cot(env, policy, attempts=3)
    assert moves == [0, 0, 1, 0, 2, 0]


def test_chains_end_with_the_calls() -> None:
    result = cot(ready(), lambda node: COUNT, attempts=9, max_calls=8)
    assert (result.answered, result.calls, len(result.trajectory.steps)) == (False, 8, 6)


def test_an_unreachable_server_ends_the_search() -> None:
    env = ToolEnv(ToySuite(), toy_config(), Unreachable())
    env.reset(seed=0)
    for result in (dfsdt(env, lambda node: COUNT), cot(env, lambda node: COUNT, attempts=5)):
        assert (result.answered, result.calls) == (False, 1)
        assert result.trajectory.metadata["transport_error"]


@pytest.mark.parametrize("wrong", [{"width": 0}, {"max_calls": 0}])
def test_wrong_numbers_are_named(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="must be at least 1"):
        dfsdt(ready(), lambda node: ANSWER, **wrong)

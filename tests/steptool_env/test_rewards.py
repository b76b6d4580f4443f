"""The reward kinds that ask a judge, against hand computations."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steptool_env.errors import ConfigurationError
from steptool_env.judges import Judgement
from steptool_env.rewards import make_reward
from steptool_env.types import Step, Task
from tests.steptool_env.sample_episodes import answered, called, gave_up, malformed, task

ANSWER = answered("Northern Light")
CALL = called("search", ["Northern Light"])


class FixedJudge:
    """Returns the given judgement."""

    def __init__(self, succeeded: Sequence[float], contributed: Sequence[float], *solved: float) -> None:
        self.judgement = Judgement((*succeeded, 0.0), (*contributed, 0.0), solved)
        self.seen = 0

    def call_succeeded(self, task: Task, step: Step) -> float:
        self.seen += 1
        return self.judgement.succ_calling[self.seen - 1]

    def judge(self, task: Task, steps: Sequence[Step]) -> Judgement:
        return self.judgement


def test_steptool_is_the_papers_formula() -> None:
    """r_t = (SC + Con/5) / 2 for calls (Con 5, 2, 0); IsSolved (Solved, Unsure, Solved) for the last step."""
    judge = FixedJudge([1, 1, 0], [1, 0.4, 0], 1.0, 0.5, 1.0)
    scorer = make_reward("steptool", judge=judge).start(task())
    given_at_once = [scorer.score(step) for step in (CALL, CALL, CALL, ANSWER)]
    final = scorer.hindsight()
    assert final is not None
    assert [step.reward for step in given_at_once] == pytest.approx([0.5, 0.5, 0.0, 2.5 / 3])
    assert [step.reward for step in final] == pytest.approx([1.0, 0.7, 0.0, 2.5 / 3])
    assert [dict(step.terms) for step in final] == [
        {"format": 1.0, "succ_calling": 1, "contribution": 1},
        {"format": 1.0, "succ_calling": 1, "contribution": 0.4},
        {"format": 1.0, "succ_calling": 0, "contribution": 0},
        {"format": 1.0, "is_solved": pytest.approx(2.5 / 3)},
    ]
    assert scorer.outcome()["is_solved"] == pytest.approx(2.5 / 3)
    assert [scorer.outcome()[f"is_solved_{repeat}"] for repeat in range(3)] == [1.0, 0.5, 1.0]


def test_a_call_at_which_the_budget_ends_is_paid_as_the_last_step() -> None:
    scorer = make_reward("steptool", judge=FixedJudge([1], [1], 0.0)).start(task())
    scorer.score(CALL)
    scorer.score(CALL)
    final = scorer.hindsight()
    assert final is not None
    assert [step.reward for step in final] == [1.0, 0.0]


def test_final_pays_the_outcome_and_nothing_else() -> None:
    scorer = make_reward("final", judge=FixedJudge([1], [1], 1.0, 0.5)).start(task())
    assert [scorer.score(step).reward for step in (CALL, ANSWER)] == [0.0, 0.75]
    assert scorer.hindsight() is None
    assert scorer.outcome()["is_solved"] == 0.75


def test_the_format_term_tells_calls_from_other_text() -> None:
    scorer = make_reward("steptool").start(task())
    assert scorer.score(malformed()).terms == {"format": 0.0, "succ_calling": 0.0}
    assert scorer.score(called("search", error="API not working error...")).terms["format"] == 1.0
    assert scorer.score(gave_up()).terms["format"] == 1.0


def test_an_episode_without_a_step_has_no_rewards() -> None:
    assert make_reward("steptool").start(task()).hindsight() == ()
    assert make_reward("final").start(task()).outcome()["is_solved"] == 0.0


STEPS = st.lists(st.sampled_from([CALL, malformed(), called("search", error="timed out")]), max_size=5)


@given(STEPS, st.sampled_from([ANSWER, gave_up(), CALL]))
def test_rewards_fit_the_steps_and_stay_in_range(steps: list[Step], last: Step) -> None:
    for kind in ("steptool", "final"):
        scorer = make_reward(kind).start(task())
        given_at_once = [scorer.score(step).reward for step in (*steps, last)]
        hindsight = scorer.hindsight()
        final = given_at_once if hindsight is None else [step.reward for step in hindsight]
        assert len(final) == len(steps) + 1
        assert all(0 <= reward <= 1 for reward in [*given_at_once, *final])
        assert final[-1] == scorer.outcome()["is_solved"]
        assert all(later >= now for now, later in zip(given_at_once[:-1], final[:-1], strict=True))


@given(STEPS)
def test_scoring_the_same_steps_again_gives_the_same_rewards(steps: list[Step]) -> None:
    first, second = (make_reward("steptool").start(task()) for _ in range(2))
    assert [first.score(step) for step in steps] == [second.score(step) for step in steps]
    assert first.hindsight() == second.hindsight()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dense", {}, "unknown reward 'dense': give one of final"),
        ("steptool", {"judge": "jury"}, "unknown judge 'jury'"),
        ("steptool", {"strictness": 3}, "strictness"),
        ("no_such_module:Reward", {}, "cannot be loaded"),
    ],
)
def test_what_is_unknown_is_named_with_what_is_valid(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_reward(name, **options)


def test_a_reward_kind_can_come_from_anywhere() -> None:
    assert make_reward("steptool_env.rewards.final:FinalReward").start(task()).score(CALL).reward == 0.0

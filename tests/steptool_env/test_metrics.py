"""The metrics, against hand computations and identities."""

from dataclasses import replace
from math import isnan, nan, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.evaluation.evaluate import Evaluation, evaluate
from agents.registry import make_agent
from steptool_env.metrics import (
    EpisodeResult,
    pass_at_budget,
    pass_given_finish,
    pass_rate,
    pass_rate_spread,
    precision,
    recall,
    result_of,
    summarize,
    usable,
    wilson_interval,
)
from steptool_env.types import FINISH
from tests.steptool_env.sample_episodes import answered, called, gave_up, malformed, task, trajectory


def result(suite: str = "s", passes: tuple[float, ...] = (1.0,), calls: int = 3, **changes: object) -> EpisodeResult:
    fields = {"relevant": ("a",), "answered": {"a": True}, "invalid_calls": 0, "finished": True, "episode_return": 1.0}
    return EpisodeResult(suite=suite, passes=passes, calls=calls, **(fields | changes))  # type: ignore[arg-type]


def test_pass_rate_is_a_mean_over_queries_of_means_over_repeats() -> None:
    results = [result(passes=(1, 0.5, 0)), result(passes=(1, 1, 1)), result(passes=(0, 0, 0))]
    assert pass_rate(results) == pytest.approx(1.5 / 3)


def test_families_count_equally_and_are_solved_by_one_task() -> None:
    """Family a: 2 of 3 solved; b: none of 1; c: 1 of 1."""
    passes = [("a", 1.0), ("a", 1.0), ("a", 0.0), ("b", 0.0), ("c", 1.0)]
    metrics = summarize([result(passes=(passed,), family=family) for family, passed in passes])
    assert metrics["pass_rate"] == pytest.approx(3 / 5)
    assert metrics["pass_rate_families"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert (metrics["families"], metrics["families_solved"]) == (3, 2)
    assert metrics["families_solved_rate"] == pytest.approx(2 / 3)
    assert "families" not in summarize([result()])


def test_episodes_with_an_empty_action_are_counted() -> None:
    silent = trajectory(called("a"), malformed(""), of=task())
    assert summarize([result_of(silent), result_of(trajectory(called("a"), of=task()))])["context_full_rate"] == 0.5


def test_needed_calls_are_counted_where_a_reference_solution_is_known() -> None:
    known, unknown = (trajectory(called("a"), of=task(relevant=("a",))) for _ in range(2))
    half = replace(known, metadata={"outcome": {"is_solved": 0.0, "progress": 0.5}})
    whole = replace(known, metadata={"outcome": {"is_solved": 1.0, "progress": 1.0}})
    metrics = summarize([result_of(each) for each in (half, whole, unknown)])
    assert metrics["needed_calls"] == 0.75
    assert (metrics["needed_calls_low"], metrics["needed_calls_high"]) == wilson_interval(0.75, 2)
    assert isnan(summarize([result_of(unknown)])["needed_calls"])


def test_an_agent_that_calls_nothing_makes_no_needed_call() -> None:
    """Some unsolvable tasks of ToolWorld need no call; their progress is 1 from the start."""
    evaluation = Evaluation("StepTool/ToolWorld-v0", {"split": "train", "unsolvable": 0.9}, 20)
    played = evaluate(evaluation, make_agent("no-tools"))
    without = [each for each in played if not each.task.relevant]
    assert 0 < len(without) < len(played)
    assert {each.metadata["outcome"]["progress"] for each in without} == {1}
    assert summarize([result_of(each) for each in played])["needed_calls"] == 0
    assert isnan(summarize([result_of(each) for each in without])["needed_calls"])


def test_the_spread_is_per_set_over_repeats_and_weighed_by_queries() -> None:
    """Set x (3 queries) has repeat means 1 and 0, deviation 0.5; set y (1 query) has no spread."""
    results = [result("x", (1, 0))] * 3 + [result("y", (0.5, 0.5))]
    assert pass_rate_spread(results) == pytest.approx(0.5 * 3 / 4)


def test_recall_counts_the_first_call_of_each_relevant_function() -> None:
    tries = trajectory(
        called("a", error="timed out"), called("a", "now it works"), called("b", "yes"), answered("x"),
        of=task(relevant=("a", "b", "c")),
    )  # fmt: skip
    results = [result_of(tries)]
    assert recall(results) == pytest.approx(1 / 3)
    assert recall(results, compat=True) == pytest.approx(2 / 4)


def test_a_function_named_twice_counts_twice_as_in_the_published_table() -> None:
    assert recall([result(relevant=("a", "a", "b"))]) == pytest.approx(2 / 3)


def test_only_compat_recall_counts_finish() -> None:
    done, undone = result(answered={FINISH: True}), result(answered={FINISH: False})
    assert recall([done]) == recall([undone]) == 0.0
    assert recall([done], compat=True) == 0.5
    assert recall([undone], compat=True) == 0.0
    unknown = result(answered={FINISH: True}, relevant=())  # as of files that do not name relevant functions
    assert isnan(recall([unknown], compat=True))
    assert recall([undone, unknown], compat=True) == 0.0


def test_precision_is_the_relevant_share_of_distinct_functions() -> None:
    wide = result_of(
        trajectory(called("a"), called("a"), called("x"), malformed(), gave_up(), of=task(relevant=("a", "b")))
    )
    assert precision([wide]) == 0.5
    assert precision([result(answered={FINISH: True})]) == 0.0


def test_an_episode_is_reduced_to_its_counts() -> None:
    episode = trajectory(called("a", "x"), malformed(), gave_up(), rewards=(0.5, 0.0, 0.25), is_solved=0.5)
    reduced = result_of(episode)
    assert (reduced.calls, reduced.invalid_calls, reduced.finished) == (3, 1, True)
    assert (reduced.passes, reduced.episode_return) == ((0.5,), 0.75)


def test_budgets_cut_by_calls_with_finish_included() -> None:
    results = [result(calls=2), result(calls=4), result(passes=(0.0,), calls=1)]
    assert [pass_at_budget(results, budget) for budget in (1, 2, 3, 4)] == pytest.approx([0, 1 / 3, 1 / 3, 2 / 3])


def test_pass_given_finish_leaves_out_the_rest() -> None:
    assert pass_given_finish([result(), result(passes=(0.0,), finished=False)]) == 1.0
    assert isnan(pass_given_finish([result(finished=False)]))


def test_queries_that_name_no_relevant_function_say_nothing_about_recall() -> None:
    assert recall([result(relevant=()), result()]) == 1.0
    assert isnan(recall([result(relevant=())]))
    assert isnan(precision([result(relevant=())]))


def test_a_summary_of_nothing_is_undefined_and_not_an_error() -> None:
    summary = summarize([])
    assert summary.pop("episodes") == 0
    assert all(isnan(value) for value in summary.values())


@given(st.integers(1, 500).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))))
def test_an_interval_ends_where_the_observed_rate_is_196_deviations_away(solved_of: tuple[int, int]) -> None:
    solved, count = solved_of
    rate = solved / count
    low, high = wilson_interval(rate, count)
    assert 0 <= low <= rate <= high <= 1
    for end in {low, high} - {rate}:  # at 0 and 1 the interval ends there
        assert abs(rate - end) == pytest.approx(1.959964 * sqrt(end * (1 - end) / count), rel=1e-6)


def test_each_rate_has_the_interval_of_the_episodes_that_it_is_about() -> None:
    results = [
        result(),
        result(finished=False, passes=(0.0,)),
        result(relevant=()),
        result(finished=False, relevant=()),
    ]
    summary = summarize(results)
    counts = {"pass_rate": 4, "finish_rate": 4, "invalid_call_rate": 4} | dict.fromkeys(
        ("pass_given_finish", "recall", "precision"), 2
    )
    for name, count in counts.items():
        assert (summary[name + "_low"], summary[name + "_high"]) == wilson_interval(summary[name], count)


def test_an_episode_cut_by_a_lost_connection_does_not_count() -> None:
    lost = trajectory(called("a"))
    lost = type(lost)(lost.task, lost.steps, lost.rewards, False, True, {"transport_error": "refused"})
    good = trajectory(answered("x"), is_solved=1.0)
    assert usable([lost, good]) == [good]


RESULTS = st.lists(
    st.builds(
        result,
        passes=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=3, max_size=3).map(tuple),
        calls=st.integers(1, 12),
        finished=st.booleans(),
        answered=st.dictionaries(st.sampled_from(["a", "b", FINISH]), st.booleans()),
        episode_return=st.just(nan),
    ),
    min_size=1,
    max_size=8,
)


@given(RESULTS)
def test_pass_rate_grows_with_the_budget_up_to_the_pass_rate(results: list[EpisodeResult]) -> None:
    curve = [pass_at_budget(results, budget) for budget in range(14)]
    assert curve[0] == 0
    assert curve == sorted(curve)
    assert curve[-1] == pytest.approx(pass_rate(results))


@given(RESULTS)
def test_rates_are_rates(results: list[EpisodeResult]) -> None:
    summary = summarize(results)
    rates = ("pass_rate", "finish_rate", "recall", "recall_compat", "precision", "invalid_call_rate")
    assert all(0 <= summary[name] <= 1 for name in rates)
    assert 0 <= pass_rate_spread(results) <= 0.5


def test_wilson_agrees_with_published_values() -> None:
    """Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20."""
    assert wilson_interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15 / 148, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert all(map(isnan, wilson_interval(0.5, 0)))

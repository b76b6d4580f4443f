"""pass@k: the unbiased estimate, solutions beyond the start, and rounds that are kept."""

from __future__ import annotations

import json
from itertools import combinations, product
from pathlib import Path
from shutil import copytree
from statistics import fmean

import pytest

from agents.baselines.oracle import OracleAgent
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.models import checkpoint
from benchmarks.harness.report import RESULTS
from benchmarks.learning import pass_at_k as module
from benchmarks.learning.pass_at_k import (
    Options,
    Round,
    operations_of,
    pass_at_k,
    pass_rate_at,
    read_rounds,
    report,
    run,
    sign_test,
)
from steptool_env.errors import ConfigurationError


@pytest.mark.parametrize("solved", range(7))
@pytest.mark.parametrize("k", range(1, 7))
def test_the_estimate_is_the_share_of_subsets_with_a_solution(solved: int, k: int) -> None:
    episodes = [number < solved for number in range(6)]
    assert pass_at_k(6, solved, k) == pytest.approx(fmean(any(chosen) for chosen in combinations(episodes, k)))


@pytest.mark.parametrize(("tasks", "depths"), [(4, (3, 4, 5)), (1, (1, 2)), (6, (1, 2, 3, 4))])
def test_depths_without_a_task_are_refused_before_anything_is_played(
    tasks: int, depths: tuple[int, ...], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=f"tasks={tasks}: .*give a multiple of {len(depths)}"):
        run(Options((tmp_path / "trained",), tasks=tasks, depths=depths, runs=tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_beyond_the_rounds_of_all_tasks_the_rate_is_the_share_that_the_first_episodes_solve() -> None:
    """A task that is solved in these rounds is not played further."""
    whole = [Round("", {"a": ("x",)}, ["a", "b", "c"]), Round("", {}, ["a", "b", "c"])]
    played = [*whole, Round("", {}, ["b", "c"]), Round("", {"b": ("x",)}, ["b", "c"])]
    assert [pass_rate_at(k, played) for k in (1, 2, 3, 4)] == pytest.approx([1 / 6, 1 / 3, 1 / 3, 2 / 3])


def test_the_estimate_is_unbiased_for_a_policy_that_solves_nothing_in_its_first_block() -> None:
    """Its second block has all tasks, too; counted in, it would raise the mean over policies above the pass rate."""

    def estimate(solved_at: int) -> float:
        rounds = [Round("", {"a": ("x",)} if number == solved_at else {}, ["a"]) for number in range(32)]
        return pass_rate_at(1, rounds if solved_at >= 16 else rounds[:16])

    assert fmean(estimate(solved_at) for solved_at in range(32)) == pytest.approx(1 / 32)
    late = [Round("", {"a": ("x",)} if number == 20 else {}, ["a"]) for number in range(32)]
    assert [pass_rate_at(k, late) for k in (1, 16, 20, 21)] == [0.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize(("gained", "lost"), [(0, 1), (3, 0), (1, 5), (4, 3), (3, 3)])
def test_the_sign_test_counts_the_outcomes_that_are_at_least_as_unequal(gained: int, lost: int) -> None:
    outcomes = [2 * sum(signs) - len(signs) for signs in product((0, 1), repeat=gained + lost)]
    assert sign_test(gained, lost) == pytest.approx(fmean(abs(each) >= abs(gained - lost) for each in outcomes))
    assert sign_test(0, 0) is None


def test_the_published_p_values_are_those_of_the_published_counts() -> None:
    table = json.loads((RESULTS / "pass_at_k.json").read_text())["tables"]["Beyond the start"]
    for row in table:
        p_value = sign_test(row["of these never by the start"], row["solved by the start alone"])
        assert row["p, sign test"] == (None if p_value is None else f"{p_value:.3f}")
    assert {row["p, sign test"] for row in table} > {None, "0.002", "0.021", "0.035"}


def test_the_oracle_calls_the_operations_of_its_plan() -> None:
    (trajectory,) = evaluate(Evaluation("StepTool/ToolWorld-v0", {"split": "depth-2"}, 1), OracleAgent())
    plan = trajectory.task.solution.plan
    assert sorted(operations_of(trajectory)) == sorted(node.operation for node in plan.nodes)


def test_solutions_beyond_the_start_and_their_operations_are_counted() -> None:
    tasks = ["a", "b", "c"]
    rounds = {
        "start": [Round("ab", {"a": ("x", "y")}, tasks), Round("ab", {"b": ("x",)}, tasks)],
        "trained": [Round("ab", {"a": ("x", "y")}, tasks), Round("ab", {"a": ("x", "y", "x"), "c": ("z",)}, tasks)],
    }
    result = report(rounds, {("w", "x", "y"), ("y", "x")}, 2, (3, 4))
    start, trained = result.tables["pass@k"]
    assert (start["pass@1 %"], start["pass@2 %"]) == ("33.3", "66.7")
    assert (trained["pass@1 %"], trained["pass@2 %"]) == ("50.0", "66.7")
    by_depth = [
        (row["depth"], row["policy"], row["tasks"], row["pass@2 %"]) for row in result.tables["pass@k by depth"]
    ]
    assert by_depth == [
        (3, "start", 2, "100.0"), (3, "trained", 2, "50.0"), (4, "start", 1, "0.0"), (4, "trained", 1, "100.0"),
    ]  # fmt: skip
    beyond = result.tables["Beyond the start"][1]
    assert (beyond["of these never by the start"], beyond["solved by the start alone"]) == (1, 1)
    assert (beyond["p, sign test"], result.tables["Beyond the start"][0]["p, sign test"]) == ("1.000", None)
    # ("x", "y", "x") and ("z",) are not a consecutive part of a demonstration; both pairs of the first are.
    assert beyond["with a new sequence %"] == "66.7"
    assert beyond["with a new pair %"] == "0.0"
    assert "<svg" in result.figures["pass@k"]


@pytest.mark.slow
def test_rounds_are_kept_and_not_mixed_with_others(
    start: Path, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The newest checkpoint of a run is named once, not by each process of a round."""
    monkeypatch.setattr(module, "demonstrated", lambda: {("x",)})  # the shipped start's take minutes
    monkeypatch.setattr(module, "_TOGETHER", 2)
    copytree(start, (trained := tmp_path / "trained") / "checkpoint-8")
    runs = tmp_path / "rounds"
    options = Options((trained,), start, tasks=3, depths=(1, 2), samples=3, config=shared, runs=runs)
    result = run(options)
    assert capfd.readouterr().err.count("taking its newest checkpoint, checkpoint-8") == 1
    assert [row["policy"] for row in result.tables["pass@k"]] == ["start", "trained"]
    digest, given = checkpoint.load_digest(start), shared.read_text()
    settings = {"weights": digest, "tasks": 3, "depths": [1, 2], "config": given}
    for name in ("start", "trained"):
        assert json.loads((runs / name / "settings.json").read_text()) == settings
    kept = {path: path.stat().st_mtime_ns for path in runs.glob("*/rounds-*.json")}
    assert len(kept) == 4
    for file in runs.glob("*/*-000-001.json"):
        first, second = read_rounds(file)
        assert first.tasks == second.tasks
        assert len(set(first.tasks)) == 3
    assert run(options).tables == result.tables
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    with pytest.raises(ConfigurationError, match="rounds of other weights or tasks"):
        run(Options((start,), start, tasks=1, depths=(1,), samples=2, config=shared, runs=runs))
    begun, later = (runs / "trained" / f"rounds-{rounds}.json" for rounds in ("000-001", "002-002"))
    content = json.loads(begun.read_text())
    content[1]["solved"] = {(solved := content[1]["tasks"][1]): ["x"]}
    begun.write_text(json.dumps(content))
    later.unlink()
    assert run(options).tables["Beyond the start"][1]["of these never by the start"] == 1
    (only,) = read_rounds(later)
    assert only.tasks == [task for task in content[1]["tasks"] if task != solved]

"""Reports name the judge, print the agreement of the rules, and say where two judges judged."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agents.cli import main
from agents.evaluation.results import judge_of
from agents.reporting.evaluation import agreement_tables, evaluation_report
from agents.reporting.runs import Run, runs_report
from steptool_env.judges.agreement import ROWS
from steptool_env.trajectories.trajectories import read_trajectories, write_trajectories
from steptool_env.types import Trajectory
from tests.steptool_env.sample_episodes import answered, called, task, trajectory

RESULT = Path(__file__).parents[3] / "benchmarks" / "results" / "judge_agreement.json"
EPISODE = trajectory(called("search", ["tt-93421"], studio="Aurora"), answered("Maren."), of=task())


def judged(recorded: float) -> Trajectory:
    return replace(EPISODE, metadata={"outcome": {"is_solved": 1.0, "is_recorded": recorded}})


def test_the_printed_agreement_is_that_of_the_benchmark() -> None:
    rows = json.loads(RESULT.read_text())["tables"]["Same verdicts, pair by pair"]
    measured = [(row["judge"], row["episodes"], row["same"], row["kappa"]) for row in rows]
    assert [(f"{row.judges}, {row.where}", row.episodes) for row in ROWS] == [row[:2] for row in measured]
    assert [row.same for row in ROWS] == pytest.approx([row[2] for row in measured], abs=1e-4)
    assert [row.kappa for row in ROWS] == pytest.approx([row[3] for row in measured], abs=1e-4)
    by_name = {(row.judges, row.where): row for row in ROWS}
    held_out = {judges: row for (judges, where), row in by_name.items() if where == "held-out sets"}
    (rules,) = (row for judges, row in held_out.items() if "rules" in judges)
    (itself,) = (row for judges, row in held_out.items() if "itself" in judges)
    assert 0 < rules.kappa < itself.kappa < 1
    assert rules.episodes > sum(row.episodes for row in ROWS) / 4  # at least half is held out


@pytest.mark.parametrize(
    ("judge", "there"), [("rules", True), ("recorded, else rules", True), ("llm m (tooleval)", False), ("world", False)]
)
def test_only_reports_with_the_rules_print_it(judge: str, there: bool) -> None:
    titles = [table.title for table in evaluation_report("run", "", [EPISODE], judge=judge).tables]
    assert ("Agreement of the rules with the published judge" in titles) == there


def test_the_table_sets_the_rules_beside_the_judge_itself() -> None:
    (table,) = agreement_tables(["rules"])
    assert [row[0] for row in table.rows[-2:]] == ["our rules and the published judge", "published judge and itself"]
    assert agreement_tables(["world", "llm m (fac)"]) == []


def test_a_report_that_mixes_judges_says_so_in_its_title() -> None:
    mixed = evaluation_report("run", "", [judged(1), judged(0), judged(1)], judge="recorded, else rules")
    assert mixed.title == "run, judged by two judges: 2 recorded, 1 by rules"
    assert evaluation_report("run", "", [judged(1), judged(1)], judge="recorded, else rules").title == "run"
    runs = [Run("a", [EPISODE], judge="rules"), Run("b", [EPISODE], judge="llm m (tooleval)")]
    assert runs_report(runs).title == "a · b (judged by different judges: a by rules, b by llm m (tooleval))"
    assert runs_report([runs[0], replace(runs[1], judge="rules")]).title == "a · b"
    titles = [table.title for table in runs_report(runs).tables]
    assert "Agreement of the rules with the published judge" in titles


@pytest.mark.parametrize(
    ("run", "judge"),
    [
        ({"evaluation": {"env_id": "StepTool/StableToolBench-v0", "env_kwargs": {}}}, "rules"),
        ({"evaluation": {"env_id": "StepTool/ToolWorld-v0"}}, "world"),
        ({"settings": {"reward": {"judge": "llm", "model": "m", "verdict": "fac"}}}, "llm m (fac)"),
        ({"settings": {"reward": {"kind": "steptool", "judge": "recorded"}}}, "recorded, else rules"),
        ({"evaluation": {"env_id": "Mine/Env-v0"}}, ""),
    ],
)
def test_the_judge_of_a_run_is_read_from_its_record(run: dict[str, object], judge: str) -> None:
    assert judge_of(run) == judge


def test_the_commands_write_and_read_the_judge(tmp_path: Path) -> None:
    main(["evaluate", "--env", "StepTool/StableToolBench-v0", "--agent", "random", "--out", str(tmp_path / "ruled")])
    assert json.loads((tmp_path / "ruled" / "run.json").read_text())["judge"] == "rules"
    page = (tmp_path / "ruled" / "report.html").read_text()
    assert "Agreement of the rules with the published judge" in page
    episodes = read_trajectories(tmp_path / "ruled" / "trajectories.jsonl").trajectories
    write_trajectories(tmp_path / "some.jsonl", episodes[:3])
    main(["score", "--episodes", str(tmp_path / "ruled"), "--out", str(tmp_path / "looked-up"), "--reward-args",
          "judge=recorded", f"path={tmp_path / 'some.jsonl'}"])  # fmt: skip
    scored = (tmp_path / "looked-up" / "report.html").read_text()
    assert "judged by two judges: 3 recorded, 5 by rules" in scored
    main(["report", str(tmp_path / "ruled"), str(tmp_path / "looked-up"), "--out", str(tmp_path / "page.html")])
    assert (
        "judged by different judges: ruled by rules, looked-up by recorded, else rules"
        in (tmp_path / "page.html").read_text()
    )

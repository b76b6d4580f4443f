"""The page that compares runs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agents.cli import main
from agents.commands.report import read_run
from agents.evaluation.results import panel_of, write_held_out
from agents.reporting.evaluation import evaluation_report
from agents.reporting.runs import runs_report
from steptool_env.errors import DataError
from steptool_env.trajectories.trajectories import write_trajectories
from steptool_env.types import Trajectory
from tests.steptool_env.sample_episodes import answered, called, task, trajectory


def evaluation(folder: Path, passed: float, tasks: str = "123") -> Path:
    steps = (called("a", "x"), answered("x"))
    write_trajectories(
        folder / "trajectories.jsonl", [trajectory(*steps, of=task(task_id=t), is_solved=passed) for t in tasks]
    )
    return folder


def training(folder: Path, iterations: int = 12) -> Path:
    folder.mkdir(parents=True)
    records = [
        {"calls": 50 * i, "iteration": i, "rollout/is_solved": i / iterations}
        | ({"eval/is_solved": i / iterations} if i % 4 == 0 else {})
        for i in range(iterations)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def test_evaluations_stand_side_by_side_on_the_tasks_they_share(tmp_path: Path) -> None:
    runs = [read_run(evaluation(tmp_path / "good", 1.0)), read_run(evaluation(tmp_path / "bad", 0.0, "324"))]
    page = runs_report(runs)
    assert page.title == "good · bad"
    assert [row[:3] for row in page.tables[0].rows] == [
        ("good", "3", "100.0 % (44–100 %)"),
        ("bad", "3", "0.0 % (0–56 %)"),
    ]
    assert [example.title for example in page.examples] == ["Task 2", "Task 3"]
    assert [name for name, _ in page.examples[0].episodes] == ["good", "bad"]


def test_families_of_tasks_are_compared_where_tasks_have_them(tmp_path: Path) -> None:
    """`seen` solves both tasks of one family and not the one of the other: 67 % of the tasks, 50 % over families."""
    families = {"1": "rank", "2": "rank", "3": "search"}
    played = [
        trajectory(
            called("a", "x"), answered("x"), of=replace(task(task_id=t), family=name), is_solved=float(name == "rank")
        )
        for t, name in families.items()
    ]
    write_trajectories(tmp_path / "seen" / "trajectories.jsonl", played)
    table = runs_report([read_run(tmp_path / "seen"), read_run(evaluation(tmp_path / "without", 0.0))]).tables[0]
    assert table.columns[-2:] == ("mean over families", "families solved")
    assert [row[-2:] for row in table.rows] == [("50.0 %", "1 of 2"), ("–", "–")]
    assert "mean over families" not in runs_report([read_run(evaluation(tmp_path / "plain", 1.0))]).tables[0].columns
    figures = {figure.metric.label: figure.value for figure in evaluation_report("seen", "", played).figures}
    assert (figures["mean over families"], figures["families solved"]) == ("50.0 %", "1 of 2")


def test_a_page_takes_the_place_of_no_other_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = evaluation(tmp_path / "one", 1.0)
    kept = (run / "trajectories.jsonl").read_bytes()
    with pytest.raises(SystemExit):
        main(["report", str(run), "--out", str(run / "trajectories.jsonl")])
    assert "give a name that ends in .html" in capsys.readouterr().err
    assert (run / "trajectories.jsonl").read_bytes() == kept


def test_runs_on_different_tasks_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the page and in the console; runs on the same tasks, in any order, are not."""
    one, same, other = (
        str(evaluation(tmp_path / name, 1.0, tasks))
        for name, tasks in (("one", "123"), ("same", "321"), ("other", "124"))
    )
    for runs, warned in (([one, same], False), ([one, same, other], True), ([one], False)):
        main(["report", *runs, "--out", str(tmp_path / "page.html")])
        page, printed = (tmp_path / "page.html").read_text(), " ".join(capsys.readouterr().err.split())
        assert ("evaluated on different tasks" in page) == ("evaluated on different tasks" in printed) == warned
        assert panel_of(read_run(Path(one)).trajectories) in page


def test_trainings_evaluated_on_different_tasks_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = {name: training(tmp_path / name) for name in ("one", "same", "other", "old")}
    for name, panel in (("one", "aa"), ("same", "aa"), ("other", "bb")):
        write_held_out(folders[name], panel)
    for names, warned in ((["one", "same", "old"], False), (["one", "other"], True)):
        main(["report", *(str(folders[name]) for name in names), "--out", str(tmp_path / "page.html")])
        page, printed = (tmp_path / "page.html").read_text(), " ".join(capsys.readouterr().err.split())
        assert ("evaluated on different tasks" in page) == ("evaluated on different tasks" in printed) == warned


def test_a_training_shows_its_curves_against_calls(tmp_path: Path) -> None:
    page = runs_report([read_run(training(tmp_path / "steptool"))])
    assert [plot.title for plot in page.plots] == [
        "Pass rate on held-out tasks while training",
        "Pass rate of the episodes trained on",
    ]
    assert page.tables[0].rows == [("steptool", "12", "550", "0.0 %", "66.7 %")]
    assert not page.examples


def test_lost_episodes_do_not_count(tmp_path: Path) -> None:
    lost = Trajectory(task(task_id="9"), (), (), False, True, {"transport_error": "refused"})
    good = trajectory(answered("x"), of=task(task_id="1"), is_solved=1.0)
    write_trajectories(tmp_path / "run" / "trajectories.jsonl", [lost, good])
    assert read_run(tmp_path / "run").trajectories == [good]


def test_the_command_writes_one_page_for_both_kinds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(evaluation(tmp_path / "evaluated", 1.0)), str(training(tmp_path / "trained"))]
    main(["report", *folders, "--out", str(tmp_path / "pages" / "page.html")])
    text = (tmp_path / "pages" / "page.html").read_text()
    assert "evaluated" in text
    assert "trained" in text
    assert "wrote" in capsys.readouterr().out


def test_what_cannot_be_compared_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="holds no run"):
        read_run(tmp_path)
    for arguments, message in (
        ([], "no run was given"),
        ([str(evaluation(tmp_path / "a", 1.0)), str(tmp_path / "b" / ".." / "a")], "is given twice"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main(["report", *arguments])
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("run.json", '{"evaluation": 3', "is not JSON"),
        ("run.json", "[]", "must hold a JSON object"),
        ("run.json", '{"settings": []}', "settings must be a JSON object, not []"),
        ("run.json", '{"settings": {"reward": "final"}}', "reward must be a JSON object, not 'final'"),
        ("run.json", '{"evaluation": [1]}', "evaluation must be a JSON object"),
        ("run.json", '{"training": {"settings": 3}}', "settings must be a JSON object, not 3"),
        ("config.yaml", "a: &b [1]\nc: *b", "is not plain YAML"),
        ("held_out.json", "{", "is not JSON"),
    ],
)
def test_a_damaged_file_of_a_run_is_named(
    name: str, text: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = evaluation(tmp_path / "run", 1.0)
    (folder / "metrics.jsonl").write_text('{"calls": 1, "iteration": 1}\n')
    (folder / name).write_text(text)
    with pytest.raises(SystemExit, match="2"):
        main(["report", str(folder), "--out", str(tmp_path / "page.html")])
    printed = capsys.readouterr().err
    assert f"{folder / name}: {problem}" in printed
    assert printed.count("\n") == 1

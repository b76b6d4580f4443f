"""The page about runs."""

import re
from collections import Counter
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from agents.evaluation.evaluate import Evaluation, evaluate
from agents.registry import make_agent
from agents.reporting.evaluation import METRICS, evaluation_report
from agents.reporting.html import Example, Plot, Report, Table, format_number, format_rate, write_report
from agents.reporting.outputs import run_facts
from agents.reporting.plan_picture import plan_picture
from agents.reporting.plots import Curve, line_plot
from agents.reporting.runs import Run, runs_report
from steptool_env.metrics import summarize
from steptool_env.toolworld.grading.oracle import gold_answer
from steptool_env.toolworld.suite import world_task_of
from tests.steptool_env.sample_episodes import answered, called, gave_up, malformed, task, trajectory

ROOT = Path(__file__).parents[3]
EPISODES = [
    trajectory(called("a", "x"), answered("x"), of=task(task_id="1"), rewards=(0.5, 1.0), is_solved=1.0),
    trajectory(malformed("<script>alert(1)</script>"), gave_up(), of=task("<b>bold</b>", task_id="2"), is_solved=0.0),
    trajectory(called("a", error="timed out"), of=task(task_id="3"), is_solved=0.0),
]


class Page(HTMLParser):
    """Collects the tags, and complains about one that is closed and was not open."""

    VOID = frozenset({"meta", "br", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page(report: Report, tmp_path: Path) -> str:
    write_report(report, tmp_path / "report.html")
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_page_is_whole_and_needs_nothing_else(tmp_path: Path) -> None:
    text = page(evaluation_report("run", "three tasks", EPISODES), tmp_path)
    parsed = Page(text)
    assert not parsed.open
    assert "src" not in dict(parsed.attributes)
    targets = [value or "" for name, value in parsed.attributes if name == "href"]
    assert all(target.startswith(("#metric-", "https://arxiv.org/abs/")) for target in targets)  # followed, not loaded
    assert "@import" not in text
    assert "url(http" not in text


def test_every_episode_and_step_is_shown_with_its_terms(tmp_path: Path) -> None:
    text = page(evaluation_report("run", "", EPISODES), tmp_path)
    assert text.count("<details") == 3
    assert text.count('<article class="step">') == sum(len(episode.steps) for episode in EPISODES)
    for words in ("Task 1: solved, answered", "Task 2: unsolved, gave up", "Task 3: unsolved, ran out of calls"):
        assert words in text


def test_failed_episodes_come_first_and_many_are_folded_in_pages(tmp_path: Path) -> None:
    text = page(evaluation_report("run", "", EPISODES), tmp_path)
    assert text.index("Task 2: unsolved") < text.index("Task 3: unsolved") < text.index("Task 1: solved")
    many = [trajectory(gave_up(), of=task(task_id=str(number)), is_solved=0.0) for number in range(401)]
    text = page(evaluation_report("run", "", many), tmp_path)
    assert text.count('<details class="page"') == 400 / 25
    assert "376 to 400 of 400" in text
    assert "The first 400 of 401 episodes" in text
    assert not Page(text).open


def test_rates_have_intervals_and_every_figure_its_words() -> None:
    report = evaluation_report("run", "", EPISODES)
    shown = {figure.metric.label: (figure.value, figure.interval) for figure in report.figures}
    assert shown["pass rate"] == ("33.3 %", "6–79 %")  # one of three
    assert all(figure.interval for figure in report.figures if "rate" in figure.metric.label)
    assert {figure.metric for figure in report.figures} <= set(report.metrics)


def test_every_figure_and_column_leads_to_the_words_about_it(tmp_path: Path) -> None:
    sets = [replace(each, task=replace(each.task, suite=name)) for each in EPISODES for name in ("one", "two")]
    for report in (evaluation_report("run", "", sets), runs_report([Run("a", EPISODES), Run("b", EPISODES)])):
        parsed = Page(page(report, tmp_path))
        names = {value for name, value in parsed.attributes if name == "id" and (value or "").startswith("metric-")}
        links = {
            value[1:]
            for tag, value in parsed.attributes
            if tag == "href" and value is not None and value.startswith("#")
        }
        assert links == names != set()
        assert all(metric.words.endswith(".") for metric in report.metrics)
        unknown = {column for table in report.tables for column in table.columns} - {m.label for m in report.metrics}
        assert not {column for column in unknown if column.replace(" ", "_") in summarize([])}


def test_the_words_about_metrics_are_those_of_the_documentation() -> None:
    documented = (ROOT / "docs" / "evaluation.md").read_text()
    assert all(f"`{name}`" in documented for name in METRICS if name != "episodes")


@pytest.mark.parametrize("agent", ["oracle", "greedy-docs"])
def test_the_right_answer_and_the_gold_plan_are_shown_with_the_calls_that_fulfilled_it(
    agent: str, tmp_path: Path
) -> None:
    evaluation = Evaluation("StepTool/ToolWorld-v0", {"split": "depth-2"}, 8)
    played = evaluate(evaluation, make_agent(agent))
    stored = [replace(each, task=replace(each.task, solution=None)) for each in played]  # as a file has them
    for episodes in (played, stored):
        text = page(evaluation_report("run", "", episodes), tmp_path)
        assert not Page(text).open
        assert text.count("Right answer") == text.count('<svg class="plan"') == len(played)
        for episode in played:
            task = world_task_of(episode.task)
            assert task.plan.writes or escape(gold_answer(task)) in text
        made = sum(call.step > 0 for episode in played for call in plan_picture(episode.task, episode).calls)
        assert text.count("✓ gold call") == text.count("✓ by call") == made
        assert (text.count("not made") == 0) == (agent == "oracle")
        assert "recorded" not in text  # what only recorded tools have


def test_a_task_with_other_words_than_the_worlds_has_no_plan(tmp_path: Path) -> None:
    """An episode of another version of the world keeps its id, not its plan."""
    (played,) = evaluate(Evaluation("StepTool/ToolWorld-v0", {"split": "depth-2"}, 1), make_agent("oracle"))
    other = replace(played, task=replace(played.task, query="Another query.", solution=None))
    assert "Right answer" not in page(evaluation_report("run", "", [other]), tmp_path)


@pytest.mark.usefixtures("complexfuncbench_data")
def test_reference_calls_of_complexfuncbench_are_a_plan(tmp_path: Path) -> None:
    played = evaluate(Evaluation("StepTool/ComplexFuncBench-v0", {"split": "test"}, 3), make_agent("oracle"))
    text = page(evaluation_report("run", "", played), tmp_path)
    assert text.count("Right answer") == 3
    assert text.count("✓ gold call") == sum(len(episode.task.solution.calls) for episode in played)


def test_what_has_no_value_or_no_shape_is_left_out() -> None:
    failed = [replace(episode, metadata={"outcome": {"is_solved": 0.0}}) for episode in EPISODES[1:]]
    failed = [replace(each, task=replace(each.task, relevant=())) for each in failed]
    report = evaluation_report("run", "", failed)
    assert not report.plots
    assert not {"recall", "precision"} & {figure.metric.label for figure in report.figures}
    sets = [replace(each, task=replace(each.task, suite=name)) for each in failed for name in ("one", "two")]
    table = next(table for table in evaluation_report("run", "", sets).tables if table.title == "Query sets")
    assert not {"recall", "pass rate judge std"} & set(table.columns)


def test_the_head_says_what_was_run() -> None:
    run = {
        "command": "steptool evaluate",
        "agent": "oracle",
        "agent_args": [],
        "evaluation": {"env_id": "StepTool/ToolWorld-v0", "env_kwargs": {"split": "depth-2"}, "seed": 3},
        "settings": {"suite": {"name": "depth-2", "tools": None}, "reward": {"kind": "progress", "cost": 0.0}},
        "suites": ["depth-2"],
    }
    assert run_facts(run) == [
        ("command", "steptool evaluate"),
        ("agent", "oracle"),
        ("suites", "depth-2"),
        ("env id", "StepTool/ToolWorld-v0"),
        ("seed", "3"),
        ("suite", "name depth-2"),
        ("reward", "kind progress, cost 0.0"),
    ]


def test_what_models_and_tools_write_cannot_become_markup(tmp_path: Path) -> None:
    text = page(evaluation_report("run", "", EPISODES), tmp_path)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "<b>bold</b>" not in text


def test_any_text_can_be_written(tmp_path: Path) -> None:
    odd = trajectory(malformed("\ud800 \x00 ü"), is_solved=0.0)
    assert "ü" in page(evaluation_report("run", "", [odd]), tmp_path)


def test_nothing_to_report_is_a_page_too(tmp_path: Path) -> None:
    assert "–" in page(evaluation_report("run", "", []), tmp_path)


def test_episodes_stand_side_by_side(tmp_path: Path) -> None:
    report = Report("t", examples=[Example("task 1", [("before", EPISODES[2]), ("after", EPISODES[0])])])
    text = page(report, tmp_path)
    assert text.index("before") < text.index("after")


def test_tables_and_plots_are_shown(tmp_path: Path) -> None:
    table = Table("Arms", ("arm", "pass"), [("a & b", "1.0")], note="means")
    text = page(Report("t", tables=[table], plots=[Plot("Curve", "<svg>drawn</svg>", "calls")]), tmp_path)
    assert "a &amp; b" in text
    assert "<svg>drawn</svg>" in text


def test_a_plot_is_the_same_every_time_and_names_its_curves() -> None:
    curves = {"one": Curve([1, 2, 3], [0, 0.5, 1], [0, 0.4, 0.9], [0.1, 0.6, 1]), "two": Curve([1, 2], [1, 0])}
    svg = line_plot(curves, "calls", "pass rate", percent=True, steps=True)
    assert svg == line_plot(curves, "calls", "pass rate", percent=True, steps=True)
    assert {"one", "two", "calls", "pass rate"} <= words_of(svg)
    assert not re.search(r"\d{4}-\d\d-\d\d", svg)


def strokes(svg: str) -> Counter[tuple[str, bool]]:
    """Colour of each line that is drawn, in the plot or in the legend, and whether it is dashed."""
    lines = re.findall(r'style="(fill: none; [^"]*stroke-width: 2(?:;[^"]*)?)"', svg)
    return Counter(
        (re.findall(r"stroke: var\(--plot-\d, (#[0-9a-f]+)", line)[0], "dasharray" in line) for line in lines
    )


def words_of(svg: str) -> set[str]:
    return {element.text for element in ElementTree.fromstring(svg).iter() if element.text and element.text.strip()}


def test_a_curve_is_drawn_dashed_in_the_colour_of_its_pair() -> None:
    line = Curve([1, 2], [0, 1])
    curves = {"one": line, "two": line, "two again": line._replace(paired_with="two")}
    drawn = strokes(line_plot(curves, "x", "y"))
    assert sorted(drawn.values()) == [2, 2, 2]  # in the plot and in the legend
    (dashed,) = (colour for colour, is_dashed in drawn if is_dashed)
    plain = {colour for colour, is_dashed in drawn if not is_dashed}
    assert len(plain) == 2
    assert dashed in plain


def test_a_page_can_set_every_colour_of_a_plot() -> None:
    line = Curve([1, 2], [0, 1])
    svg = line_plot({str(number): line for number in range(7)}, "x", "y")
    assert set(re.findall("#[0-9a-f]{6}", re.sub(r"var\([^)]*\)", "", svg))) <= {"#ffffff"}
    assert {f"--plot-{name}" for name in ("ink", "grid", *range(1, 8))} == set(re.findall(r"var\(([^,]*),", svg))


def test_examples_can_stand_before_the_plots(tmp_path: Path) -> None:
    report = Report("t", plots=[Plot("Curve", "<svg/>")], examples=[Example("task 1", [("a", EPISODES[0])])])
    texts = [page(each, tmp_path) for each in (report, replace(report, examples_first=True, examples_title="Solved"))]
    assert texts[0].index("Curve") < texts[0].index("Episodes, step by step")
    assert texts[1].index("Solved") < texts[1].index("task 1") < texts[1].index("Curve")


def test_an_axis_of_powers_of_two_has_plain_numbers() -> None:
    assert {"1", "4", "16"} <= words_of(line_plot({"k": Curve([1, 4, 16], [0, 0.5, 1])}, "k", "pass@k", log_x=True))


@pytest.mark.parametrize(("value", "shown"), [(0.5, "50.0 %"), (float("nan"), "–"), (1.0, "100.0 %")])
def test_rates_read_as_percentages(value: float, shown: str) -> None:
    assert format_rate(value) == shown


def test_numbers_have_their_digits() -> None:
    assert (format_number(1.005, 1), format_number(float("nan"))) == ("1.0", "–")

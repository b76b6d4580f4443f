"""Self-contained HTML report: numbers, tables, plots and episodes step by step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isnan, nan
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from agents.reporting.plan_picture import PlanPicture, plan_of
from steptool_env.metrics import HIGH, LOW
from steptool_env.types import Step, Trajectory
from toolserver.catalog.api_schema import StatusCode

_PAGE = 25
"""Number of examples that are unfolded together."""


@dataclass(frozen=True)
class Table:
    """Table of text cells. The first column names the row; `note` is the line below the table."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Plot:
    """Figure: the text of an `<svg>`, with title and caption."""

    title: str
    svg: str
    caption: str = ""


class Metric(NamedTuple):
    """Metric: label, definition in a sentence, and the address of its source, empty without one."""

    label: str
    words: str
    source: str = ""

    @property
    def anchor(self) -> str:
        """Name of the definition on the page."""
        return f"metric-{self.label.replace(' ', '-')}"


class Figure(NamedTuple):
    """Main number: its metric, the value as text, and its interval as text, empty without one."""

    metric: Metric
    value: str
    interval: str = ""


@dataclass(frozen=True)
class Example:
    """One or more episodes of one task, side by side, e.g. before and after training."""

    title: str
    episodes: Sequence[tuple[str, Trajectory]]

    @cached_property
    def plans(self) -> list[PlanPicture | None]:
        """Gold plan of the task, marked by each episode; `None` where it is not known."""
        return [plan_of(episode) for _, episode in self.episodes]


@dataclass(frozen=True)
class Report:
    """Content of the page, from top to bottom.

    `result` is a sentence with the main result; `facts` say what was run and how, each a label and a text; `figures`
    are the main numbers; `metrics` defines those and the columns of the tables; `examples_first` puts the examples
    before the plots, all unfolded.
    """

    title: str
    subtitle: str = ""
    result: str = ""
    facts: Sequence[tuple[str, str]] = ()
    figures: Sequence[Figure] = ()
    metrics: Sequence[Metric] = ()
    metrics_note: str = ""
    plots: Sequence[Plot] = ()
    tables: Sequence[Table] = ()
    examples: Sequence[Example] = field(default_factory=tuple)
    examples_title: str = "Episodes, step by step"
    examples_note: str = ""
    examples_first: bool = False


def write_report(report: Report, path: Path) -> None:
    """Write the page. It refers to no other file or network resource."""
    environment = Environment(
        loader=PackageLoader("agents.reporting"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= FILTERS
    text = environment.get_template("report.html.j2").render(report=report, page_size=_PAGE)
    path.write_bytes(text.encode("utf-8", "backslashreplace"))


def format_number(value: float, digits: int = 2) -> str:
    """Format a number with `digits` decimals; nan as a dash."""
    return "–" if isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"


def format_rate(value: float) -> str:
    """Format a rate in 0..1 as a percentage with one decimal; nan as a dash."""
    return "–" if isnan(value) else f"{100 * value:.1f} %"


def format_interval(metrics: Mapping[str, float], name: str) -> str:
    """Format the 95 % interval of a rate of `summarize` as percentages without decimals; empty without one."""
    low, high = metrics.get(name + LOW, nan), metrics.get(name + HIGH, nan)
    return "" if isnan(low) else f"{100 * low:.0f}–{100 * high:.0f} %"


def format_estimate(metrics: Mapping[str, float], name: str) -> str:
    """Format a rate of `summarize` with its interval, e.g. `45.0 % (37–53 %)`."""
    interval = format_interval(metrics, name)
    return f"{format_rate(metrics[name])} ({interval})" if interval else format_rate(metrics[name])


def ending(trajectory: Trajectory) -> str:
    """Describe the end of an episode: verdict, kind of ending and number of steps."""
    passed = trajectory.metadata.get("outcome", {}).get("is_solved", nan)
    verdict = {1.0: "solved", 0.0: "unsolved"}.get(passed, f"judged {format_number(passed)}")
    steps = len(trajectory.steps)
    return f"{verdict}, {way_of_ending(trajectory)} after {steps} step{'s' if steps != 1 else ''}"


def way_of_ending(trajectory: Trajectory) -> str:
    """Return `answered`, `gave up` or `ran out of calls`."""
    if not trajectory.finished:
        return "ran out of calls"
    return "answered" if trajectory.steps[-1].status is StatusCode.FINAL_ANSWER else "gave up"


def _status(step: Step) -> str:
    return step.status.name.lower().replace("_", " ")


def _tone(step: Step) -> str:
    if step.status in {StatusCode.OK, StatusCode.FINAL_ANSWER}:
        return "good"
    return "bad" if step.malformed else "warn"


FILTERS: dict[str, Callable[..., str]] = {
    "svg": Markup,
    "number": format_number,
    "rate": format_rate,
    "status": _status,
    "tone": _tone,
    "ending": ending,
}
"""Filters of the templates that show episodes."""

"""One self-contained HTML page about runs: numbers, tables, plots and episodes step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isnan, nan
from pathlib import Path

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from steptool_env.types import Step, Trajectory
from toolserver.catalog.api_schema import StatusCode

_STATUS_WORDS = {
    StatusCode.OK: "ok",
    StatusCode.FINAL_ANSWER: "final answer",
    StatusCode.GAVE_UP: "gave up",
    StatusCode.NO_SUCH_FUNCTION: "no such function",
    StatusCode.BAD_INPUT: "bad input",
}


@dataclass(frozen=True)
class Table:
    """A table. Cells are text; the first column names the row. `note` is the line below it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Plot:
    """A figure: the text of an `<svg>` and what it shows."""

    title: str
    svg: str
    caption: str = ""


@dataclass(frozen=True)
class Example:
    """One or more episodes of one task, side by side (before and after, for instance)."""

    title: str
    episodes: Sequence[tuple[str, Trajectory]]


@dataclass(frozen=True)
class Report:
    """What the page holds, from top to bottom.

    Attributes:
        title: Heading.
        subtitle: A sentence below it: what was run, and how.
        figures: Headline numbers, each a label and a text.
        plots: Figures.
        tables: Tables.
        examples: Episodes, step by step.
    """

    title: str
    subtitle: str = ""
    figures: Sequence[tuple[str, str]] = ()
    plots: Sequence[Plot] = ()
    tables: Sequence[Table] = ()
    examples: Sequence[Example] = field(default_factory=tuple)


def write_report(report: Report, path: Path) -> None:
    """Write the page. It needs no other file and no network."""
    environment = Environment(
        loader=PackageLoader("agents.reporting"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"svg": Markup, "number": format_number, "status": _status, "tone": _tone, "ending": ending}
    text = environment.get_template("report.html.j2").render(report=report)
    path.write_bytes(text.encode("utf-8", "backslashreplace"))


def format_number(value: float, digits: int = 2) -> str:
    """A number for people: `digits` decimals, a dash where it is not defined."""
    return "–" if isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"


def format_rate(value: float) -> str:
    """A rate in 0..1 as a percentage with one decimal, a dash where it is not defined."""
    return "–" if isnan(value) else f"{100 * value:.1f} %"


def ending(trajectory: Trajectory) -> str:
    """How an episode ended, in words: the verdict, the way and the number of steps."""
    passed = trajectory.metadata.get("outcome", {}).get("is_solved", nan)
    verdict = {1.0: "solved", 0.0: "unsolved"}.get(passed, f"judged {format_number(passed)}")
    steps = len(trajectory.steps)
    return f"{verdict}, {way_of_ending(trajectory)} after {steps} step{'s' if steps != 1 else ''}"


def way_of_ending(trajectory: Trajectory) -> str:
    """`answered`, `gave up` or `ran out of calls`."""
    if not trajectory.finished:
        return "ran out of calls"
    return "answered" if trajectory.steps[-1].status is StatusCode.FINAL_ANSWER else "gave up"


def _status(step: Step) -> str:
    return _STATUS_WORDS.get(step.status, step.status.name.lower().replace("_", " "))


def _tone(step: Step) -> str:
    if step.status in {StatusCode.OK, StatusCode.FINAL_ANSWER}:
        return "good"
    return "bad" if step.malformed else "warn"

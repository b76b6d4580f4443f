"""Report of one evaluation."""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import isnan

from agents.evaluation.results import budgets_of, metrics_of, panel_of, recorded_share
from agents.reporting.html import (
    Example,
    Figure,
    Metric,
    Plot,
    Report,
    Table,
    ending,
    format_estimate,
    format_interval,
    format_number,
    format_rate,
    way_of_ending,
)
from agents.reporting.plots import Curve, line_plot
from steptool_env.judges.agreement import ROWS
from steptool_env.metrics import groups_of, result_of, summarize, usable
from steptool_env.types import Trajectory

_EXAMPLES = 400
"""Maximum number of episodes on a page, which a browser still opens in a moment."""
_SOPR, _STEPTOOL = "https://arxiv.org/abs/2403.07714", "https://arxiv.org/abs/2410.07745"
_FAMILY = "A family is all plans with the same operations in the same order."
METRICS = {
    "episodes": Metric("episodes", "Episodes that count: all but those that were lost to the tool server."),
    "pass_rate": Metric(
        "pass rate",
        "Mean of the verdicts of all episodes; an episode without an answer has failed. StableToolBench calls it SoPR.",
        _SOPR,
    ),
    "pass_rate_judge_std": Metric(
        "pass rate judge std",
        "Standard deviation of the pass rate over the judge's repeats: the judge's disagreement with itself.",
        _SOPR,
    ),
    "pass_given_finish": Metric("pass given finish", "Pass rate of the episodes that ended with Finish."),
    "finish_rate": Metric("finish rate", "Share of episodes that ended with Finish."),
    "recall": Metric("recall", "Mean share of the needed functions whose first call succeeded.", _STEPTOOL),
    "recall_compat": Metric("recall compat", "Recall with Finish among the needed functions, as published.", _STEPTOOL),
    "precision": Metric("precision", "Mean share of the called functions that were needed."),
    "needed_calls": Metric(
        "needed calls", "Mean share of the calls of the reference solution that were made, over tasks that need any."
    ),
    "calls": Metric("calls", "Mean number of actions of an episode, Finish and invalid ones included."),
    "invalid_call_rate": Metric(
        "invalid call rate", "Share of calls that named no offered function or had invalid arguments."
    ),
    "return": Metric("return", "Mean sum of the rewards of an episode."),
    "context_full_rate": Metric(
        "context full rate", "Share of episodes with an empty action, which a policy writes where its context is full."
    ),
    "pass_rate_families": Metric("mean over families", f"Mean of the families' pass rates. {_FAMILY}"),
    "families_solved": Metric("families solved", f"Families with a solved task, of all families. {_FAMILY}"),
}
"""Metrics that reports show, by their names in metrics.json."""
_RATES = ("pass_rate", "pass_given_finish", "finish_rate", "recall", "precision", "needed_calls", "invalid_call_rate")
_UNLESS_ZERO = ("context_full_rate", "pass_rate_judge_std")
_INTERVALS = (
    "Ranges are Wilson's 95 % intervals over the episodes: what other tasks of this kind might give. They do not cover "
    "the variance between trainings, nor mistakes of a judge."
)
_COLUMNS = ("pass_rate", "pass_given_finish", "recall", "precision", "calls")
_BRIEF_COLUMNS = ("pass_rate", "recall", "calls")
_SET_COLUMNS = ("pass_rate", "pass_rate_judge_std", "pass_given_finish", "recall", "recall_compat", "calls")
_ENDINGS = ("answered", "gave up", "ran out of calls")


def evaluation_report(
    title: str,
    subtitle: str,
    trajectories: Sequence[Trajectory],
    facts: Sequence[tuple[str, str]] = (),
    judge: str = "",
) -> Report:
    """Return the report: main metrics, pass rate against call budget, endings, call statuses and all episodes.

    Failed episodes come first. Metrics without a value here are left out. `facts` say what was run and how. The title
    says where two judges judged the episodes. Where `judge` uses the rules, a table has their agreement with the
    published judge.
    """
    counted = usable(trajectories)
    metrics = metrics_of(trajectories)
    shown = sorted(counted, key=lambda trajectory: result_of(trajectory).passed)[:_EXAMPLES]
    left_out = f"The first {_EXAMPLES} of {len(counted)} episodes; failed ones come first."
    recorded, others = recorded_share(counted)
    judges = f", judged by two judges: {recorded} recorded, {others} by {_fallback(judge)}"
    figures = _figures(metrics)
    tables = [*_sets(counted), _endings(counted), _calls(counted), *agreement_tables([judge])]
    return Report(
        title=title + (judges if recorded and others else ""),
        subtitle=subtitle,
        facts=[*facts, ("panel", panel_of(counted))],
        figures=figures,
        metrics=defined_metrics(figures, tables),
        metrics_note=_INTERVALS,
        plots=[budget_plot({title: counted})] if any(result_of(each).passed for each in counted) else [],
        tables=tables,
        examples=[
            Example(f"Task {trajectory.task.id}: {ending(trajectory)}", [("", trajectory)]) for trajectory in shown
        ],
        examples_title="Episodes, failed ones first",
        examples_note=left_out if len(shown) < len(counted) else "",
    )


def _figures(metrics: Mapping[str, float]) -> list[Figure]:
    """Return the main numbers, without those that have no value here, or are 0 by nature."""
    figures = [Figure(METRICS["episodes"], f"{metrics['episodes']:.0f}")]
    figures += [
        Figure(METRICS[name], format_rate(metrics[name]), format_interval(metrics, name))
        for name in _RATES
        if name == "pass_rate" or not isnan(metrics[name])
    ]
    figures += [
        Figure(METRICS[name], format_rate(metrics[name])) for name in _UNLESS_ZERO if _has_value(name, metrics[name])
    ]
    figures += [Figure(METRICS[name], format_number(metrics[name])) for name in ("calls", "return")]
    labels = {metric.label: metric for metric in METRICS.values()}
    return figures + [Figure(labels[label], text) for label, text in _families(metrics).items()]


def defined_metrics(figures: Sequence[Figure], tables: Sequence[Table]) -> list[Metric]:
    """Return the metrics of some figures and of the columns of some tables."""
    shown = {figure.metric.label for figure in figures} | {column for table in tables for column in table.columns}
    return [metric for metric in METRICS.values() if metric.label in shown]


def agreement_tables(judges: Sequence[str]) -> list[Table]:
    """Return the agreement of the rules with the published judge, where one of `judges` uses the rules."""
    if not any("rules" in judge for judge in judges):
        return []
    rows = [(row.judges, row.where, str(row.episodes), format_rate(row.same), format_number(row.kappa)) for row in ROWS]
    note = (
        "Pairs of verdicts on the public judgements of StableToolBench: the rules replace the judge for a ranking of "
        "runs, not for a single answer. They were written on G1_instruction and only scored on the other sets."
    )
    columns = ("verdicts of", "on", "episodes", "same verdict", "Cohen's kappa")
    return [Table("Agreement of the rules with the published judge", columns, rows, note)]


def _fallback(judge: str) -> str:
    return judge.partition("else ")[2] or "another judge"


def budget_plot(runs: Mapping[str, Sequence[Trajectory]]) -> Plot:
    """Plot the pass rate against the call budget, one curve per run."""
    curves = {}
    for name, trajectories in runs.items():
        metrics, budgets = metrics_of(trajectories), budgets_of(trajectories)
        rates = [metrics[f"pass_at_budget_{budget}"] for budget in budgets]
        curves[name] = Curve(budgets, rates)
    svg = line_plot(curves, "call budget", "pass rate", percent=True, steps=True)
    caption = (
        "Every episode is cut after that number of calls, including Finish; an episode not solved by then has failed."
    )
    return Plot("Pass rate against call budget", svg, caption)


def comparison(runs: Mapping[str, Sequence[Trajectory]], *, brief: bool = False) -> Table:
    """Return a table with one row of metrics per run. A panel that all runs share is in the note, else in a column.

    `brief` leaves out what a terminal of 80 characters has no room for: intervals of other rates than the pass rate,
    `pass_given_finish` and `precision`; a number of episodes that all runs share is in the note.
    """
    metric_columns = _BRIEF_COLUMNS if brief else _COLUMNS
    panels = {name: panel_of(trajectories) for name, trajectories in runs.items()}
    same = len(set(panels.values())) == 1
    counts = {name: len(usable(trajectories)) for name, trajectories in runs.items()}
    counted = not brief or len(set(counts.values())) > 1
    rows = []
    families = {name: _families(metrics_of(trajectories)) for name, trajectories in runs.items()}
    added = dict.fromkeys(column for cells in families.values() for column in cells)
    for name, trajectories in runs.items():
        metrics = metrics_of(trajectories)
        cells = [_cell(metrics, column, brief=brief and column != "pass_rate") for column in metric_columns]
        cells += [families[name].get(column, "–") for column in added]
        rows.append((name, *([str(counts[name])] if counted else []), *cells, *(() if same else (panels[name],))))
    names = (column.replace("_", " ") for column in metric_columns)
    columns = ("run", *(["episodes"] if counted else []), *names, *added, *(() if same else ("panel",)))
    each = "" if counted else f"{next(iter(counts.values()))} episodes each. "
    return Table("Runs", columns, rows, each + (f"Panel {panels[name]}." if same else panel_warning(runs)))


def _cell(metrics: Mapping[str, float], column: str, *, brief: bool) -> str:
    if column == "calls":
        return format_number(metrics[column])
    return format_rate(metrics[column]) if brief else format_estimate(metrics, column)


def _families(metrics: Mapping[str, float]) -> dict[str, str]:
    """Return the figures over families of tasks by name; none where no task has a family."""
    if "families" not in metrics:
        return {}
    return {
        "mean over families": format_rate(metrics["pass_rate_families"]),
        "families solved": f"{metrics['families_solved']:.0f} of {metrics['families']:.0f}",
    }


def panel_warning(runs: Mapping[str, Sequence[Trajectory]]) -> str:
    """Return a warning if runs were evaluated on different tasks, else an empty text."""
    if len({panel_of(trajectories) for trajectories in runs.values()}) < 2:
        return ""
    return "Warning: these runs were evaluated on different tasks (see panel), so their figures cannot be compared."


def _sets(trajectories: Sequence[Trajectory]) -> list[Table]:
    """Return the table of metrics per query set and group of sets; none where all episodes are of one set."""
    results = [result_of(trajectory) for trajectory in trajectories]
    groups = groups_of(results)
    if not groups:
        return []
    found = {name: (len(chosen), summarize(chosen)) for name, chosen in (groups | {"all": results}).items()}
    shown = [c for c in _SET_COLUMNS if any(_has_value(c, metrics[c]) for _, metrics in found.values())]
    rows = [
        (name, str(count), *(_cell(metrics, column, brief=False) for column in shown))
        for name, (count, metrics) in found.items()
    ]
    columns = ("set", "episodes", *(METRICS[column].label for column in shown))
    note = "A row of several sets is the mean over their queries, so that each set has the weight of its size."
    return [Table("Query sets", columns, rows, note)]


def _has_value(name: str, value: float) -> bool:
    return not isnan(value) and (value > 0 or name not in _UNLESS_ZERO)


def _endings(trajectories: Sequence[Trajectory]) -> Table:
    results = [(way_of_ending(trajectory), result_of(trajectory)) for trajectory in trajectories]
    rows = []
    for way in _ENDINGS:
        chosen = [result for name, result in results if name == way]
        share = len(chosen) / len(results) if results else 0.0
        verdicts = Counter(round(result.passed * 2) for result in chosen)
        rows.append((way, str(len(chosen)), format_rate(share), *(str(verdicts[twice]) for twice in (2, 1, 0))))
    columns = ("ended by", "episodes", "share", "solved", "unsure", "unsolved")
    note = "Verdicts are means over the judge's repeats, rounded to the nearest of the three."
    return Table("How episodes ended", columns, rows, note)


def _calls(trajectories: Sequence[Trajectory]) -> Table:
    counts = Counter((step.status.name, step.provenance) for t in trajectories for step in t.steps)
    rows = [
        (name.lower().replace("_", " "), provenance.value if provenance else "–", str(count))
        for (name, provenance), count in sorted(counts.items(), key=lambda item: (-item[1], item[0][0]))
    ]
    return Table("Call statuses", ("status", "answered from", "calls"), rows)

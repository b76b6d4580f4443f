"""Gold plan of a task as an SVG graph, with the calls that an episode has fulfilled."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape

from steptool_env.benchmarks import benchmark_of
from steptool_env.benchmarks.plan_graph import ANSWER, QUERY, Edge, PlanCall
from steptool_env.errors import ConfigurationError
from steptool_env.types import Task, Trajectory

_WIDTH, _LINE, _GAP_X, _GAP_Y, _PAD = 216, 17, 56, 18, 10  # pixels
_LETTERS = 27  # of one line of a box


@dataclass(frozen=True)
class PlanPicture:
    """Gold plan with its right end.

    Attributes:
        calls: Calls in order.
        answer: Gold answer; empty where `rule` says which end is right.
        rule: Sentence on the right end where no one answer is right.
        svg: Graph of the calls.
    """

    calls: tuple[PlanCall, ...]
    answer: str
    rule: str
    svg: str

    @property
    def fulfilled(self) -> dict[int, list[str]]:
        """Functions of the plan that each step (from 1) was the first to fulfil."""
        found: dict[int, list[str]] = {}
        for call in self.calls:
            if call.step:
                found.setdefault(call.step, []).append(call.name)
        return found


def plan_picture(task: Task, episode: Trajectory | None = None) -> PlanPicture | None:
    """Return the plan of a task with its `solution`; with an episode of it, marked by the steps that made its calls.

    `None` where the benchmark draws none.
    """
    benchmark = benchmark_of(task.suite, task.id).tasks
    plan = benchmark.plan(task.solution)
    if plan is None:
        return None
    calls = plan.calls
    if episode is not None:
        steps = benchmark.reached(replace(episode.task, solution=task.solution), episode.steps)
        calls = {name: replace(call, step=steps[name] + 1 if name in steps else 0) for name, call in calls.items()}
    shown = plan.answer or ("give up" if plan.gives_up else "any answer")
    links = [edge for edge in plan.edges if edge.start != QUERY]
    svg = _svg(calls, links, shown, marked=episode is not None)
    return PlanPicture(tuple(calls.values()), plan.answer, plan.rule, svg)


def plan_of(episode: Trajectory) -> PlanPicture | None:
    """Return the marked plan of an episode; `None` where its task has none here, or none with the recorded query."""
    task = episode.task
    try:
        benchmark = benchmark_of(task.suite, task.id).tasks
        solution = task.solution or benchmark.find(task.suite, task.id)
        plan = benchmark.plan(solution)
    except ConfigurationError:
        return None
    if plan is None or plan.query != task.query:
        return None
    return plan_picture(replace(task, solution=solution), episode)


def _svg(calls: Mapping[str, PlanCall], links: Sequence[Edge], answer: str, *, marked: bool) -> str:
    columns = _columns(calls, links)
    boxes = {
        name: [_cut(call.name), *(_cut(each) for each in call.inputs[:3]), *_mark(call, marked)]
        for name, call in calls.items()
    }
    boxes[ANSWER] = ["answer", *_wrapped(answer)]
    places: dict[str, tuple[int, int, int]] = {}
    tops: dict[int, int] = {}
    for name, lines in boxes.items():
        column = columns[name]
        height = _LINE * len(lines) + _PAD
        top = tops.get(column, 2)
        places[name] = column * (_WIDTH + _GAP_X) + 2, top, height
        tops[column] = top + height + _GAP_Y
    width = max(left for left, _, _ in places.values()) + _WIDTH + 4
    height = max(top + size for _, top, size in places.values()) + 4
    parts = [f'<svg class="plan" viewBox="0 0 {width} {height}" width="{width}" height="{height}" aria-hidden="true">']
    parts += [_link(places[start], places[end], label) for start, end, label in links]
    for name, lines in boxes.items():
        done = name in calls and calls[name].step > 0
        kind = "answer" if name == ANSWER else "done" if done else "open" if marked else "call"
        parts += _box(places[name], lines, kind, calls[name].name if name in calls else answer)
    return "".join([*parts, "</svg>"])


def _columns(calls: Mapping[str, PlanCall], links: Sequence[Edge]) -> dict[str, int]:
    """Return the column of each box: one more than the last of those that supply it."""
    columns = dict.fromkeys(calls, 0)
    for name in calls:  # in topological order
        columns[name] = max((columns[start] + 1 for start, end, _ in links if end == name), default=0)
    return {**columns, ANSWER: max(columns.values(), default=-1) + 1}


def _mark(call: PlanCall, marked: bool) -> list[str]:
    if not marked:
        return []
    missing = "not made, may be missing" if call.optional else "not made"
    return [f"✓ by call {call.step}" if call.step else missing]


def _box(place: tuple[int, int, int], lines: list[str], kind: str, title: str) -> Iterator[str]:
    left, top, height = place
    yield f'<g class="{kind}"><title>{escape(title)}</title>'
    yield f'<rect x="{left}" y="{top}" width="{_WIDTH}" height="{height}" rx="7"/>'
    for number, line in enumerate(lines):
        style = ' class="name"' if number == 0 else ""
        yield f'<text x="{left + 9}" y="{top + 16 + _LINE * number}"{style}>{escape(line)}</text>'
    yield "</g>"


def _link(start: tuple[int, int, int], end: tuple[int, int, int], label: str) -> str:
    x1, y1 = start[0] + _WIDTH, start[1] + start[2] // 2
    x2, y2 = end[0], end[1] + end[2] // 2
    middle = (x1 + x2) // 2
    return f'<path d="M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}"><title>{escape(label)}</title></path>'


def _cut(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"


def _wrapped(text: str, lines: int = 4) -> list[str]:
    pieces = [text[start : start + _LETTERS] for start in range(0, len(text), _LETTERS)]
    return pieces if len(pieces) <= lines else [*pieces[: lines - 1], _cut(f"{pieces[lines - 1]}…………")]

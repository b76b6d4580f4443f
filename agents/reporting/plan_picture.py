"""Gold plan of a ToolWorld task as an SVG graph, with the calls that an episode has fulfilled."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape

from steptool_env.errors import ConfigurationError
from steptool_env.toolworld import WorldTask
from steptool_env.toolworld.episode_grading import ToolWorldGrading
from steptool_env.toolworld.plan_drawing import ANSWER, QUERY, calls_of, edges_of, end_of
from steptool_env.types import Task, Trajectory

_WIDTH, _LINE, _GAP_X, _GAP_Y, _PAD = 216, 17, 56, 18, 10  # pixels
_LETTERS = 27  # of one line of a box


@dataclass(frozen=True)
class PlanCall:
    """One call of the gold plan.

    Attributes:
        name: Function.
        inputs: Arguments that the query states, as `name = value`.
        fed: Arguments that earlier calls supply, as `name = value, from call N`.
        step: Number (from 1) of the step that fulfilled it; 0 if none did.
    """

    name: str
    inputs: tuple[str, ...]
    fed: tuple[str, ...]
    step: int


@dataclass(frozen=True)
class PlanPicture:
    """Gold plan with the calls in order, the right end, and the SVG. `writes`: the task is to change the state."""

    calls: tuple[PlanCall, ...]
    answer: str
    solvable: bool
    writes: bool
    svg: str


def plan_picture(task: WorldTask, episode: Trajectory | None = None) -> PlanPicture:
    """Return the gold plan; with an episode of the task, marked by the steps that fulfilled its calls."""
    steps = {} if episode is None else _fulfilled(task, episode)
    names = dict(calls_of(task))
    order = {name: number for number, name in enumerate(names, 1)}
    edges = list(edges_of(task))
    calls = {
        name: PlanCall(
            function,
            tuple(edge.label for edge in edges if edge.end == name and edge.start == QUERY),
            tuple(
                f"{edge.label}, from call {order[edge.start]}"
                for edge in edges
                if edge.end == name and edge.start in order
            ),
            steps.get(name, 0),
        )
        for name, function in names.items()
    }
    links = [(edge.start, edge.end, edge.label) for edge in edges if edge.start != QUERY]
    svg = _svg(calls, links, end_of(task), marked=episode is not None)
    return PlanPicture(tuple(calls.values()), end_of(task), task.solvable, task.plan.writes, svg)


def fulfilled_steps(task: WorldTask, episode: Trajectory) -> dict[int, list[str]]:
    """Return, by step (from 1), the functions of the gold plan that it was the first to fulfil."""
    names, found = dict(calls_of(task)), dict[int, list[str]]()
    for name, step in _fulfilled(task, episode).items():
        found.setdefault(step, []).append(names[name])
    return found


def _fulfilled(task: WorldTask, episode: Trajectory) -> dict[str, int]:
    """Return the step (from 1) that first fulfilled each call, by the call's name in the drawing."""
    recorded = episode.task
    solved = Task(
        recorded.id, recorded.suite, recorded.query, recorded.tools, recorded.relevant, recorded.state, solution=task
    )
    try:
        grading = ToolWorldGrading(solved)
    except ConfigurationError:  # an opening state of another kind: nothing can be said
        return {}
    for step_taken in episode.steps:
        grading.observe(step_taken)
    tracker, found = grading.tracker, {}
    for index, step in tracker.reached.items():
        milestone = tracker.milestones[index]
        name = f"login{milestone.api.vendor.index}" if milestone.node < 0 else f"call{milestone.node}"
        found[name] = step + 1
    return found


def _svg(calls: Mapping[str, PlanCall], links: list[tuple[str, str, str]], answer: str, *, marked: bool) -> str:
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


def _columns(calls: Mapping[str, PlanCall], links: list[tuple[str, str, str]]) -> dict[str, int]:
    """Return the column of each box: one more than the last of those that supply it."""
    columns = dict.fromkeys(calls, 0)
    for name in calls:  # in topological order
        columns[name] = max((columns[start] + 1 for start, end, _ in links if end == name), default=0)
    return {**columns, ANSWER: max(columns.values(), default=-1) + 1}


def _mark(call: PlanCall, marked: bool) -> list[str]:
    if not marked:
        return []
    return [f"✓ by call {call.step}" if call.step else "not made"]


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

"""Picture of one task before and after training, call by call, as an SVG file that a README can show."""

from collections.abc import Iterator, Sequence
from html import escape
from textwrap import wrap

from agents.reporting.html import ending, format_number
from agents.reporting.plan_picture import PlanPicture, plan_of
from steptool_env.types import Trajectory

COLUMNS = 80
"""Maximum characters of a line."""
_LETTER, _LINE, _PAD = 8, 19, 16  # pixels
_STYLE = (
    ".task text{font:13px ui-monospace,Menlo,Consolas,monospace;fill:#1f2733;white-space:pre}"
    ".task .title{font-weight:700}"
    ".task .soft{fill:#5b6675}.task .good{fill:#00694d}.task .bad{fill:#a33a00}.task rect{fill:#f5f7f9;stroke:#c9d0d8}"
    "@media(prefers-color-scheme:dark){.task text{fill:#e6e9ee}.task .soft{fill:#a9b3c0}.task .good{fill:#6fd3ab}"
    ".task .bad{fill:#f3a582}.task rect{fill:#14181d;stroke:#3a434f}}"
)
"""Style for light and dark pages, of this picture alone where it is a part of a page."""

Line = tuple[str, str]
"""Class of a line, and its text."""


def task_picture(episodes: Sequence[tuple[str, Trajectory]]) -> str:
    """Return the picture of episodes of one task, each under its name. Equal episodes give equal bytes.

    Every call has its reward as the end of the episode leaves it, a mark where it fulfilled a call of the gold plan,
    and the beginning of the answer.
    """
    plans = [plan_of(episode) for _, episode in episodes]
    task = episodes[0][1].task
    lines = [*_wrapped("title", f"Task {task.id}"), *_wrapped("", task.query)]
    plan = next(filter(None, plans), None)
    if plan is not None:
        lines += _wrapped("soft", f"Right answer: {plan.answer or plan.rule}")
    for (name, episode), picture in zip(episodes, plans, strict=True):
        lines += [
            ("", ""),
            *_wrapped("title", f"{name}: {ending(episode)}, return {format_number(sum(episode.rewards))}"),
        ]
        lines += _calls(episode, picture)
    width, height = COLUMNS * _LETTER + 2 * _PAD, len(lines) * _LINE + 2 * _PAD
    parts = [
        f'<svg class="task" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="{escape(f"Task {task.id}, call by call")}">',
        f'<style>{_STYLE}</style><rect x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="8"/>',
    ]
    for number, (kind, text) in enumerate(lines, 1):
        if text:
            shown = escape(_printable(text))
            parts.append(f'<text x="{_PAD}" y="{_PAD + _LINE * number - 5}" class="{kind}">{shown}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _calls(episode: Trajectory, plan: PlanPicture | None) -> Iterator[Line]:
    made = {} if plan is None else plan.fulfilled
    for number, (step, reward) in enumerate(zip(episode.steps, episode.rewards, strict=True), 1):
        kind = "good" if reward > 0 else "bad" if reward < 0 else ""
        mark = "✓" if number in made else " "
        call = f"{step.action.name} {step.action.arguments}" if step.action.name else step.action.text
        yield kind, _cut(f"{reward:+.2f} {mark} {_flat(call)}")
        answer = step.body or step.observation
        if not step.finished:
            yield "soft", _cut(f"        {_flat(answer)}")


def _wrapped(kind: str, text: str) -> Iterator[Line]:
    for line in wrap(_flat(text), COLUMNS):
        yield kind, line


def _flat(text: str) -> str:
    return " ".join(text.split())


def _cut(text: str) -> str:
    return text if len(text) <= COLUMNS else f"{text[: COLUMNS - 1]}…"


def _printable(text: str) -> str:
    """Return a text without characters that XML lacks."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)

"""Rendering of an episode as text for people."""

from steptool_env.episodes.episode import Episode
from steptool_env.types import Step


def render_episode(episode: Episode) -> str:
    """Return the query, then each action with its observation, status and reward."""
    task = episode.task
    lines = [
        f"Task {task.id} of {task.suite}: {task.query}",
        f"Tools: {', '.join(t.function_name for t in task.tools)}",
    ]
    for number, step in enumerate(episode.steps, 1):
        lines += _step_lines(number, step)
    lines.append(_ending(episode))
    return "\n".join(lines)


def _step_lines(number: int, step: Step) -> list[str]:
    source = f", {step.provenance.value}" if step.provenance else ""
    terms = "".join(f" {name}={value:g}" for name, value in step.reward_terms.items())
    return [
        f"--- step {number}",
        step.action.text,
        f">>> {step.status.name.lower()}{source}, reward {step.reward:g}{terms}",
        step.observation,
    ]


def _ending(episode: Episode) -> str:
    if episode.lost:
        return f"=== lost: {episode.lost}"
    if episode.steps and episode.steps[-1].finished:
        return "=== finished"
    if episode.truncated:
        return "=== stopped by the agent"
    return "=== out of calls" if episode.terminated else f"=== {episode.calls_left} calls left"

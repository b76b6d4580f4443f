"""Rendering of an episode for people: as text, or as an image of it."""

from textwrap import wrap
from typing import Any

import numpy as np

from steptool_env.episodes.episode import Episode
from steptool_env.errors import ConfigurationError
from steptool_env.types import Step

RENDER_MODES = ["ansi", "rgb_array"]

_WIDTH, _HEIGHT = 960, 540  # pixels
_FONT = 14
_LINE = 18
_MARGIN = 12
_COLUMNS = 110


def render_episode(episode: Episode, mode: str) -> Any:
    """Return the query, then each action with its observation, status and reward.

    Args:
        episode: Episode so far.
        mode: `ansi` for text; `rgb_array` for an image of its last lines. Shape: (540, 960, 3), uint8.

    Raises:
        ConfigurationError: An image is asked for and Pillow is not installed.
    """
    text = _text(episode)
    return _image(text) if mode == "rgb_array" else text


def _image(text: str) -> Any:
    try:
        from PIL import Image, ImageDraw, ImageFont  # of the extra `report`
    except ModuleNotFoundError:
        raise ConfigurationError(
            "render_mode='rgb_array': needs Pillow; pip install 'steptool-env[report]', or use render_mode='ansi'"
        ) from None
    lines = [part for line in text.splitlines() for part in wrap(line, _COLUMNS) or [""]]
    shown = lines[-((_HEIGHT - 2 * _MARGIN) // _LINE) :]
    image = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(_FONT)
    for row, line in enumerate(shown):
        draw.text((_MARGIN, _MARGIN + row * _LINE), line, fill="black", font=font)
    return np.asarray(image)


def _text(episode: Episode) -> str:
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

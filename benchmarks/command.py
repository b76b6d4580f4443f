"""How a benchmark is called: flags from its dataclass, and errors of ours in one line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

import tyro

from agents.errors import AgentError
from agents.progress import Display
from steptool_env.errors import StepToolError
from toolserver.errors import ToolServerError

Options = TypeVar("Options")


def run_command(name: str, options: type[Options], main: Callable[[Options], None]) -> None:
    """Run `main` with the options of the command line of `python -m benchmarks.<name>`. Raises `SystemExit`."""
    try:
        read = tyro.cli(options, prog=f"python -m benchmarks.{name}", description=inspect.getdoc(options))
        with Display(live=False) as display:  # a log does not stand still while a benchmark measures
            display.add_phase(f"benchmarks.{name}")
            main(read)
    except (AgentError, StepToolError, ToolServerError) as error:
        raise SystemExit(f"error: {error}") from error

"""How a benchmark is called: flags from its dataclass, and errors of ours in one line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

import tyro

from agents.errors import AgentError
from steptool_env.errors import StepToolError
from toolserver.errors import ToolServerError

Options = TypeVar("Options")


def run_command(name: str, options: type[Options], main: Callable[[Options], None]) -> None:
    """Run `main` with the options of the command line of `python -m benchmarks.<name>`. Raises `SystemExit`."""
    try:
        main(tyro.cli(options, prog=f"python -m benchmarks.{name}", description=inspect.getdoc(options)))
    except (AgentError, StepToolError, ToolServerError) as error:
        raise SystemExit(f"error: {error}") from error

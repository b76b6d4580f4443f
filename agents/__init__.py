"""Agents, their evaluation, and training.

`from agents import Agent, make_agent, Evaluation, evaluate` is the public interface for writing and evaluating agents.
The names are imported on first use, so that `import agents` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from steptool_env.launch import check_import_name

if TYPE_CHECKING:
    from agents.base import Agent
    from agents.evaluation.evaluate import Evaluation, evaluate
    from agents.registry import make_agent

check_import_name()

__all__ = ["Agent", "Evaluation", "evaluate", "make_agent"]

_MODULES = {
    "Agent": "agents.base",
    "Evaluation": "agents.evaluation.evaluate",
    "evaluate": "agents.evaluation.evaluate",
    "make_agent": "agents.registry",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'agents' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)

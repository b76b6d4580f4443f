"""Suites of tasks, by name."""

from __future__ import annotations

from typing import Any

from steptool_env.registry import Registry
from steptool_env.suites.base import TaskSuite

__all__ = ["SUITES", "TaskSuite", "make_suite"]

SUITES: Registry[TaskSuite] = Registry(
    "suite",
    {
        "stabletoolbench": "steptool_env.suites.stabletoolbench:load_suite",
        "toolworld": "steptool_env.toolworld.suite:load_suite",
    },
)


def make_suite(name: str, **options: Any) -> TaskSuite:
    """The suite called `family/part`, e.g. `stabletoolbench/G1_instruction` (with `data=...`) or `toolworld/train`.

    Raises:
        ConfigurationError: The family, the part or an option is unknown; the message lists what is valid.
    """
    family, _, part = name.partition("/")
    return SUITES.make(family, part, **options)

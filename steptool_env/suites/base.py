"""What a suite of tasks gives to the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from steptool_env.types import Task
from toolserver.service.service import ToolService


class TaskSuite(Protocol):
    """A finite, ordered set of tasks and the tools that answer them.

    A suite is immutable and deterministic: the same arguments give the same tasks in the same order.
    """

    name: str

    def __len__(self) -> int:
        """Number of tasks."""
        ...

    def task(self, index: int) -> Task:
        """The task at `index` (0-based). Raises `IndexError` beyond the end."""
        ...

    def find(self, task_id: str) -> Task:
        """The task of that id. Raises `ConfigurationError`, naming some valid ids, when there is none."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """Settings that change tasks or answers, as JSON values: a snapshot must agree on them and on the name."""
        ...

    def initial_state(self, task: Task, episode_seed: int) -> str:
        """The state token with which an episode of `task` begins; empty where the tools keep no state.

        An opening token is plain text that anyone may write (seed, faults); only the tokens that a
        server hands out afterwards are signed.
        """
        ...

    def service(self) -> ToolService:
        """The suite's tools in process, for an environment without `server_url`."""
        ...

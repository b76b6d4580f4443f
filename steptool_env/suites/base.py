"""Protocol of task suites."""

from collections.abc import Mapping
from typing import Any, Protocol

from steptool_env.types import Task
from toolserver.service.service import ToolService


class TaskSuite(Protocol):
    """Finite, ordered set of tasks, and the tools that answer them.

    A suite is immutable and deterministic: equal arguments give equal tasks in equal order.
    """

    name: str

    def __len__(self) -> int:
        """Number of tasks."""

    def task(self, index: int) -> Task:
        """Return the task at `index` (0-based). Raises `IndexError` beyond the end."""

    def find(self, task_id: str) -> Task:
        """Return the task of that id. Raises `ConfigurationError` with some valid ids for an unknown one."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Settings that change tasks or responses, as JSON values. A snapshot must share them and `name`."""

    def initial_state(self, task: Task, episode_seed: int) -> str:
        """Return the state token at the start of an episode of `task`; empty for stateless tools.

        It is plain text (seed, faults) that clients may write; a server signs all later tokens.
        """

    def service(self) -> ToolService:
        """Return the suite's tools in process, for an environment without `server_url`."""

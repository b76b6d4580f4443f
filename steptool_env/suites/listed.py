"""Base of suites whose tasks are all known when the suite is made, and whose tools are made at the first call."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from threading import Lock

from steptool_env.errors import ConfigurationError
from steptool_env.types import Task
from toolserver.service.service import ToolService


class ListedSuite(ABC):
    """Tasks in a fixed order, found by their ids; see `TaskSuite`.

    Args:
        name: Name of the suite.
        tasks: Tasks; no two have the same id.
    """

    def __init__(self, name: str, tasks: Iterable[Task]) -> None:
        self.name = name
        self._tasks = tuple(tasks)
        self._index = {task.id: index for index, task in enumerate(self._tasks)}
        self._service: ToolService | None = None
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._tasks)

    def task(self, index: int) -> Task:
        """See `TaskSuite.task`."""
        if not 0 <= index < len(self._tasks):
            raise IndexError(f"task {index}: {self.name} has {len(self._tasks)}")
        return self._tasks[index]

    def find(self, task_id: str) -> Task:
        """See `TaskSuite.find`."""
        if task_id not in self._index:
            some = ", ".join(list(self._index)[:5])
            raise ConfigurationError(f"task {task_id!r}: not in {self.name}, which has {some}, ...")
        return self._tasks[self._index[task_id]]

    def service(self) -> ToolService:
        """See `TaskSuite.service`. Created at the first call, then shared."""
        with self._lock:
            if self._service is None:
                self._service = self.make_service()
            return self._service

    @abstractmethod
    def make_service(self) -> ToolService:
        """Make the tools. Raises `ConfigurationError` if nothing answers the calls."""

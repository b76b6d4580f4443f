"""Suite of ComplexFuncBench's tasks with recorded answers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from steptool_env.complexfuncbench.benchmark import load_benchmark
from steptool_env.complexfuncbench.splits import select
from steptool_env.complexfuncbench.task import GoldTask
from steptool_env.errors import ConfigurationError
from steptool_env.options import shared_by_options
from steptool_env.suites.listed import ListedSuite
from steptool_env.suites.server_match import ServerMatch
from steptool_env.types import Task
from toolserver.cache import ResponseCache
from toolserver.catalog.catalog import Catalog
from toolserver.episodes.state_token import StateCodec, opening_token
from toolserver.resolvers.base import Resolver
from toolserver.resolvers.recorded import RecordedResolver
from toolserver.resolvers.task_recordings import TaskRecordingsResolver
from toolserver.service.info import package_version
from toolserver.service.service import ToolService

NAME = "ComplexFuncBench"
"""First part of the names of these suites."""

OFFERS = ("field", "all")


class ComplexFuncBenchSuite(ListedSuite):
    """Tasks of one split and group, answered from recordings.

    A task is in the suite `ComplexFuncBench/<split>/<group>`, so that reports show each group. `Task.solution` is the
    `GoldTask`.

    Args:
        split: One of `steptool_env.complexfuncbench.splits.SPLITS`.
        group: `Car-Rental`, `Cross`, `Hotels`, `Attraction` or `Flights`; empty for all.
        data: Folder of the package's data; by default that of the installed one.
        offered: `field` offers the APIs of the fields that a task needs, `all` all forty.
        faults: Injected faults: `none`, `mild` or `harsh`.

    Raises:
        ConfigurationError: An argument is invalid or the data is missing; the message gives the remedy.
    """

    def __init__(
        self,
        split: str = "train",
        group: str = "",
        data: str | Path | None = None,
        offered: str = "field",
        faults: str = "none",
    ) -> None:
        if offered not in OFFERS:
            raise ConfigurationError(f"offered={offered!r}: must be one of {', '.join(OFFERS)}")
        opening_token(0, faults)  # reject an unknown fault level before the first reset
        self._arguments = (split, group, None if data is None else str(data), offered, faults)
        self._benchmark = load_benchmark(data)
        self._split, self._offered, self._faults = split, offered, faults
        chosen = select(self._benchmark.tasks.values(), split, group)
        super().__init__("/".join(filter(None, (NAME, split, group))), map(self._described, chosen))

    def initial_state(self, task: Task, episode_seed: int) -> str:
        """See `TaskSuite.initial_state`. It names the task, whose own recordings come first."""
        return opening_token(episode_seed, self._faults, task.id)

    @property
    def settings(self) -> Mapping[str, Any]:
        """See `TaskSuite.settings`. Without file paths, which differ between machines."""
        return {"offered": self._offered, "faults": self._faults}

    def make_service(self) -> ToolService:
        """See `ListedSuite.make_service`."""
        cache = ResponseCache(self._benchmark.cache, read_only=True)
        resolvers: list[Resolver] = [TaskRecordingsResolver(cache), RecordedResolver(cache)]
        return ToolService(Catalog(self._benchmark.apis.values()), resolvers, codec=StateCodec())

    @property
    def server_match(self) -> ServerMatch:
        """Requirements on a server: recordings, of this package version."""
        return ServerMatch(("recorded", "both"), {"version": package_version()})

    def __reduce__(self) -> tuple[object, ...]:
        return load_suite, self._arguments

    def _described(self, task: GoldTask) -> Task:
        apis = self._benchmark.apis
        names = task.functions if self._offered == "field" else apis
        relevant = tuple(dict.fromkeys(call.function for call in task.calls))
        return Task(
            task.id,
            f"{NAME}/{self._split}/{task.group}",
            task.query,
            tuple(apis[name] for name in names),
            relevant,
            family=task.pattern,
            solution=task,
        )


@shared_by_options(16)
def load_suite(
    split: str = "train",
    group: str = "",
    data: str | Path | None = None,
    offered: str = "field",
    faults: str = "none",
) -> ComplexFuncBenchSuite:
    """Return the suite of these arguments; environments with the same arguments share it."""
    return ComplexFuncBenchSuite(split, group, data, offered, faults)

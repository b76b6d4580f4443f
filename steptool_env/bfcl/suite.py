"""Suite of BFCL's multi-turn tasks with the simulated APIs that answer them."""

from collections.abc import Mapping
from typing import Any

from steptool_env.errors import ConfigurationError
from steptool_env.options import shared_by_options
from steptool_env.suites.simulated import SimulatedSuite
from steptool_env.types import Task, Turn
from toolserver.bfcl import APIS, CATEGORIES, BfclTask, load_apis, load_tasks

NAME = "BFCL"
"""First part of the names of these suites."""

SPLITS = ("all", "train", "validation", "test")
"""`all` is the published benchmark; the other three are disjoint in scenarios and make it up."""

_BLOCK, _BLOCKS = 10, 5  # scenarios in a row are of the same classes: of each five blocks of ten the last is `test`
_VALIDATION = (2, 12)  # blocks


def split_of(task: BfclTask) -> str:
    """Return the split of a task, other than `all`. The four variants of a scenario are in one split."""
    block = task.number // _BLOCK
    if block % _BLOCKS == _BLOCKS - 1:
        return "test"
    return "validation" if block in _VALIDATION else "train"


class BfclSuite(SimulatedSuite):
    """Tasks of one split and category, answered by BFCL's simulated APIs.

    A task is in the suite `BFCL/<split>/<category>`, so that reports show each category. `Task.solution` is the
    `BfclTask`; `Task.family` is its scenario.

    Args:
        split: One of `SPLITS`.
        category: `base`, `miss_func`, `miss_param` or `long_context`; empty for all.
        faults: Injected faults: `none`, `mild` or `harsh`.

    Raises:
        ConfigurationError: An argument is invalid, or bfcl-eval is not installed; the message gives the remedy.
    """

    def __init__(self, split: str = "all", category: str = "", faults: str = "none") -> None:
        if split not in SPLITS:
            raise ConfigurationError(f"split={split!r}: must be one of {', '.join(SPLITS)}")
        if category and category not in CATEGORIES:
            raise ConfigurationError(f"category={category!r}: must be one of {', '.join(CATEGORIES)}, or empty for all")
        self._arguments = (split, category, faults)
        self._split = split
        chosen = [task for task in load_tasks().values() if not category or task.category == category]
        chosen = [task for task in chosen if split in ("all", split_of(task))]
        name = "/".join(filter(None, (NAME, split, category)))
        super().__init__(name, map(self._described, chosen), APIS, "bfcl", faults)

    @property
    def settings(self) -> Mapping[str, Any]:
        """See `TaskSuite.settings`."""
        return {"faults": self._faults}

    def __reduce__(self) -> tuple[object, ...]:
        return load_suite, self._arguments

    def _described(self, task: BfclTask) -> Task:
        documented = [spec for spec in load_apis().values() if spec.tool in task.classes]
        documented.sort(key=lambda spec: task.classes.index(spec.tool))  # the benchmark's order; stable
        late = {name for names in task.added.values() for name in names}
        offered = tuple(spec for spec in documented if spec.function_name not in late)
        turns = tuple(
            Turn(message, tuple(load_apis()[name] for name in task.added.get(number, ())))
            for number, message in enumerate(task.messages[1:], 1)
        )
        relevant = tuple(dict.fromkeys(call.function for turn in task.gold for call in turn))
        return Task(
            task.id,
            f"{NAME}/{self._split}/{task.category}",
            task.messages[0],
            offered,
            relevant,
            family=f"scenario-{task.number}",
            solution=task,
            turns=turns,
        )


@shared_by_options(16)
def load_suite(split: str = "all", category: str = "", faults: str = "none") -> BfclSuite:
    """Return the suite of these arguments; environments with the same arguments share it."""
    return BfclSuite(split, category, faults)

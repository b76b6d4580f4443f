"""Splits of ComplexFuncBench. Those of training and test share no task."""

from collections.abc import Iterable

from steptool_env.complexfuncbench.task import GoldTask
from steptool_env.errors import ConfigurationError
from toolserver.complexfuncbench.data import GROUPS, PATTERN_SIZE

SPLITS = ("all", "train", "validation", "test", "test-patterns")
"""`all` is the published benchmark; the other four are disjoint and make it up."""

_HELD_OUT = 5  # of each five patterns of a group the last is in `test-patterns`
_TRAIN, _VALIDATION = 7, 8  # of the ten tasks of a pattern


def split_of(task_id: str) -> str:
    """Return the split of a task, other than `all`.

    Every fifth pattern of a group is `test-patterns`. Of the ten tasks of every other pattern, the first seven are
    `train`, the eighth is `validation` and the last two are `test`.
    """
    pattern, place = divmod(int(task_id.rpartition("-")[2]), PATTERN_SIZE)
    if pattern % _HELD_OUT == _HELD_OUT - 1:
        return "test-patterns"
    return "train" if place < _TRAIN else "validation" if place < _VALIDATION else "test"


def select(tasks: Iterable[GoldTask], split: str, group: str) -> list[GoldTask]:
    """Return the tasks of a split and a group, in the benchmark's order; an empty `group` means all groups.

    Raises:
        ConfigurationError: The split or the group is unknown; the message lists valid ones.
    """
    if split not in SPLITS:
        raise ConfigurationError(f"split={split!r}: must be one of {', '.join(SPLITS)}")
    if group and group not in GROUPS:
        raise ConfigurationError(f"group={group!r}: must be one of {', '.join(GROUPS)}, or empty for all")
    of_group = (task for task in tasks if not group or task.group == group)
    return [task for task in of_group if split in ("all", split_of(task.id))]

"""Recorded episodes from trajectory files or from judged runs as published by StepTool."""

from pathlib import Path

from steptool_env.errors import DataError
from steptool_env.suites.sample import suite_name
from steptool_env.trajectories.toolbench import from_judged
from steptool_env.trajectories.trajectories import read_trajectories
from steptool_env.types import Task, Trajectory
from toolserver.stabletoolbench import read_judged_run


def read_recordings(path: str | Path) -> list[Trajectory]:
    """Return the episodes of `path`, in order.

    Args:
        path: `.jsonl` file of trajectories, `<set>.json` file of a judged run, or folder with `trajectories.jsonl` or
            `<set>.json` files. Tasks of a judged run have an id, a query and the name of the set, but no tools.

    Raises:
        DataError: The file is missing, contains no episode, or has an invalid line or entry.
    """
    path = Path(path)
    trajectories = [trajectory for file in _files(path) for trajectory in _read(file)]
    if not trajectories:
        raise DataError(f"{path}: holds no episodes; give trajectories (.jsonl) or a judged run (<set>.json)")
    return trajectories


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    own = path / "trajectories.jsonl"
    return [own] if own.is_file() else sorted(path.glob("*.json"))


def _read(file: Path) -> list[Trajectory]:
    if file.suffix == ".jsonl":
        content = read_trajectories(file)
        if content.bad_lines:
            raise DataError(f"{file}: {'; '.join(map(str, content.bad_lines[:3]))}")
        return content.trajectories
    suite = suite_name(file.stem, file)
    return [from_judged(each, Task(each.query_id, suite, each.query, ())) for each in read_judged_run(file)]

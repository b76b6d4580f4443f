"""Recorded episodes: trajectory files, answers of ToolBench, converted answers, and judged runs.

Files are known by their content, not by their names.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from steptool_env.errors import DataError
from steptool_env.stabletoolbench.sample import suite_name
from steptool_env.stabletoolbench.suite import SETS
from steptool_env.trajectories.toolbench import from_answer, from_judged
from steptool_env.trajectories.trajectories import ends_a_line, read_trajectories
from steptool_env.types import Task, Trajectory
from toolserver.stabletoolbench import answer_of, converted_answers, is_answer, is_converted, iter_judged_run
from toolserver.stabletoolbench.answers import ToolBenchAnswer
from toolserver.stabletoolbench.problems import ImportProblems, read_json


def read_recordings(path: str | Path) -> list[Trajectory]:
    """Return the episodes of `path`, in order.

    Args:
        path: `.jsonl` file of trajectories; `.json` file with an answer of ToolBench (`<query id>_<method>.json`), the
            converted answers of a set, or a judged run of a set; or a folder with `trajectories.jsonl`, else with such
            `.json` files, at any depth. Tasks of `.json` files have an id, a query and the name of the set, but no
            tools. The set is that of the file, also of ToolEval's `<set>_<run>.json`; for ToolBench's answers that of
            its folder. A last line of trajectories that is not complete, of a run that was killed, is left out with a
            warning.

    Raises:
        DataError: The file is missing, contains no episode, or has an invalid line or entry.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; `steptool evaluate` writes one")
    trajectories = [trajectory for file in _files(path) for trajectory in _read(file)]
    if not trajectories:
        raise DataError(
            f"{path}: holds no episodes; give trajectories (.jsonl), answers of ToolBench, converted answers or a "
            "judged run (.json), or a folder of them"
        )
    return trajectories


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    own = path / "trajectories.jsonl"
    return [own] if own.is_file() else sorted(path.rglob("*.json"))


def _read(file: Path) -> list[Trajectory]:
    if file.suffix == ".jsonl":
        content = read_trajectories(file)
        bad = content.bad_lines
        if bad and not ends_a_line(file) and bad[-1].number == len(file.read_bytes().splitlines()):
            warnings.warn(f"{file}: line {bad.pop().number} is not complete, and is left out", stacklevel=2)
        if bad:
            raise DataError(f"{file}: {'; '.join(map(str, bad[:3]))}; mend or remove these lines")
        return content.trajectories
    return list(_read_json(file, read_json(file, ImportProblems(strict=True))))


def _read_json(file: Path, content: Any) -> Iterator[Trajectory]:
    if is_answer(content):
        yield _answered(answer_of(file, content), suite_name(file.resolve().parent.name, file))
    elif is_converted(content):
        for answer in converted_answers(file, content):
            yield _answered(answer, suite_name(file.stem, file))
    else:
        suite = suite_name(_set_of(file.stem), file)
        for episode in iter_judged_run(file, content, ImportProblems(strict=True)):
            yield from_judged(episode, Task(episode.query_id, suite, episode.query, ()))


def _set_of(name: str) -> str:
    """Return the query set in the name of a judged run: `eval_pass_rate.py` writes `<set>_<run>.json`."""
    return next((each for each in SETS if name.startswith(f"{each}_")), name)


def _answered(answer: ToolBenchAnswer, suite: str) -> Trajectory:
    return from_answer(answer, Task(answer.query_id, suite, answer.query, ()))

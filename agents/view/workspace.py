"""Workspace of the page: the runs of some folders and the index of their episodes, kept current by a thread."""

import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from math import nan
from pathlib import Path
from threading import Event, Thread
from typing import Self

from agents.view.episode_index import EpisodeIndex
from agents.view.gpu_memory import GpuMemory, gpu_memory
from agents.view.run_folders import RunFolders, RunInfo
from steptool_env.errors import DataError
from steptool_env.types import Trajectory

_PERIOD = 1.0  # seconds between two looks at the folders
_GPU_PERIOD = 10.0  # seconds between two looks at the GPUs


class Workspace:
    """Runs and episodes under some folders. Use as a context manager: its thread follows the files.

    Args:
        roots: Folders with runs.
        index_file: File of the index.

    Attributes:
        index: Index of the episodes.
        version: Number that grows with every change of a run or of the index.
        indexing: True while lines wait to be added to the index.
        failure: Error that keeps the pages from following the files; empty otherwise.
        gpus: Memory of the GPUs of this machine.

    Raises:
        ConfigurationError: A folder does not exist.
    """

    def __init__(self, roots: Sequence[Path], index_file: Path) -> None:
        self._folders = RunFolders(roots)
        self.index = EpisodeIndex(index_file)
        self.version = 0
        self.indexing = True
        self.failure = ""
        self.gpus: list[GpuMemory] = []
        self._runs = self._folders.scan()
        self._over = Event()
        self._thread = Thread(target=self._follow, daemon=True)
        self._problems: dict[str, str] = {}
        self._counts: dict[Path, tuple[int, float, int, int]] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._thread.join()

    def close(self) -> None:
        """Ask the thread and the open event streams to end."""
        self._over.set()

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return self._over.is_set()

    @property
    def runs(self) -> dict[str, RunInfo]:
        """Runs by name. Evaluations in progress have the figures of their episodes so far."""
        return {name: self._with_episodes(run) for name, run in self._runs.items()}

    @property
    def listed(self) -> list[RunInfo]:
        """Runs in the order of their names, as their files say, without figures of the index."""
        return list(self._runs.values())

    def run(self, name: str) -> RunInfo:
        """Return a run. Raises `DataError` for an unknown name."""
        return self._with_episodes(self._known(name))

    def files(self, names: Iterable[str] = ()) -> list[Path]:
        """Return the trajectory files of the named runs, of all runs without a name."""
        chosen = [self._known(name) for name in names] or list(self._runs.values())
        return [run.episodes_file for run in chosen if run.episodes_file is not None]

    def name_of(self, file: str) -> str:
        """Return the name of the run of a trajectory file."""
        folder = Path(file).parent
        return next((name for name, run in self._runs.items() if run.folder == folder), str(folder))

    def episode(self, name: str, line: int) -> Trajectory:
        """Return an episode. Raises `DataError` for an unknown run, and as `EpisodeIndex.episode` does."""
        return self.index.episode(self.file_of(name), line)

    def file_of(self, name: str) -> Path:
        """Return the trajectory file of a run. Raises `DataError` for an unknown run, or one without episodes."""
        file = self._known(name).episodes_file
        if file is None:
            raise DataError(f"run={name!r}: it has no episodes; `steptool evaluate` writes them")
        return file

    def refresh(self) -> None:
        """Look at the folders once, and add all complete lines to the index."""
        runs = self._folders.scan()
        if runs != self._runs:
            self._runs = runs
            self.version += 1
        waiting = [run for run in runs.values() if run.episodes_file is not None]
        while waiting and not self.closed:  # file by file in turns, so that every run shows something soon
            waiting = [run for run in waiting if self._add(run)]
        if self.indexing:
            self.indexing = False
            self.version += 1

    def _add(self, run: RunInfo) -> bool:
        """Add lines of a run to the index. Return True if more may be left."""
        if run.episodes_file is None:
            return False
        try:
            update = self.index.update(run.episodes_file)
        except OSError as error:
            self._problems[run.name] = str(error)
            return False
        self._problems.pop(run.name, None)
        if update.changed:
            self._counts.pop(run.folder, None)
            self.version += 1
        return update.more

    def _known(self, name: str) -> RunInfo:
        run = self._runs.get(name)
        if run is None:
            raise DataError(f"run={name!r}: there is no such run under the given folders")
        return run

    def _follow(self) -> None:
        with suppress(sqlite3.Error):  # `refresh` meets and reports the same error
            self.index.forget_missing()
        next_look = 0.0
        while not self.closed:
            try:
                self.refresh()
                failure = ""
            except Exception as error:  # whatever is wrong with a folder is said on the page, which stays alive
                failure = f"The folders or the index cannot be read: {type(error).__name__}: {error}"
            if failure != self.failure:
                self.failure = failure
                self.version += 1
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + _GPU_PERIOD
                self._look_at_gpus()
            self._over.wait(_PERIOD)

    def _look_at_gpus(self) -> None:
        gpus = gpu_memory()
        if gpus != self.gpus:
            self.gpus = gpus
            self.version += 1

    def _with_episodes(self, run: RunInfo) -> RunInfo:
        problem = run.problem or self._problems.get(run.name, "")
        if run.episodes_file is None:
            return replace(run, problem=problem)
        counts = self._counts.get(run.folder)
        if counts is None:
            self._counts[run.folder] = counts = self.index.counts(run.episodes_file)
        judged, rate, calls, broken = counts
        if broken:
            lines = f"{broken} broken line{'s' if broken > 1 else ''}"
            problem = f"{problem}; {lines}" if problem else lines
        run = replace(run, problem=problem, calls=run.calls or calls)
        if run.metric or run.has_metrics:
            return run
        phase = f"episode {judged + 1}" if run.state == "running" else f"{judged} episodes"
        return replace(
            run,
            episodes=judged,
            passed=rate if judged else nan,
            metric="episodes so far" if judged else "",
            phase=phase,
        )

"""Pinning in the server benchmark: by-worker servers use every core, pinned parts give the cores back."""

import os
from pathlib import Path

import psutil
import pytest

from benchmarks.speed.recordings import import_recordings, write_recordings
from benchmarks.speed.server import free_server, pinned

CORES = os.sched_getaffinity(0)


def test_a_pinned_part_gives_the_cores_back() -> None:
    seen: list[set[int]] = []

    def fail() -> None:
        with pinned(-1):
            seen.append(os.sched_getaffinity(0))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert seen == [{max(CORES)}]
    assert os.sched_getaffinity(0) == CORES


def test_servers_by_workers_run_on_every_core(tmp_path: Path) -> None:
    write_recordings(tmp_path / "recordings", apis=2, entries=1)
    import_recordings(tmp_path / "recordings", tmp_path / "cache")
    with free_server(tmp_path / "cache", workers=2) as server:
        processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        assert len(processes) > 2
        assert [set(process.cpu_affinity()) for process in processes] == [CORES] * len(processes)


@pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")
def test_a_pinned_parent_is_refused_before_its_children_inherit_the_core(tmp_path: Path) -> None:
    with pinned(0), pytest.raises(RuntimeError, match="pinned to a core"), free_server(tmp_path, workers=1):
        pass

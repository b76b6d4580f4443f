"""Child processes end with the process that started them: by signals to it alone, and when it is killed."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from toolserver import children
from toolserver.testing import ServerProcess

ROOT = Path(__file__).parents[2]
SECONDS = 30  # until a process that is to end counts as one that stays


@pytest.fixture(autouse=True)
def hang_up_is_not_ignored() -> Iterator[None]:
    """Processes ignore a hang-up where their parent does, as under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


FAMILY = """
import time
from multiprocessing import active_children
from threading import Thread
from toolserver import children
from toolserver.console import errors_in_one_line
from toolserver.testing import ServerProcess

def wait_for(child):
    child.stdout.read()

if __name__ == "__main__":
    with errors_in_one_line("family", str), ServerProcess(["--world", "0", "--workers", "2"]) as server:
        pool, unused = (children.worker_pool(1) for _ in range(2))
        for each in pool, unused:
            each.submit(time.sleep, 0).result()
        pool.submit(time.sleep, 600)
        idle = children.start(["http.server", "--bind", "127.0.0.1", "0"], stdout=-1)
        # A thread that is not the main one, and that the interpreter waits for at its end.
        Thread(target=wait_for, args=(idle,)).start()
        print(server.pid, idle.pid, *(each.pid for each in active_children()), flush=True)
        time.sleep(600)
"""


@contextmanager
def started(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A process whose descendants are killed at the end of a test that has failed."""
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        family = []
        try:
            yield process
        finally:
            if process.poll() is None:
                family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            for each in family:
                each.kill()


def survivors(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those of the processes that do not end; they are killed."""
    _, alive = psutil.wait_procs(processes, SECONDS)
    alive = [each for each in alive if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    for each in alive:
        each.kill()
    return alive


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_children_end_with_their_parent(number: signal.Signals, tmp_path: Path) -> None:
    """A server with workers, a module, a busy worker and an idle one; the signal reaches the parent alone."""
    script = tmp_path / "family.py"
    script.write_text(FAMILY)
    with started(sys.executable, str(script)) as parent:
        assert parent.stdout is not None
        line = parent.stdout.readline()
        assert line, parent.communicate()[1]
        family = psutil.Process(parent.pid).children(recursive=True)
        assert {*map(int, line.split())} < {each.pid for each in family}
        os.kill(parent.pid, number)
        status = parent.wait(SECONDS)
        assert survivors(family) == []
    assert status == (-number if number == signal.SIGKILL else 128 + number)


RUNNER = """
from toolserver import children

with children.ended_by_signals():
    children.run(["works"])
"""

WORKS = """
import os, signal
from toolserver.children import ended_by_signals

with ended_by_signals():
    try:
        print(os.getpid(), flush=True)
        signal.pause()
    finally:
        print("left", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_module_that_is_waited_for_ends_with_its_parent(number: signal.Signals, tmp_path: Path) -> None:
    """In order: with its contexts left."""
    (tmp_path / "works.py").write_text(WORKS)
    with subprocess.Popen([sys.executable, "-c", RUNNER], cwd=tmp_path, stdout=-1, text=True) as process:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        process.send_signal(number)
        assert process.wait(SECONDS) == (-number if number == signal.SIGKILL else 128 + number)
        assert survivors([child]) == []
        assert process.stdout.read() == "left\n"


@pytest.mark.parametrize("status", [0, 3])
def test_a_module_that_is_waited_for_has_a_status(status: int, tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text(f"raise SystemExit({status})")
    assert children.run(["ends"], cwd=tmp_path) == status


@pytest.mark.parametrize("package", ["toolserver", "steptool_env", "agents", "benchmarks"])
def test_every_pool_of_workers_ends_with_its_process(package: str) -> None:
    """Idle workers of other pools outlive a process that is killed."""
    made = {file.name for file in (ROOT / package).rglob("*.py") if "ProcessPoolExecutor(" in file.read_text()}
    assert made <= {"children.py"}


CLEANING = """
import signal, sys
from toolserver.children import ended_by_signals

with ended_by_signals():
    try:
        print("works", flush=True)
        signal.pause()
    finally:
        print("cleans up", flush=True)
        sys.stdin.readline()
        print("is clean", flush=True)
"""


@pytest.mark.parametrize("further", [signal.SIGTERM, signal.SIGHUP])
def test_a_further_signal_does_not_break_cleaning_up(further: signal.Signals) -> None:
    """A parent that is ended ends each child twice: at once, and again when it leaves the context of the child."""
    with subprocess.Popen([sys.executable, "-c", CLEANING], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "works\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "cleans up\n"
        process.send_signal(further)
        said, _ = process.communicate("\n")
    assert (said, process.returncode) == ("is clean\n", 128 + signal.SIGTERM)


def test_a_hang_up_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """As under `nohup`."""
    code = (
        "import os, signal, sys\nfrom toolserver.console import errors_in_one_line\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with errors_in_one_line('x', str):\n    os.kill(os.getpid(), signal.SIGHUP); print('goes on')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "goes on\n")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_ended_leaves_no_folder(
    workers: int, number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with ServerProcess(["--world", "0", "--workers", str(workers)]) as server:
        assert list(tmp_path.glob("toolserver-*"))
        os.kill(server.pid, number)
        psutil.Process(server.pid).wait(SECONDS)
    assert list(tmp_path.iterdir()) == []

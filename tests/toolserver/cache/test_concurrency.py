"""The store under threads, processes, forks, kills and read-only volumes."""

import multiprocessing
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.toolserver.apis import APIS
from tests.toolserver.numbered_calls import (
    answer,
    count,
    key_of,
    numbered_call,
    put_numbers,
    read_until_there,
    write_responses_folder,
)
from toolserver.cache import ResponseCache
from toolserver.cache.catalog_store import load_catalog, save_catalog, unfinished_imports
from toolserver.catalog.api_schema import ToolResponse
from toolserver.catalog.catalog import Catalog
from toolserver.cli import main

ROOT = Path(__file__).resolve().parents[3]


def run_python(script: str, *arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_hits_and_new_calls_from_many_threads_lose_nothing(place: str) -> None:
    # StableToolBench's server ends with 2 of these 2,200 records.
    with ResponseCache(place) as cache:
        with cache.transaction():
            for number in range(2000):
                cache.put(numbered_call(number), answer(number))

        def hit(number: int) -> bool:
            entry = cache.get(key_of(numbered_call(number)))
            return entry is not None and entry.body == answer(number)

        def record(number: int) -> bool:
            cache.put(numbered_call(number), answer(number))
            return hit(number)

        with ThreadPoolExecutor(32) as pool:
            work = [
                pool.submit(call, n) for n in range(200) for call in (lambda n: hit(n * 10), lambda n: record(2000 + n))
            ]
            assert all(done.result() for done in work)
        assert len(cache) == 2200
    with ResponseCache(place, read_only=True) as cache:
        assert len(list(cache.entries())) == 2200
        assert list(cache.verify()) == []


def test_two_writers_and_four_readers_lose_nothing(place: str) -> None:
    numbers = range(600)
    with ResponseCache(place):
        pass
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(6, mp_context=spawn) as pool:
        readers = [pool.submit(read_until_there, place, numbers, ("one", "two")) for _ in range(4)]
        writers = [pool.submit(put_numbers, place, numbers, name) for name in ("one", "two")]
        assert sum(writer.result() for writer in writers) == len(numbers)  # each call has one first recording
        assert [reader.result() for reader in readers] == [0] * 4
    with ResponseCache(place, read_only=True) as cache:
        assert len(cache) == len(numbers)
        assert list(cache.verify()) == []


IMPORT = """
import sys
from toolserver.cache import ResponseCache
from toolserver.catalog.catalog import Catalog
from toolserver.stabletoolbench import import_folder
with ResponseCache(sys.argv[2]) as cache:
    import_folder(sys.argv[1], cache, Catalog())
"""


@pytest.mark.parametrize("kill_at", [1, 1500])
def test_a_killed_import_leaves_a_cache_that_verifies(tmp_path: Path, kill_at: int) -> None:
    source, path = tmp_path / "source", tmp_path / "cache"
    write_responses_folder(source, files=60, calls=150)
    importing = run_python(IMPORT, source, path)
    entries = 0
    while entries < kill_at and importing.poll() is None:
        entries = count(path)
    importing.send_signal(signal.SIGKILL)
    importing.communicate()
    with ResponseCache(path, read_only=True) as cache:
        assert kill_at <= len(cache) < 9000
        assert list(cache.verify()) == []
    subprocess.run([sys.executable, "-c", IMPORT, source, path], cwd=ROOT, check=True)
    with ResponseCache(path, read_only=True) as cache:
        assert len(cache) == 9000
        assert list(cache.verify()) == []


LEAVE_JOURNAL = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE apis SET documentation = zeroblob(100000)")
os._exit(0)  # like a killed process: the journal is left
"""


def test_the_catalog_of_a_killed_import_is_that_before_it(tmp_path: Path) -> None:
    save_catalog(Catalog(APIS), tmp_path)
    subprocess.run([sys.executable, "-c", LEAVE_JOURNAL, tmp_path / "catalog.db"], check=True)
    assert (tmp_path / "catalog.db-journal").stat().st_size
    assert list(load_catalog(tmp_path)) == list(Catalog(APIS))
    save_catalog(Catalog(APIS), tmp_path)


def test_an_import_that_was_killed_while_it_made_the_catalog_can_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").touch()
    assert list(load_catalog(tmp_path)) == []
    assert unfinished_imports(tmp_path) == []
    save_catalog(Catalog(APIS), tmp_path)
    assert list(load_catalog(tmp_path)) == list(Catalog(APIS))


def in_threads(threads: int, task: Callable[[], ToolResponse]) -> list[ToolResponse | RuntimeError]:
    """Return the results of `task` in `threads` threads that start together."""
    together = threading.Barrier(threads)

    def run() -> ToolResponse | RuntimeError:
        together.wait()
        try:
            return task()
        except RuntimeError as error:
            return error

    with ThreadPoolExecutor(threads) as pool:
        return [done.result() for done in [pool.submit(run) for _ in range(threads)]]


def test_concurrent_misses_of_one_call_are_resolved_once(place: str) -> None:
    call, computed = numbered_call(1), []
    with ResponseCache(place) as cache:

        def compute() -> ToolResponse:
            computed.append(threading.get_ident())
            cache.put(call, answer(1))
            return ToolResponse(answer(1))

        responses = in_threads(16, lambda: cache.resolve_once(key_of(call), compute))
    assert responses == [ToolResponse(answer(1))] * 16
    assert len(computed) == 1


def test_a_failed_resolution_is_everyones_and_is_tried_again(place: str) -> None:
    arrived = threading.Semaphore(0)
    key = key_of(numbered_call(1))
    with ResponseCache(place) as cache:

        def fail() -> ToolResponse:
            arrived.acquire()
            raise RuntimeError("away")

        def ask() -> ToolResponse:
            arrived.release()
            return cache.resolve_once(key, fail)

        outcomes = in_threads(8, ask)
        assert all(isinstance(outcome, RuntimeError) for outcome in outcomes)
        assert cache.resolve_once(key, lambda: ToolResponse(answer(2))) == ToolResponse(answer(2))
        assert cache.get(key) is None


FORK = """
import os, sys
from tests.toolserver.numbered_calls import answer, key_of, numbered_call
from toolserver.cache import ResponseCache
cache = ResponseCache(sys.argv[1], memory_entries=0)
assert cache.get(key_of(numbered_call(1))).body == answer(1)
child = os.fork()
for number in range(200):
    assert cache.get(key_of(numbered_call(number))).body == answer(number)
    cache.put(numbered_call(1000 + number + 1000 * (child > 0)), answer(number))
if child == 0:
    os._exit(0)
_, status = os.waitpid(child, 0)
assert status == 0 and len(cache) == 600, (status, len(cache))
cache.close()
"""


def test_a_cache_may_be_open_across_a_fork(place: str) -> None:
    put_numbers(place, range(200), "")
    forked = run_python(FORK, place)
    _, errors = forked.communicate()
    assert forked.returncode == 0, errors


# Opens as a user who may read the folder, but not write into it.
READ = """
import os, sys
from tests.toolserver.numbered_calls import answer, key_of, numbered_call
from toolserver.cache import ResponseCache
if os.geteuid() == 0:
    os.setegid(65534)
    os.seteuid(65534)
with ResponseCache(sys.argv[1], read_only=True) as cache:
    assert [cache.get(key_of(numbered_call(n))).body for n in range(50)] == [answer(n) for n in range(50)]
    assert len(cache) == 50 and list(cache.verify()) == []
"""


@pytest.fixture
def readable_folder():
    """A folder that every user may enter; pytest's own are for their owner only."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


def test_a_cache_opens_where_nothing_may_be_written(readable_folder: Path) -> None:
    put_numbers(readable_folder, range(50), "")
    readable_folder.chmod(0o555)
    reading = run_python(READ, readable_folder)
    _, errors = reading.communicate()
    assert reading.returncode == 0, errors


LEAVE_OPEN = """
import os, sys
from tests.toolserver.numbered_calls import answer, numbered_call
from toolserver.cache import ResponseCache
cache = ResponseCache(sys.argv[1])
for number in range(50):
    cache.put(numbered_call(number), answer(number))
os._exit(0)
"""


def test_what_a_killed_writer_left_in_the_log_is_never_overlooked(readable_folder: Path) -> None:
    subprocess.run([sys.executable, "-c", LEAVE_OPEN, readable_folder], cwd=ROOT, check=True)
    assert (readable_folder / "cache.db-wal").stat().st_size
    (readable_folder / "cache.db-shm").unlink()  # as on a volume that was copied or mounted again
    readable_folder.chmod(0o555)
    refused = run_python(READ, readable_folder)
    _, errors = refused.communicate()
    assert "toolserver verify" in errors
    readable_folder.chmod(0o755)
    with pytest.raises(SystemExit, match="0"):
        main(["verify", "--cache", str(readable_folder)])
    readable_folder.chmod(0o555)
    reading = run_python(READ, readable_folder)
    _, errors = reading.communicate()
    assert reading.returncode == 0, errors

"""Child processes that end with this process, whether it returns, is ended by a signal, or is killed.

A process that is killed can end nothing, so its children watch it. The standard input of a child of `start` is a pipe
of which this process holds the other end: the system closes it however this process ends.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread, current_thread, main_thread
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

_END_SECONDS = 15.0

_running: set[subprocess.Popen[str]] = set()


def start(words: Sequence[str], **options: Any) -> subprocess.Popen[str]:
    """Start `python -m WORDS` as a child process; `options` are those of `subprocess.Popen`. See `end`."""
    # By its path, since the module may run in another source tree, which lacks this one.
    command = [sys.executable, "-P", __file__, *words]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, **options)
    _running.add(process)
    return process


def end(process: subprocess.Popen[str]) -> None:
    """Terminate a child process, if it runs, and close its pipes; kill it if it does not end in time."""
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    _running.discard(process)


def run(words: Sequence[str], **options: Any) -> int:
    """Run `python -m WORDS` as a child process, as `start` does, until it ends. Return its status."""
    process = start(words, **options)
    try:
        return process.wait()
    finally:
        end(process)


def worker_pool(count: int, begin: Callable[[], object] | None = None, **options: Any) -> ProcessPoolExecutor:
    """Return a pool of spawned processes that end with this one, also while they are idle.

    Each calls `begin` first; `options` are those of `ProcessPoolExecutor`.
    """
    from concurrent.futures import ProcessPoolExecutor  # not for each child and each server

    return ProcessPoolExecutor(count, get_context("spawn"), _begin_worker, (begin,), **options)


def _begin_worker(begin: Callable[[], object] | None) -> None:
    end_with_parent()
    if begin is not None:
        begin()


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP terminate the children, leave every context inside of this one and end the process.

    The status is 128 plus the number of the signal, as shells count. A handler of another kind stays as it is, and so
    does a hang-up that is ignored, as under `nohup`. Without effect outside of the main thread.
    """
    ours = _handle(signal.SIG_DFL, _end) if current_thread() is main_thread() else []
    try:
        yield
    except _Ended as ended:
        if not ours:  # of another one, around this one
            raise
        # At once, as by the signal itself: to take the interpreter apart takes up to half a second, and it would wait
        # for threads.
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(ended.status)
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def end_at_once() -> None:
    """Let SIGTERM and SIGHUP end this process at once, inside of `ended_by_signals` too, without leaving its contexts.

    Its children, which watch it, end then. For the main thread.
    """
    _handle(_end, signal.SIG_DFL)


_Handler: TypeAlias = Callable[[int, FrameType | None], object] | signal.Handlers


def _handle(before: _Handler, after: _Handler) -> list[int]:
    """Replace a handler of SIGTERM and SIGHUP by another one. Return the signals that had it."""
    numbers = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]
    replaced = [number for number in numbers if signal.getsignal(number) is before]
    for number in replaced:
        signal.signal(number, after)
    return replaced


class _Ended(SystemExit):
    """End by a signal."""

    def __init__(self, number: int) -> None:
        self.status = 128 + number
        super().__init__(self.status)


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    # The parent may end this process again while it leaves its contexts. Not SIG_IGN, which new children would inherit.
    _handle(_end, _ignore)
    # At once, since a thread that waits for a child, or a pool of workers, keeps a context from being left.
    living: list[subprocess.Popen[str] | BaseProcess] = [*_running, *multiprocessing.active_children()]
    for child in living:
        child.terminate()
    raise _Ended(number)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing."""


def end_with_parent() -> None:
    """End this process, a worker of `multiprocessing`, when its parent has ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker is a child process"
    _end_after(parent.join)


def _end_after(wait: Callable[[], object]) -> None:
    """End this process, with the time to do so in order, when `wait` returns."""

    def watch() -> None:
        wait()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_END_SECONDS)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def _main() -> None:
    """Run the module of the first argument as `python -m` does, until standard input ends."""
    _end_after(lambda: os.read(0, 1))  # nobody writes
    if not os.environ.get("PYTHONSAFEPATH"):
        sys.path.insert(0, str(Path.cwd()))
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()

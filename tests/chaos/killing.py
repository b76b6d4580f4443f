"""Processes that are killed at a random time, and their ends."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import psutil

ROOT = Path(__file__).resolve().parents[2]
_WAIT_SECONDS = 300.0


def toolserver(*arguments: object) -> list[str]:
    """Command line of `toolserver`."""
    return [sys.executable, "-m", "toolserver.cli", *map(str, arguments)]


def script(code: str, *arguments: object) -> list[str]:
    """Command line of a program that can import the tests."""
    return [sys.executable, "-c", code, *map(str, arguments)]


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def seconds_of(command: list[str]) -> float:
    """Time of a command that has to succeed."""
    began = time.monotonic()
    done = run(command)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - began


def kill_within(command: list[str], rng: Random, seconds: float) -> tuple[int, str]:
    """Start a command and kill it (SIGKILL) at a random time of so many seconds; its status and output."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        try:
            output, _ = started.communicate(timeout=rng.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            started.kill()
            output, _ = started.communicate()
    return started.returncode, output


def wait_for(holds: Callable[[], bool]) -> bool:
    """Wait until a condition holds; false if it does not within five minutes."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def workers(parent: int) -> list[int]:
    """Living processes that serve, without multiprocessing's resource tracker."""
    children = psutil.Process(parent).children()
    living = [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
    return [child.pid for child in living if "resource_tracker" not in " ".join(child.cmdline())]


def is_alive(pid: int) -> bool:
    """True for a process that runs; orphans that ended may stay as zombies."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

"""Derived random seeds: every random number of a run depends on the run's seed and its purpose."""

from collections.abc import Mapping
from hashlib import blake2b
from random import Random
from typing import Any


def derive(seed: int, *purpose: str | int) -> int:
    """Return a seed below 2**31 for one purpose, e.g. `derive(seed, "tasks", iteration, group)`."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") % 2**31


def action_seed(seed: int, stream: str | int, action: int) -> int:
    """Return the seed of one action of one episode, below 2**31. All engines use it."""
    return derive(seed, "action", stream, action)


def task_random(seed: int, info: Mapping[str, Any]) -> Random:
    """Return the generator of an agent in one episode, by its seed and the task. `info` is that of the reset."""
    return Random(blake2b(f"{seed}|{info['task_id']}".encode(), digest_size=8).digest())


def vary(random: Random, attempt: int) -> None:
    """Seed the generator of an episode's copy, so that each attempt in the same state draws other numbers."""
    random.seed(blake2b(f"{random.getrandbits(64)}|{attempt}".encode(), digest_size=8).digest())


def branch_stream(stream: str, attempt: int) -> str:
    """Return the name of the random stream of an episode's copy: that of the episode for attempt 0."""
    return f"{stream}~{attempt}" if attempt else stream


def stream_of(info: Mapping[str, Any]) -> str:
    """Return the name of an episode's random stream: its task. `info` is that of the episode's reset."""
    return f"{info.get('suite', '')}/{info.get('task_id', '')}"

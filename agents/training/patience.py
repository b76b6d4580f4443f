"""How long training bears a tool server that is away."""

from __future__ import annotations

import time
from collections.abc import Callable

from agents.rollout.collector import Rollout

_LONGEST_WAIT = 60.0  # seconds


class ServerBackoff:
    """Waits after rollouts that lost every episode: 1, 2, 4, ... seconds, each after the client's own retries.

    Args:
        tries: Lost rollouts in a row that are borne.
        sleep: Waits for so many seconds.
    """

    def __init__(self, tries: int = 8, sleep: Callable[[float], None] = time.sleep) -> None:
        self._tries, self._sleep = tries, sleep
        self._lost = 0

    def wait(self, rollout: Rollout) -> bool:
        """Take note of a rollout, and wait if it lost all. False when that has happened too often in a row."""
        self._lost = self._lost + 1 if rollout.dropped and not rollout.episodes else 0
        if self._lost > self._tries:
            return False
        if self._lost:
            self._sleep(min(2.0 ** (self._lost - 1), _LONGEST_WAIT))
        return True

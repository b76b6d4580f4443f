"""State of an episode as it travels with its calls: an object in process, a token over HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FAULT_LEVELS = ("none", "mild", "harsh")


@dataclass(slots=True)  # not frozen: that triples the time of making one, and every call makes one
class EpisodeState:
    """Effects of an episode's calls. Never changed in place, except for the remembered `token`.

    Attributes:
        seed: Seed of the episode; with `task` it seeds every random draw of the episode.
        faults: Fault level, one of `FAULT_LEVELS`.
        task: Id of the task, for the record; empty without a task.
        step: Number of calls made so far.
        clock: Virtual clock in milliseconds.
        usage: Counts of the quotas by tool key (see `toolserver.episodes.faults`).
        changes: Changes made to the world, in order; any JSON values.
        token: Token that the state was decoded from; empty for a state that was computed.
    """

    seed: int = 0
    faults: str = "none"
    task: str = ""
    step: int = 0
    clock: int = 0
    usage: Mapping[str, list[int]] = field(default_factory=dict)
    changes: tuple[Any, ...] = ()
    token: str = field(default="", init=False, compare=False, repr=False)

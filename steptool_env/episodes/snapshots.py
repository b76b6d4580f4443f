"""Snapshots: an episode and its random generator as JSON bytes, without pickle, so that they are safe to share."""

import json
from typing import Any

import numpy as np

from steptool_env.episodes.episode import Episode
from steptool_env.episodes.factory import EpisodeFactory
from steptool_env.episodes.records import encode
from steptool_env.errors import ConfigurationError, DataError
from toolserver.errors import ToolServerError

_VERSION = 2


def pack(episode: Episode, rng: np.random.Generator, factory: EpisodeFactory) -> bytes:
    """Return the snapshot of an episode of `factory`, in an environment whose next reset draws from `rng`."""
    record = {
        "steptool_snapshot": _VERSION,
        **factory.identity,
        "episode": factory.record(episode),
        "random": rng.bit_generator.state,
    }
    return encode(record)


def unpack(snapshot: bytes, factory: EpisodeFactory) -> tuple[Episode, np.random.Generator]:
    """Return the episode and the random generator of `snapshot`.

    Raises:
        DataError: Invalid snapshot, or one of an environment with other tasks, settings or rewards.
    """
    record = _read(snapshot)
    _check_kind(record, factory.identity)
    try:
        episode = factory.restore(record["episode"])
        generator = np.random.Generator(np.random.PCG64(0))
        generator.bit_generator.state = record["random"]
        return episode, generator
    except (ConfigurationError, ToolServerError) as error:
        raise DataError(f"the snapshot is of another environment: {error}") from error
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise DataError(f"the snapshot is damaged: {error!r}") from error


def _check_kind(record: dict[str, Any], here: dict[str, Any]) -> None:
    """Raise `DataError` with each difference for a snapshot of a different environment."""
    differences = []
    for group, ours in here.items():
        theirs = record.get(group)
        theirs = theirs if isinstance(theirs, dict) else {}
        differences += [
            f"{group}.{name}={theirs.get(name)!r} there and {ours.get(name)!r} here"
            for name in sorted(theirs.keys() | ours.keys())
            if theirs.get(name) != ours.get(name)
        ]
    if differences:
        raise DataError(
            f"the snapshot is of another environment: {'; '.join(differences)}; restore it in an environment that was "
            "made with the same arguments"
        )


def _read(snapshot: bytes) -> dict[str, Any]:
    try:
        record = json.loads(snapshot)
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"the snapshot is damaged: {error}") from error
    if not isinstance(record, dict) or record.get("steptool_snapshot") != _VERSION:
        raise DataError(f"not a snapshot of version {_VERSION}; take one with env.snapshot()")
    return record

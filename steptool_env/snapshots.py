"""Snapshots: an episode and its random generator as JSON bytes. No pickle, so that a snapshot can be shared."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from steptool_env.episode import Episode
from steptool_env.errors import ConfigurationError, DataError
from steptool_env.records import encode
from steptool_env.source import EpisodeSource, record_episode

_VERSION = 1


def pack(episode: Episode, rng: np.random.Generator) -> bytes:
    """The snapshot of `episode` in an environment whose next reset draws from `rng`."""
    record = {
        "steptool_snapshot": _VERSION,
        "rules": episode.rules.record(),
        "suite": episode.task.suite,
        "episode": record_episode(episode),
        "random": rng.bit_generator.state,
    }
    return encode(record)


def unpack(snapshot: bytes, source: EpisodeSource) -> tuple[Episode, np.random.Generator]:
    """The episode and the generator of `snapshot`.

    Raises:
        DataError: These are not the bytes of a snapshot, or of an environment with other tasks or rules.
    """
    record = _read(snapshot)
    rules = source.rules.record()
    if record["rules"] != rules:
        raise DataError(f"the snapshot was taken under the rules {record['rules']}; this environment has {rules}")
    try:
        return source.restore(record["episode"]), _generator(record["random"])
    except ConfigurationError as error:
        raise DataError(f"the snapshot is of another environment: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"the snapshot is damaged: {error!r}") from error


def _read(snapshot: bytes) -> dict[str, Any]:
    try:
        record = json.loads(snapshot)
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"the snapshot is damaged: {error}") from error
    if not isinstance(record, dict) or record.get("steptool_snapshot") != _VERSION or "rules" not in record:
        raise DataError(f"these bytes are no snapshot of version {_VERSION}; take one with env.snapshot()")
    return record


def _generator(state: dict[str, Any]) -> np.random.Generator:
    generator = np.random.Generator(np.random.PCG64(0))
    generator.bit_generator.state = state
    return generator

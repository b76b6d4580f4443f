"""Settings of a run that is resumed: those that its checkpoint holds, and those that may differ from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agents.errors import ConfigurationError
from agents.models import checkpoint
from agents.training.config import TrainConfig, make_config, merged

MAY_CHANGE = (
    "iterations",
    "calls",
    "out",
    "resume",
    "checkpoint_every",
    "save_total_limit",
    "eval_every",
    "shard",
    "policy.device",
    "policy.compile",
    "policy.gradient_checkpointing",
    "optim.max_tokens",
    "env.num_envs",
    "env.args.server_url",
    "env.eval_args.server_url",
    "rollout.engine",
    "rollout.url",
    "rollout.model",
    "rollout.weights_dir",
    "rollout.concurrency",
    "rollout.timeout",
    "rollout.retries",
)
"""Settings that may change when a run is resumed: its length (unless the learning rates fall over it), where it runs,
and what is written on the way. None of them changes what is learnt from an episode."""
_SCHEDULE = ("iterations", "calls")


def stored_config(folder: Path, changes: Mapping[str, Any] | None = None) -> TrainConfig:
    """The settings of the run that wrote a checkpoint, with some replaced.

    Raises:
        CheckpointError: The checkpoint cannot be read.
        ConfigurationError: A setting is unknown or of the wrong type.
    """
    return make_config(merged(checkpoint.load_config(folder), changes or {}))


def check_resumed(config: TrainConfig, folder: Path) -> None:
    """Refuse settings with which a run cannot go on from a checkpoint.

    A checkpoint that was written without settings allows all.

    Raises:
        ConfigurationError: Settings beyond `MAY_CHANGE` differ; the message names each, with both values.
    """
    if not checkpoint.load_config(folder):
        return
    before, now = (_flat(asdict(each)) for each in (stored_config(folder), config))
    fixed = _SCHEDULE if config.anneal else ()
    names = [name for name in {**before, **now} if name not in MAY_CHANGE or name in fixed]
    wrong = [name for name in names if before.get(name) != now.get(name)]
    if wrong:
        differences = "; ".join(f"{name}={now.get(name)!r}, the run has {before.get(name)!r}" for name in wrong)
        raise ConfigurationError(
            f"{folder} cannot be resumed with other settings: {differences}. Leave them out to go on with the run's "
            "own, or begin another run with policy.checkpoint"
        )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their full names; sequences as lists, as a checkpoint keeps them."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = list(value) if isinstance(value, tuple) else value
    return found

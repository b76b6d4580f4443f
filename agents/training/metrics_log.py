"""Logs of a training: metrics as JSON Lines and by loggers; episodes with their advantages."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.errors import TrainingError
from agents.reporting.loggers import LoggerName, Loggers
from steptool_env.errors import DataError
from steptool_env.trajectories.trajectories import TrajectoryWriter

if TYPE_CHECKING:  # reports and pages read the logs without torch
    from agents.models.chat_template import Codec
    from agents.rollout.types import TokenEpisode
    from agents.training.batch import Batch

TRAINING_EPISODES = "training_episodes.jsonl"
"""Name of the trajectory file beside the metrics, see `EpisodeLog`. Another name than that of an
evaluation's episodes: these are of training tasks and of many policies."""

Metrics = Mapping[str, float]
_LARGEST = sys.float_info.max


class MetricsLog:
    """Writes the metrics of each iteration.

    Args:
        folder: Folder of `metrics.jsonl` and of the loggers' files.
        loggers: Names of loggers that get the same metrics.
        settings: Settings of the run, for the loggers.
        keep_until: Iteration of the checkpoint that is resumed; later records are removed from `metrics.jsonl` and
            hidden in TensorBoard. Without it all earlier records are removed.

    Raises:
        ConfigurationError: A logger cannot be started.
    """

    def __init__(
        self,
        folder: Path,
        *,
        loggers: Sequence[LoggerName] = (),
        settings: Mapping[str, Any] | None = None,
        keep_until: int | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "metrics.jsonl"
        begin = self._begin(keep_until)
        self._loggers = Loggers(loggers, folder, settings, begin)

    def write(self, calls: int, metrics: Metrics) -> None:
        """Write the metrics of one iteration, `iteration` among them; `calls` are the environment calls so far.

        Raises:
            TrainingError: The file cannot be written.
        """
        record = {"calls": calls, **{name: value if math.isfinite(value) else None for name, value in metrics.items()}}
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise TrainingError(f"cannot write {self._path}: {error}") from error
        self._loggers.log(calls, metrics)

    def close(self) -> None:
        """End the runs of the loggers."""
        self._loggers.close()

    def _begin(self, keep_until: int | None) -> int:
        """Remove records after the checkpoint. Return the first number of calls after the records that are kept."""
        kept = []
        if keep_until is not None and self._path.exists():
            kept = [line for line in _lines(self._path) if json.loads(line)["iteration"] <= keep_until]
        self._path.write_text("".join(kept), encoding="utf-8")
        return int(json.loads(kept[-1])["calls"]) + 1 if kept else 0


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Read the records of a run's `metrics.jsonl`, oldest first, without an incomplete last line.

    Raises:
        DataError: A line is not an object of finite numbers and nulls.
    """
    path = folder / "metrics.jsonl"
    return [_record(path, number, line) for number, line in enumerate(_lines(path), 1)]


def _record(path: Path, number: int, line: str) -> dict[str, float]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: line {number} is not JSON ({error}); mend or remove it") from None
    if not isinstance(record, dict):
        raise DataError(f"{path}: line {number} is not a JSON object; mend or remove it")
    for name, value in record.items():
        if value is not None and not (isinstance(value, int | float) and abs(value) <= _LARGEST):  # of nan, too
            raise DataError(f"{path}: line {number}: {name}={value!r:.40} is not a number; mend or remove it")
    return record


def _lines(path: Path) -> list[str]:
    """Complete lines of a file; a killed run or a full disk may have left an incomplete one."""
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]


class EpisodeLog:
    """Appends the first episodes of each iteration to a trajectory file.

    The metadata of a trajectory have `iteration`, `advantages` (one per call, the mean over its tokens) and
    `token_log_probs` (a list per call of pairs of a token's text and its log-probability under the sampler).

    Args:
        folder: Folder of the run.
        count: Number of episodes per iteration. Branches of trees are left out.
        codec: Codec of the policy.
    """

    def __init__(self, folder: Path, count: int, codec: Codec) -> None:
        self.count = count
        self._path, self._codec = folder / TRAINING_EPISODES, codec
        self._begun = False

    def write(self, iteration: int, episodes: Sequence[TokenEpisode], batch: Batch) -> None:
        """Write episodes of an iteration, numbered from 1, whose `batch` has its advantages."""
        if not self._begun:
            self._drop_from(iteration)
            self._begun = True
        with TrajectoryWriter(self._path, append=True) as writer:
            for row, episode in enumerate(episodes[: self.count]):
                trajectory = episode.trajectory
                if trajectory is None or episode.is_branch or len(trajectory.steps) != len(episode.spans):
                    continue
                advantage, step = batch.advantage[row], batch.step_index[row]
                advantages = [float(advantage[step == call].mean()) for call in range(len(episode.spans))]
                logged = {"iteration": iteration, "advantages": advantages, "token_log_probs": self._tokens(episode)}
                writer.write(replace(trajectory, metadata={**trajectory.metadata, **logged}))

    def _tokens(self, episode: TokenEpisode) -> list[list[tuple[str, float]]]:
        log_probs = iter(episode.log_probs)
        return [
            [(self._codec.decode_action([token]), round(next(log_probs), 4)) for token in episode.ids[start:end]]
            for start, end in episode.spans
        ]

    def _drop_from(self, iteration: int) -> None:
        """Remove episodes of this iteration and later ones, which an interrupted run left after its checkpoint."""
        if not self._path.exists():
            return
        kept = []
        for line in self._path.read_bytes().splitlines(keepends=True):
            try:
                if line.endswith(b"\n") and json.loads(line)["metadata"]["iteration"] < iteration:
                    kept.append(line)
            except (ValueError, LookupError, TypeError):
                continue
        self._path.write_bytes(b"".join(kept))

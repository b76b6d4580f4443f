"""`steptool score`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from agents.evaluation.outputs import write_outputs
from agents.evaluation.rescore import rescore_all
from agents.options import Words, read_options
from agents.reporting.console import EpisodeProgress
from steptool_env.rewards import make_reward
from steptool_env.trajectories.recordings import read_recordings
from steptool_env.trajectories.trajectories import TrajectoryWriter
from steptool_env.types import Trajectory


@dataclass(frozen=True)
class Command:
    """Score recorded episodes anew, with another reward or another judge.

    Nothing is played: the recorded calls and answers are judged as they are. Writes what `steptool evaluate` writes.

    Example: steptool score --episodes runs/gpt-4o --reward-arg judge=llm model=gpt-4o verdict=tooleval
    --out runs/gpt-4o-judged
    """

    episodes: Annotated[Path, tyro.conf.arg(metavar="PATH")]
    """Trajectories (.jsonl), a judged run (<set>.json), or a folder of either."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for the results; it is made."""
    reward: Annotated[str, tyro.conf.arg(metavar="KIND")] = "steptool"
    """Kind of reward, see docs/evaluation.md."""
    reward_arg: Words = ()
    """Its options, such as judge=llm model=NAME; a value is JSON where it reads as JSON, else text."""
    workers: int = 8
    """Episodes judged at a time."""

    def run(self) -> None:
        """Score, showing the pass rate so far."""
        episodes = read_recordings(self.episodes)
        reward = make_reward(self.reward, **read_options("reward_arg", self.reward_arg))
        with TrajectoryWriter(self.out / "trajectories.jsonl") as writer, EpisodeProgress(self.reward) as progress:

            def on_episode(trajectory: Trajectory) -> None:
                writer.write(trajectory)
                progress.add(trajectory)

            progress.expect(len(episodes))
            scored = rescore_all(episodes, reward, self.workers, on_episode)
        subtitle = f"{len(scored)} episodes of {self.episodes.name}, scored by {self.reward}."
        run = {"episodes": self.episodes, "reward": self.reward, "reward_arg": self.reward_arg}
        write_outputs(self.out, self.episodes.stem, subtitle, scored, run)

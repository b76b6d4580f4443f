"""`steptool score`."""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from agents.options import Words, read_options
from agents.reporting.console import EpisodeProgress
from agents.reporting.outputs import check_unused, write_outputs
from steptool_env.complexfuncbench.suite import is_complexfuncbench
from steptool_env.episodes.config import KEY_OPTION
from steptool_env.errors import ConfigurationError
from steptool_env.rewards import REWARDS, RewardFunction, make_reward
from steptool_env.toolworld import read_task_id
from steptool_env.trajectories.recordings import read_recordings
from steptool_env.trajectories.trajectories import TrajectoryWriter
from steptool_env.types import Trajectory


@dataclass(frozen=True)
class Command:
    """Score recorded episodes again, with another reward or another judge.

    Nothing is played: the recorded calls and answers are judged as they are. Without `judge=NAME` the judge of the
    recorded run is used, and its name printed. Writes the same files as `steptool evaluate`.

    Example: steptool score --episodes runs/gpt-4o --reward-args judge=llm model=gpt-4o verdict=tooleval
    --out runs/gpt-4o-judged
    """

    episodes: Annotated[Path, tyro.conf.arg(metavar="PATH")]
    """Trajectories (.jsonl), a judged run (<set>.json), or a folder of either."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Output folder."""
    reward: Annotated[str, tyro.conf.arg(metavar="KIND")] = "steptool"
    """Kind of reward, see docs/evaluation.md."""
    reward_args: Words = ()
    """Options of the reward, such as judge=llm model=NAME. A value that parses as JSON is JSON, else text."""
    workers: int = 8
    """Number of episodes judged concurrently."""

    def run(self) -> None:
        """Score, showing the pass rate so far."""
        check_unused(self.out)
        episodes = read_recordings(self.episodes)
        options = self._reward_options(episodes)
        reward = make_reward(self.reward, **options)
        with TrajectoryWriter(self.out / "trajectories.jsonl") as writer, EpisodeProgress(self.reward) as progress:

            def on_episode(trajectory: Trajectory) -> None:
                writer.write(trajectory)
                progress.add(trajectory)

            progress.expect(len(episodes))
            scored = rescore_all(episodes, reward, self.workers, on_episode)
        run = {"episodes": self.episodes, "settings": {"reward": {"kind": self.reward, **options}}}
        write_outputs(self.out, f"{self.episodes.stem}, scored by {self.reward}", scored, run)

    def _reward_options(self, episodes: Sequence[Trajectory]) -> dict[str, Any]:
        """Return the options of the reward, with the judge of the recorded run where none is given."""
        options = read_options("reward_args", self.reward_args)
        if "judge" in options or not REWARDS.takes(self.reward, "judge"):
            return options
        options = {**_recorded_judge(self.episodes, episodes), **options}
        Console().print(f"judge {options['judge']}, that of the recorded run (--reward-args judge=NAME takes another)")
        return options


def rescore(episode: Trajectory, reward: RewardFunction) -> Trajectory:
    """Return the episode with the rewards, terms and outcome that an environment with `reward` gives."""
    scorer = reward.start(episode.task)
    scored = [scorer.score(step) for step in episode.steps]
    final = scorer.hindsight() or scored
    rows = zip(episode.steps, scored, final, strict=True)
    return replace(
        episode,
        steps=tuple(replace(step, reward=s.reward, reward_terms=f.terms) for step, s, f in rows),
        rewards=tuple(s.reward for s in final),
        metadata={**episode.metadata, "outcome": dict(scorer.outcome())},
    )


def rescore_all(
    episodes: Sequence[Trajectory], reward: RewardFunction, workers: int, on_episode: Callable[[Trajectory], None]
) -> list[Trajectory]:
    """Rescore `episodes` with `workers` threads (for judges that wait for a model).

    `on_episode` is called with each in order. Episodes lost to the tool server are returned unchanged.
    """

    def score(episode: Trajectory) -> Trajectory:
        return episode if "transport_error" in episode.metadata else rescore(episode, reward)

    done = []
    with ThreadPoolExecutor(workers) as pool:
        for episode in pool.map(score, episodes):
            done.append(episode)
            on_episode(episode)
    return done


def _recorded_judge(path: Path, episodes: Sequence[Trajectory]) -> dict[str, Any]:
    """Return the judge of a recorded run and its options: those in run.json, else that of its tasks."""
    record = (path if path.is_dir() else path.parent) / "run.json"
    run: Mapping[str, Any] = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    recorded: Mapping[str, Any] = run.get("settings", {}).get("reward", {})
    if "judge" in recorded:
        return {name: value for name, value in recorded.items() if name not in ("kind", KEY_OPTION)}
    if all(is_complexfuncbench(episode.task.suite) for episode in episodes):
        return {"judge": "gold"}
    return {"judge": "world" if all(_is_toolworld(episode) for episode in episodes) else "rules"}


def _is_toolworld(episode: Trajectory) -> bool:
    try:
        read_task_id(episode.task.id)
    except ConfigurationError:
        return False
    return True

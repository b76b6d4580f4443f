"""`steptool score`."""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TextIO

import tyro
from rich.console import Console

from agents.evaluation.results import defined, read_run_record, recorded_episodes
from agents.evaluation.win_rate import compare_runs, pairs_of, win_metrics
from agents.options import Words, read_options
from agents.reporting.console import EpisodeProgressBar
from agents.reporting.outputs import check_unused, write_outputs
from steptool_env.benchmarks import benchmark_of
from steptool_env.errors import ConfigurationError
from steptool_env.judges import JUDGES, PairwiseJudge
from steptool_env.metrics import usable
from steptool_env.rewards import REWARDS, RewardFunction, make_reward
from steptool_env.trajectories.trajectories import TrajectoryWriter
from steptool_env.types import Trajectory

_EPISODES = "trajectories.jsonl"


@dataclass(frozen=True)
class Command:
    """Score recorded episodes again, with another reward or another judge, and compare them with another run's.

    Nothing is played: the recorded calls and answers are judged as they are. Without `judge=NAME` the judge of the
    recorded run is used, and its name printed. Writes the same files as `steptool evaluate`, and with --against
    win_rate.json and comparisons.jsonl.

    Example: steptool score --episodes runs/random --reward final --out runs/random-final

    Example: steptool score --episodes runs/gpt-4o --against runs/sft --reward final
    --reward-args judge=llm model=gpt-4o verdict=tooleval --verdicts verdicts --out runs/gpt-4o-judged
    """

    episodes: Annotated[Path, tyro.conf.arg(metavar="PATH")]
    """Trajectories (.jsonl), answers of ToolBench, converted answers or a judged run (.json), or a folder of these."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Output folder."""
    reward: Annotated[str, tyro.conf.arg(metavar="KIND")] = "steptool"
    """Kind of reward, see docs/evaluation.md."""
    reward_args: Words = ()
    """Options of the reward, such as judge=llm model=NAME. A value that parses as JSON is JSON, else text."""
    workers: int = 8
    """Number of episodes judged concurrently."""
    against: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Other run on the same tasks: both are judged, and the win rate over it is ToolEval's comparison."""
    verdicts: Annotated[str, tyro.conf.arg(metavar="CACHE")] = ""
    """Response cache that keeps the messages of a judging model, made if it does not exist: the same question is then
    answered from it without a request."""

    def run(self) -> dict[str, Any]:
        """Score, showing the pass rate so far."""
        if self.workers < 1:
            raise ConfigurationError(f"workers={self.workers}: must be at least 1")
        check_unused(self.out)
        episodes = recorded_episodes(self.episodes)
        against = [] if self.against is None else recorded_episodes(self.against)
        if self.against is not None:
            pairs_of(usable(episodes), usable(against))  # raises before a model is asked
        options = self._reward_options(episodes)
        reward = make_reward(self.reward, **options)
        unfinished = self.out / f"{_EPISODES}.unfinished"  # a folder without `_EPISODES` can be used again
        with TrajectoryWriter(unfinished) as writer:
            scored = self._score(episodes, reward, self.reward, writer.write)
        run = {
            "episodes": self.episodes,
            "against": self.against or "",
            "settings": {"reward": {"kind": self.reward, **options}},
        }
        compared: dict[str, Any] = {}
        if self.against is not None:
            others = self._score(against, reward, "against", lambda _: None)
            compared = {"against": self._compare(scored, others, getattr(reward, "judge", None))}
        unfinished.replace(self.out / _EPISODES)
        record = write_outputs(self.out, f"{self.episodes.stem}, scored by {self.reward}", scored, run)
        getattr(getattr(reward, "judge", None), "close", lambda: None)()
        return {**record, **compared}

    def _score(
        self,
        episodes: Sequence[Trajectory],
        reward: RewardFunction,
        label: str,
        write: Callable[[Trajectory], None],
    ) -> list[Trajectory]:
        with EpisodeProgressBar(label) as bar:

            def on_episode(trajectory: Trajectory) -> None:
                write(trajectory)
                bar.add(trajectory)

            bar.expect(len(episodes))
            return rescore_all(episodes, reward, self.workers, on_episode)

    def _compare(self, run: Sequence[Trajectory], against: Sequence[Trajectory], judge: Any) -> dict[str, Any]:
        """Write, print and return the win rate."""
        with (self.out / "comparisons.jsonl").open("w", encoding="utf-8") as file:
            compared = compare_runs(
                run, against, judge, self.workers, lambda c: _write_line(file, json.dumps(c.record()))
            )
        metrics = win_metrics(compared)
        (self.out / "win_rate.json").write_text(json.dumps(defined(metrics), indent=2) + "\n", encoding="utf-8")
        console = Console()
        console.print(
            f"win rate {metrics['win_rate']:.3f}, ties {metrics['tie_rate']:.3f}, losses {metrics['loss_rate']:.3f} "
            f"against {self.against} on {len(compared)} tasks "
            f"({len(run) - len(compared)} and {len(against) - len(compared)} of one run alone)",
            highlight=False,
            soft_wrap=True,
        )
        if not isinstance(judge, PairwiseJudge):
            console.print("this judge compares no answers: equal verdicts are ties (judge=llm compares them)")
        return defined(metrics)

    def _reward_options(self, episodes: Sequence[Trajectory]) -> dict[str, Any]:
        """Return the options of the reward, with the judge of the recorded run where none is given."""
        options = read_options("reward_args", self.reward_args)
        if self.verdicts and options.get("judge") != "llm":
            raise ConfigurationError("--verdicts: only judge=llm asks a model whose messages can be kept; leave it out")
        if self.verdicts:
            options["cache"] = self.verdicts
        if "judge" in options or not REWARDS.takes(self.reward, "judge"):
            return options
        options = {**_recorded_judge(self.episodes, episodes), **options}
        Console().print(f"judge {options['judge']}, that of the recorded run (--reward-args judge=NAME takes another)")
        return options


def _write_line(file: TextIO, line: str) -> None:
    """Write a line at once, so that a run that is interrupted keeps it."""
    file.write(f"{line}\n")
    file.flush()


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


_TAKEN_OVER = ("judge", "model", "verdict", "repeats", "fallback")


def _recorded_judge(path: Path, episodes: Sequence[Trajectory]) -> dict[str, Any]:
    """Return the judge of a recorded run and its options: those in run.json, else that of its tasks.

    The file may be of somebody else, so that it chooses among the judges of this package alone, and names no code, no
    address and no file.

    Raises:
        ConfigurationError: run.json names a judge that is not built in.
    """
    folder = path if path.is_dir() else path.parent
    recorded: Mapping[str, Any] = read_run_record(folder).get("settings", {}).get("reward", {})
    if "judge" in recorded:
        if recorded["judge"] not in JUDGES.names():
            raise ConfigurationError(
                f"{folder / 'run.json'}: judge={recorded['judge']!r} is not built in, and code that a file names is "
                "not run; give it by --reward-args judge=..."
            )
        return {name: value for name, value in recorded.items() if name in _TAKEN_OVER}
    judges = {benchmark_of(episode.task.suite, episode.task.id).judge for episode in episodes}
    return {"judge": judges.pop() if len(judges) == 1 else "rules"}

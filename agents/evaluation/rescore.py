"""Scoring of recorded episodes with another reward or judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from steptool_env.rewards import RewardFunction
from steptool_env.types import Trajectory


def rescore(episode: Trajectory, reward: RewardFunction) -> Trajectory:
    """Return the episode with the rewards, terms and outcome that an environment with `reward` gives."""
    scorer = reward.start(episode.task)
    scored = [scorer.score(step) for step in episode.steps]
    steps = [
        replace(step, reward=s.reward, reward_terms=s.terms) for step, s in zip(episode.steps, scored, strict=True)
    ]
    final = scorer.hindsight() or scored
    return replace(
        episode,
        steps=tuple(replace(step, reward_terms=s.terms) for step, s in zip(steps, final, strict=True)),
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

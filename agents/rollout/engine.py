"""Rollout engines: the interface, and the engine that a configuration names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from agents.models.bundle import PolicyBundle
from agents.models.weights import write_merged
from agents.rollout.config import RolloutConfig, Sampling
from agents.rollout.http_engine import HttpEngine
from agents.rollout.sampler import TokenSampler
from agents.rollout.static_sampler import StaticTokenSampler
from agents.rollout.types import Sampled


class RolloutEngine(Protocol):
    """Samples actions for episodes in slots. Tokens in, tokens out.

    The engine keeps the tokens of each episode: `start` adds the prompt, `act` the sampled action, `append` the
    observation.
    """

    def seed(self, seed: int) -> None:
        """Set the random seed and number the following episodes from 0."""
        ...

    def publish(self, version: int, *, at_once: bool = False) -> int:
        """Announce weights of `version`. Return the version that `act` samples with.

        An engine may keep older weights for a while, unless `at_once`.
        """
        ...

    def clear(self) -> None:
        """Remove all episodes. Required after the weights have changed."""
        ...

    def start(self, slot: int, ids: Sequence[int], stream: str | int | None = None) -> None:
        """Start an episode.

        Args:
            slot: Slot of the episode.
            ids: Prompt tokens.
            stream: Name of the episode's random stream: equal seed, stream and tokens give equal actions, whatever
                other episodes are sampled. Defaults to the number of episodes started since the seed.
        """
        ...

    def append(self, slot: int, ids: Sequence[int]) -> None:
        """Append tokens that were not sampled: an observation."""
        ...

    def room(self, slot: int) -> int:
        """Return the number of tokens left in the context; 0 or less when it is full."""
        ...

    def free(self, slot: int) -> None:
        """End an episode."""
        ...

    def act(self, slots: Sequence[int]) -> list[Sampled]:
        """Sample one action per slot, in the order of `slots`."""
        ...

    def close(self) -> None:
        """Release resources."""
        ...


def make_engine(config: RolloutConfig, learner: PolicyBundle, sampling: Sampling) -> RolloutEngine:
    """Return an engine that samples with the weights of `learner`."""
    stop_id, context = learner.codec.stop_id, learner.context
    if config.engine == "http":
        write = partial(write_merged, policy=learner.policy, tokenizer=learner.tokenizer)
        return HttpEngine(config, write, context=context, stop_id=stop_id, sampling=sampling)
    kind = StaticTokenSampler if config.engine == "static" else TokenSampler
    return kind(learner.policy, context=context, stop_id=stop_id, sampling=sampling)

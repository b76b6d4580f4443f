"""What samples actions in a rollout, here or elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import ConfigDict

from agents.rollout.sampler import Sampled


class RolloutEngine(Protocol):
    """Samples actions for episodes in slots. Tokens go in and tokens come out.

    What an episode is made of is told piece by piece, and never again: its opening by `start`, what the tools answer
    by `append`; what `act` sampled is remembered by the engine itself.
    """

    def seed(self, seed: int) -> None:
        """Draw from `seed` from now on, and number episodes from 0."""
        ...

    def publish(self, version: int, *, at_once: bool = False) -> int:
        """The policy's weights are those of `version` now. Returns the version that `act` will sample with.

        An engine may stay with older weights for a while, unless they have to be there `at_once`.
        """
        ...

    def clear(self) -> None:
        """Forget every episode; needed when weights have changed."""
        ...

    def start(self, slot: int, ids: Sequence[int], stream: str | int | None = None) -> None:
        """Begin an episode with its opening tokens.

        Args:
            slot: Where it runs.
            ids: The tokens.
            stream: Names the episode's draws: with the same seed, stream and tokens come the same actions, whatever
                else is sampled beside them. By default the number of episodes begun since the seed.
        """
        ...

    def append(self, slot: int, ids: Sequence[int]) -> None:
        """Add tokens that were not sampled: a tool's answer."""
        ...

    def room(self, slot: int) -> int:
        """Tokens that the episode may still grow by in the model's context; 0 or less where it is full."""
        ...

    def free(self, slot: int) -> None:
        """End an episode."""
        ...

    def act(self, slots: Sequence[int]) -> list[Sampled]:
        """Sample one action for each slot, in that order."""
        ...

    def close(self) -> None:
        """Release what the engine holds."""
        ...


@dataclass(frozen=True)
class RolloutConfig:
    """Who samples the actions of a rollout."""

    engine: Literal["local", "static", "http"] = "local"
    """`local`: the policy in training, in this process. `static`: the same in steps of fixed shape, which a GPU replays
    as graphs. `http`: a completions server that takes and returns token ids (vLLM, or `steptool serve-policy`)."""
    url: str = ""
    """Of the `http` engine: the server, e.g. `http://gpu-2:8000`. Its key, if it wants one, is `OPENAI_API_KEY`."""
    model: str = ""
    """The model's name at the server; empty takes the first that it offers."""
    weights_dir: str = ""
    """Folder that this machine and the server see under the same path; new weights travel through it."""
    sync_every: int = 1
    """Iterations between two transfers of weights. With more than 1, episodes of training are of older weights. Before
    an evaluation and at the end of the run the weights are sent in any case."""
    concurrency: int = 64
    """Requests in flight at most."""
    timeout: float = 600.0
    """Seconds to wait for one answer of the server."""
    retries: int = 3
    """How many more times to ask after a failure that may pass."""

    __pydantic_config__ = ConfigDict(extra="forbid")

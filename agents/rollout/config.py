"""Settings of rollouts: environments, sampling and engine. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pydantic import ConfigDict

from agents.options import Arguments


@dataclass(frozen=True)
class EnvConfig:
    """Environments of a run."""

    id: str = "StepTool/ToolWorld-v0"
    """Environment id for `gymnasium.make`."""
    args: Arguments = field(default_factory=dict)
    """Arguments of the environment: `{split: train, level: lite}`, on the command line `split=train level=lite`."""
    reward: str = ""
    """Kind of reward, for environments that have a choice; empty keeps the environment's default."""
    curriculum: float = 0.0
    """Share of the deepest drawn tasks that an iteration has to solve before the next depth of `args.depths` is drawn
    too, from the smallest on; 0 draws all depths."""
    num_envs: int = 64
    """Number of episodes that each process plays at the same time."""
    eval_args: Arguments = field(default_factory=dict)
    """Arguments that differ in evaluation, e.g. `{split: validation}`."""

    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Sampling:
    """Sampling of actions. Training samples at temperature 1 from the whole vocabulary, as the gradient requires."""

    max_action_tokens: int = 128
    """Maximum length of an action in tokens; a longer one is cut and passed to the environment as it is."""

    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class RolloutConfig:
    """Engine that samples the actions of a rollout."""

    engine: Literal["local", "static", "http"] = "local"
    """`local`: the policy in training, in this process. `static`: the same with fixed shapes, replayed as CUDA graphs
    on a GPU. `http`: a completions server that takes and returns token ids (vLLM, or `steptool serve-policy`)."""
    url: str = ""
    """URL of the `http` engine's server, e.g. `http://gpu-2:8000`; the first model that it lists samples. The
    environment variable `OPENAI_API_KEY` holds its API key."""
    weights_dir: str = ""
    """Folder that this machine and the server see under the same path; new weights are written there."""
    sync_every: int = 1
    """Iterations between two transfers of weights. With more than 1, episodes are sampled with older weights. The
    weights are always sent before an evaluation and at the end of the run."""

    __pydantic_config__ = ConfigDict(extra="forbid")

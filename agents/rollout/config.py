"""Settings of rollouts: environments, sampling and engine. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import tyro
from pydantic import ConfigDict

from agents.options import Arguments
from steptool_env.episodes.config import KEY_OPTION
from steptool_env.errors import ConfigurationError

TOOLWORLD = "StepTool/ToolWorld-v0"
"""Id of the environment that a training takes by default."""

LOCAL_ENGINES = ("local", "static")
"""Engines that sample in the process of the trainer."""


@dataclass(frozen=True)
class EnvConfig:
    """Environments of a run."""

    id: Annotated[str, tyro.conf.arg(name="env", prefix_name=False, metavar="ID")] = TOOLWORLD
    """Environment id for `gymnasium.make`."""
    args: Annotated[Arguments, tyro.conf.arg(name="env-args", prefix_name=False)] = field(default_factory=dict)
    """Arguments of the environment: `{split: train, level: lite}`, on the command line `split=train level=lite`."""
    reward: str = ""
    """Kind of reward, for environments that have a choice; empty keeps the environment's default."""
    curriculum: float = 0.0
    """Curriculum over `args.depths`, from the smallest on: share of solved tasks of the greatest depth drawn so far at
    which the next depth is added. 0 draws all depths."""
    num_envs: int = 64
    """Number of episodes that each process plays at the same time."""
    eval_args: Annotated[Arguments, tyro.conf.arg(name="eval-args", prefix_name=False)] = field(default_factory=dict)
    """Arguments that differ in evaluation, e.g. `{split: validation}`."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        for name, arguments in (("args", self.args), ("eval_args", self.eval_args)):
            options = arguments.get("reward_options")
            if isinstance(options, Mapping) and KEY_OPTION in options:
                raise ConfigurationError(
                    f"env.{name}: {KEY_OPTION} would be written with the run's settings; set OPENAI_API_KEY instead"
                )


@dataclass(frozen=True)
class Sampling:
    """Sampling of actions. Training samples at temperature 1 from the whole vocabulary, as the gradient requires."""

    max_action_tokens: int = 128
    """Maximum length of an action in tokens; a longer one is cut and passed to the environment as it is."""

    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class RolloutConfig:
    """Engine that samples the actions of a rollout."""

    engine: str = "local"
    """`local`: the policy in training, in this process. `static`: the same with fixed shapes, replayed as CUDA graphs
    on a GPU. A URL like `http://gpu-2:8000`: a completions server that takes and returns token ids (vLLM, or `steptool
    serve-policy`), whose first model samples. It reads new weights from the folder of the run, which it sees under the
    same path; the environment variable `OPENAI_API_KEY` holds its API key.
    `ray`: the policy in training plays on the nodes of a cluster of Ray, which need no common folder."""
    harness: str = ""
    """Agent of another framework that plays the episodes, as `module:function`; see `agents.gateway.harness`. It asks
    the policy by OpenAI's chat completions API. Empty: the environment's own loop plays them, as it does evaluations.
    """
    harness_seconds: float = 300.0
    """Longest time of an episode of a harness, in seconds; one that takes longer ends as it is."""
    ray_address: str = ""
    """`HOST:PORT` of the cluster's head for `engine: ray`; by default the cluster of this machine, else a new one."""
    parts: int = 4
    """Parts of an iteration's episodes with `engine: ray`, each of which one CPU of the cluster plays."""
    max_staleness: int = 0
    """Number of updates by which the weights of the cluster are older than those in training; above 0, rollouts and
    updates overlap. The ratio of the loss has the sampler's log-probabilities and clips stale actions."""

    __pydantic_config__ = ConfigDict(extra="forbid")

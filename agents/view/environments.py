"""Environments of recorded episodes, made from the settings of a run without the network and without its own code."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from threading import RLock
from typing import Any, cast

from steptool_env.benchmarks import Benchmark, benchmark_of, benchmark_of_env
from steptool_env.env import ToolEnv
from steptool_env.envs.make import make_env
from steptool_env.errors import ConfigurationError, StepToolError
from steptool_env.formats import FORMATS
from steptool_env.rewards import REWARDS
from steptool_env.stabletoolbench.sample import is_sample
from steptool_env.types import Task, Trajectory

TOOLWORLD = "StepTool/ToolWorld-v0"
_JUDGES = ("rules", "world", "gold")
_EXACT_REWARDS = ("potential", "progress")
_IN_USE = RLock()
"""Held while an environment is in use: environments of one world share parts that are made for one thread."""

_MOST_TOOLS = 1000
_RETRIEVER = "bm25"
_NOT_KEPT = ("server_url", "render_mode")
_RECORDED_SETTINGS = ("format", "prompt", "call_budget", "max_observation_length")


@dataclass(frozen=True)
class Setting:
    """Arguments of an environment in which an episode can be played again.

    Attributes:
        env_id: Id of the environment.
        arguments: Arguments of its constructor.
        notes: Differences from the run, as sentences.
    """

    env_id: str
    arguments: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def reward(self) -> str:
        """Name of the reward."""
        return str(self.arguments.get("reward") or _known(self.env_id).reward)


def rewards_of(env_id: str) -> list[str]:
    """Return the names of the rewards that an environment can compute."""
    exact = _known(env_id).exact
    return [name for name in REWARDS.names() if exact or name not in _EXACT_REWARDS]


def setting_of(env_id: str, env_args: Mapping[str, Any], episode: Trajectory, reward: str = "") -> Setting:
    """Return the setting of an episode: that of its run, or of the environment that its task belongs to.

    A run folder is data: its settings start no code of their own, no request and no model. A reward, format or judge of
    another module, and a judge that asks a model, are replaced by the environment's default, with a note.

    Args:
        env_id: Id of the run's environment; empty if unknown.
        env_args: Arguments of the run's environment.
        episode: The episode.
        reward: Name of a reward to use instead of the run's; empty for the run's.

    Raises:
        ConfigurationError: Nothing answers the calls of such a task here, or the package with its tools is missing.
    """
    known = env_id if benchmark_of_env(env_id) else _env_of(episode)
    notes: list[str] = []
    given = dict(env_args) if known == env_id else {}
    names = set(inspect.signature(_known(known).env_class).parameters) - set(_NOT_KEPT)
    if given.get("server_url"):
        notes.append("The run's calls were answered by a tool server; here the same tools answer in this process.")
    arguments = {name: value for name, value in given.items() if name in names}
    arguments |= {name: episode.metadata[name] for name in _RECORDED_SETTINGS if name in episode.metadata}
    if arguments.get("retriever", _RETRIEVER) != _RETRIEVER:
        raise ConfigurationError(f"retriever={arguments['retriever']!r}: is a model, which is not loaded here")
    if isinstance(tools := arguments.get("tools"), int) and tools > _MOST_TOOLS:
        raise ConfigurationError(f"tools={tools}: worlds of more than {_MOST_TOOLS:,} vendors are not made here")
    place = _known(known).tasks.env_args(episode.task.suite, episode.task.id)
    # A training's evaluations are of another split than the run's settings say; a query set's file may be of any name.
    arguments |= {name: value for name, value in place.items() if name != "suite" or name not in arguments}
    if arguments.get("format", "react") not in FORMATS.names():
        raise ConfigurationError(f"format={arguments['format']!r}: is not built in, so its code is not run here")
    return _with_reward(Setting(known, arguments, tuple(notes)), reward)


def _with_reward(setting: Setting, reward: str) -> Setting:
    """Return the setting with a reward that can be computed here."""
    arguments, notes = dict(setting.arguments), list(setting.notes)
    options = arguments.get("reward_options") or {}
    judge = options.get("judge") if isinstance(options, Mapping) else None
    if reward and reward != setting.reward:
        if reward not in rewards_of(setting.env_id):
            some = ", ".join(rewards_of(setting.env_id))
            raise ConfigurationError(f"reward={reward!r}: must be one of {some}")
        notes.append(f"Scored with the reward {reward}; the run has {setting.reward}.")
        arguments |= {"reward": reward, "reward_options": None}
    elif setting.reward not in rewards_of(setting.env_id) or (judge is not None and judge not in _JUDGES):
        other = _known(setting.env_id).reward
        notes.append(
            f"The run's reward {setting.reward}{f' with the judge {judge}' if judge else ''} runs other code, asks a "
            f"model or knows recorded episodes alone; scored with the reward {other} instead."
        )
        arguments |= {"reward": other, "reward_options": None}
    return replace(setting, arguments=arguments, notes=tuple(notes))


def _env_of(episode: Trajectory) -> str:
    """Return the id of the environment that an episode's task names by itself."""
    task = episode.task
    benchmark = benchmark_of(task.suite, task.id)
    if benchmark.exact or is_sample(task.suite):
        return benchmark.env_id
    raise ConfigurationError(
        f"task {task.id!r} of {task.suite!r}: the run folder has no settings (run.json, config.yaml) that say which "
        "tools answered, and the task is neither of a benchmark with reference solutions nor of the included sample"
    )


def _known(env_id: str) -> Benchmark:
    benchmark = benchmark_of_env(env_id)
    assert benchmark is not None, f"{env_id} is of no benchmark"
    return benchmark


@contextmanager
def environment(setting: Setting) -> Iterator[ToolEnv]:
    """Make the environment, and close it at the end. One thread at a time has one.

    Raises:
        ConfigurationError: An argument is invalid, or data are missing.
    """
    with _IN_USE, closing(make_env(setting.env_id, setting.arguments)) as env:
        yield cast(ToolEnv, env.unwrapped)


def task_of(setting: Setting, episode: Trajectory) -> Task | None:
    """Return the task with its reference solution; `None` where the environment has none, or no such task."""
    if not _known(setting.env_id).exact:
        return None
    try:
        with environment(setting) as env:
            return env.suite.find(episode.task.id)
    except StepToolError:
        return None

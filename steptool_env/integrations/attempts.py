"""One episode at a time of a text environment, with the rewards that trainers of other projects need."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from steptool_env.env import ToolEnv
from steptool_env.envs.make import make_env
from steptool_env.episodes.episode import Transition
from steptool_env.errors import ConfigurationError
from steptool_env.types import FINISHED
from toolserver.catalog.api_schema import StatusCode

_RIGHT = frozenset({StatusCode.OK, *FINISHED})


class Attempt:
    """One episode at a time, with its rewards.

    Args:
        env_id: Id of a text environment.
        arguments: Arguments of `gym.make`.

    Attributes:
        env: The environment.
        rewards: Reward of each step so far; of an episode that is over, the final rewards (`info["step_rewards"]`).
        outcome: Outcome of an episode that is over, such as `is_solved`; empty before, and without an answer
            of the tools.
        lost: Reason why the tools could not be reached; empty otherwise. Such an episode has no score.

    Raises:
        ConfigurationError: An argument is invalid, or the environment is not one of texts.
    """

    def __init__(self, env_id: str, arguments: Mapping[str, Any]) -> None:
        self.env = make_text_env(env_id, arguments)
        self.rewards: tuple[float, ...] = ()
        self.outcome: Mapping[str, Any] = {}
        self.lost = ""

    @property
    def over(self) -> bool:
        """True after the last step, and before the first reset."""
        return self.env._episode is None or self.env.episode.over

    @property
    def solved(self) -> float:
        """1.0 where the task is solved, else 0.0."""
        return float(self.outcome.get("is_solved", 0))

    def reset(self, task: str | int | None = None, episode_seed: int = 0, seed: int | None = 0) -> dict[str, Any]:
        """Start an episode. Return the `info` of `ToolEnv.reset`.

        Args:
            task: Id or index of the task; by default drawn from `seed`.
            episode_seed: Seed of the tools' state.
            seed: Seed of the draw.
        """
        self.rewards, self.outcome, self.lost = (), {}, ""
        options = {"episode_seed": episode_seed} if task is None else {"task": task, "episode_seed": episode_seed}
        return self.env.reset(seed=seed, options=options)[1]

    def call(self, name: str, arguments: str | Mapping[str, Any]) -> Transition:
        """Take the step of a call."""
        return self.step(self.env.config.format.render(name, arguments))

    def step(self, text: str) -> Transition:
        """Take the step of a text."""
        last = self.env.step(text)
        self.rewards = (*self.rewards, float(last.reward))
        self._keep(last.info)
        return last

    def end(self) -> None:
        """Truncate an episode that is not over: the agent stopped. It is judged on what was done."""
        if not self.over:
            self._keep(self.env.truncate())

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def _keep(self, info: Mapping[str, Any]) -> None:
        if "step_rewards" in info:
            self.rewards = tuple(map(float, info["step_rewards"]))
            self.outcome = info.get("outcome", {})
            self.lost = info.get("transport_error", "")


def failed(info: Mapping[str, Any]) -> bool:
    """True where the tool, or the call itself, failed in the step of this `info`."""
    return StatusCode(info["status"]) not in _RIGHT


def task_rows(env: ToolEnv, tasks: int | Iterable[int | str]) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Yield a row of a data set for each task, with `prompt` (chat messages) and `task` (its id), and its functions.

    Args:
        env: The environment.
        tasks: Ids or indices of the tasks, or the number of the first ones.

    Raises:
        ConfigurationError: There is no such task, or none at all.
    """
    chosen = list(range(tasks) if isinstance(tasks, int) else tasks)
    if not chosen:
        raise ConfigurationError("tasks: give at least one")
    for task in chosen:
        _, info = env.reset(seed=0, options={"task": task, "episode_seed": 0})
        prompt = [{**message, "content": message["content"].strip()} for message in info["messages"]]
        functions = {function["name"]: function for function in reversed(info["functions"])}  # the first one counts
        yield {"prompt": prompt, "task": info["task_id"]}, list(functions.values())[::-1]


def make_text_env(env_id: str, arguments: Mapping[str, Any]) -> ToolEnv:
    """Return the environment. Raises `ConfigurationError` if it is not one of texts, or an argument is invalid."""
    env = make_env(env_id, arguments).unwrapped
    if not isinstance(env, ToolEnv):
        raise ConfigurationError(f"env={env_id}: must be a text environment, such as StepTool/ToolWorld-v0")
    return env


def check_format(env: ToolEnv, *, native: bool) -> None:
    """Raise `ConfigurationError` unless the functions are described to the model exactly once.

    Args:
        env: The environment.
        native: The partner gives the functions to the model's chat template; else the prompt has to describe them.
    """
    found = env.config.format
    if native and not found.native:
        raise ConfigurationError(
            f"format={found.name!r}: the chat template describes the functions; use 'hermes', or the model's own format"
        )
    if found.native and not native:
        raise ConfigurationError(
            f"format={found.name!r}: the chat template gets no functions, and the prompt would not describe them; use "
            "'react'"
        )

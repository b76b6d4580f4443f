"""Tasks as environments of SkyRL-Gym: a message of the model is a step, and each step has its reward.

Importing the module registers the environment `steptool` with SkyRL-Gym. A row of the data set names its task and the
arguments of the environment, so that both always fit; `dataset_rows` makes them.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import skyrl_gym
from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput

from steptool_env.errors import ConfigurationError, ToolTransportError
from steptool_env.integrations.attempts import Attempt, check_format, make_text_env, task_rows

NAME = "steptool"
"""Id of the environment, the value of the column `env_class`."""


class ToolTextEnv(BaseTextEnv):  # type: ignore[misc]
    """One episode of a task.

    A reward is that of its step. The metadata of the last step has `step_rewards`, the rewards in hindsight, and
    `outcome`.

    Args:
        env_config: Settings of SkyRL for this environment; not read.
        extras: Columns of the row: `task` (id), `env_id`, `env_args` (JSON text), `episode_seed` (default 0). SkyRL
            adds `max_turns`; an episode that it ends before its call budget is judged on what was done.

    Raises:
        ConfigurationError: A column is missing or invalid.
    """

    def __init__(self, env_config: Any, extras: Mapping[str, Any]) -> None:
        super().__init__()
        del env_config
        if missing := {"task", "env_id", "env_args"} - extras.keys():
            raise ConfigurationError(f"columns {', '.join(sorted(missing))}: missing; make the rows with dataset_rows")
        self._attempt = Attempt(str(extras["env_id"]), json.loads(extras["env_args"]))
        self._task, self._seed = str(extras["task"]), int(extras.get("episode_seed", 0))
        self.max_turns = int(extras.get("max_turns", self._attempt.env.config.call_budget))

    def init(self, prompt: list[dict[str, str]]) -> tuple[list[dict[str, str]], dict[str, Any]]:
        """Start the episode. Return the prompt, and the information of `ToolEnv.reset`."""
        self.turns = 0
        return prompt, self._attempt.reset(self._task, self._seed)

    def step(self, action: str) -> BaseTextEnvStepOutput:
        """Take a step.

        Raises:
            ToolTransportError: The tools are unreachable: the episode has no score.
        """
        self.turns += 1
        attempt = self._attempt
        last = attempt.step(action)
        if self.turns >= self.max_turns:
            attempt.end()
        if attempt.lost:
            raise ToolTransportError(attempt.lost)
        ended = ("trajectory", "step_rewards", "outcome")
        metadata = {key: value for key, value in last.info.items() if key not in ended}
        if attempt.over:
            metadata |= {"step_rewards": list(attempt.rewards), "outcome": dict(attempt.outcome)}
        observations = [] if attempt.over else [{"role": "user", "content": last.observation}]
        return BaseTextEnvStepOutput(
            observations=observations, reward=float(last.reward), done=attempt.over, metadata=metadata
        )

    def get_metrics(self) -> dict[str, float]:
        """Return `is_solved`, the number of calls and the sum of the rewards in hindsight."""
        attempt = self._attempt
        return {"is_solved": attempt.solved, "calls": float(len(attempt.rewards)), "return": sum(attempt.rewards)}

    def close(self) -> None:
        """Close the environment."""
        self._attempt.close()


def dataset_rows(
    tasks: int | Iterable[int | str], *, env_id: str = "StepTool/ToolWorld-v0", **arguments: Any
) -> list[dict[str, Any]]:
    """Return the rows of a data set for SkyRL, for example for `pandas.DataFrame(rows).to_parquet(path)`.

    Args:
        tasks: Ids or indices of the tasks, or the number of the first ones.
        env_id: Id of a text environment.
        arguments: Arguments of `gym.make`. The call format is one that the prompt describes, such as the default.

    Raises:
        ConfigurationError: An argument or a task is invalid.
    """
    env = make_text_env(env_id, arguments)
    check_format(env, native=False)
    common = {"env_class": NAME, "env_id": env_id, "env_args": json.dumps(arguments)}
    rows = [{**row, **common} for row, _ in task_rows(env, tasks)]
    env.close()
    return rows


skyrl_gym.register(id=NAME, entry_point="steptool_env.integrations.skyrl:ToolTextEnv")

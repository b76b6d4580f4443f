"""Tasks as an environment of verifiers: `vf-eval steptool-toolworld`, once `deploy/verifiers` is installed.

The environment answers the model's messages turn by turn, as text: a message is a step, whatever the model writes. The
rewards of the steps, in hindsight, are in `trace.info`, from where an algorithm can give each turn its own advantage.
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import verifiers.v1 as vf
from pydantic import Field

from steptool_env.errors import ToolTransportError
from steptool_env.integrations.attempts import Attempt, check_format, make_text_env, task_rows

INFO = "steptool"
"""Key of the episode in `trace.info`: `step_rewards`, `reward_terms` of each step, and `outcome`."""


class ToolTasksetConfig(vf.TasksetConfig):  # type: ignore[misc]
    """Settings of the tasks, `--env.taskset.NAME VALUE`."""

    env_id: str = "StepTool/ToolWorld-v0"
    """Id of a text environment."""
    env_args: dict[str, Any] = Field(default_factory=lambda: {"split": "validation"})
    """Arguments of `gym.make`."""
    tasks: int = Field(100, ge=1)
    """Number of tasks, from the first one on."""


class ToolTaskData(vf.TaskData):  # type: ignore[misc]
    """A task on the wire, without its solution."""

    env_id: str
    env_args: dict[str, Any]


class ToolTask(vf.Task[ToolTaskData]):  # type: ignore[misc]
    """Scores of an episode that `ToolTaskEnv` has played."""

    @property
    def key(self) -> str:
        """Id of the task."""
        return str(self.data.id)

    @vf.reward  # type: ignore[untyped-decorator]
    async def steps(self, trace: vf.Trace) -> float:
        """Sum of the step rewards."""
        return float(sum(_episode_of(trace)["step_rewards"]))

    @vf.metric  # type: ignore[untyped-decorator]
    async def outcome(self, trace: vf.Trace) -> dict[str, float]:
        """Numbers of the outcome, such as `is_solved`, and the number of calls."""
        episode = _episode_of(trace)
        numbers = {name: float(value) for name, value in episode["outcome"].items() if isinstance(value, int | float)}
        return {"is_solved": 0.0, **numbers, "calls": float(len(episode["step_rewards"]))}


class ToolTaskset(vf.Taskset[ToolTask, ToolTasksetConfig]):  # type: ignore[misc]
    """Tasks of a text environment.

    Raises:
        ConfigurationError: A setting is invalid.
    """

    def load(self) -> Iterator[ToolTask]:
        """Yield the tasks."""
        config = self.config
        env = make_text_env(config.env_id, config.env_args)
        check_format(env, native=False)
        for row, _ in task_rows(env, config.tasks):
            system, user = (message["content"] for message in row["prompt"])
            data = ToolTaskData(
                id=row["task"], prompt=user, system_prompt=system, env_id=config.env_id, env_args=config.env_args
            )
            yield ToolTask(data, config.task)
        env.close()


class ToolEnvConfig(vf.EnvConfig):  # type: ignore[misc]
    """Settings of the environment: the agent that plays."""

    player: vf.AgentConfig = vf.AgentConfig(harness={"id": "null"}, runtime={"type": "subprocess"})
    """The agent. Its harness has no tools; the environment answers its messages."""


class ToolTaskEnv(vf.Env[ToolEnvConfig]):  # type: ignore[misc]
    """One episode: the model's message is an action, and the tool's answer the next message of the user.

    Unreachable tools are an error of the episode, which verifiers can retry, and no reward.
    """

    async def run(self, task: ToolTask, agents: vf.Agents) -> None:
        """Play a task."""
        attempt = Attempt(task.data.env_id, task.data.env_args)
        terms: list[Mapping[str, float]] = []
        try:
            await asyncio.to_thread(attempt.reset, task.data.id)
            async with agents.player.interaction(task) as interaction:
                segment = await interaction.turn()
                while not segment.terminated:
                    last = await asyncio.to_thread(attempt.step, segment.last_reply)
                    terms.append(last.info.get("reward_terms", {}))
                    if attempt.over:
                        break
                    segment = await interaction.turn(last.observation)
                attempt.end()
                if attempt.lost:
                    raise ToolTransportError(attempt.lost)
                interaction.trace.info[INFO] = {
                    "step_rewards": list(attempt.rewards),
                    "reward_terms": [dict(each) for each in terms],
                    "outcome": dict(attempt.outcome),
                }
        finally:
            attempt.close()


def _episode_of(trace: vf.Trace) -> Mapping[str, Any]:
    """Return the episode of a trace; an empty one where the run failed before its end."""
    empty: dict[str, Any] = {"step_rewards": [], "reward_terms": [], "outcome": {}}
    found: Mapping[str, Any] = trace.info.get(INFO, empty)
    return found

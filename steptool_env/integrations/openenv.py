"""Environments over the protocol of OpenEnv: as texts, or as MCP tools that change with the task.

Every WebSocket session has an episode of its own. Rewards, terms and the rewards in hindsight are in the metadata of
the observations; the task API gives the suite; a snapshot, given to `reset` as `injected_state`, continues an episode.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import FastAPI
from fastmcp import FastMCP
from fastmcp.client.client import CallToolResult
from fastmcp.tools.base import Tool, ToolResult
from mcp.types import TextContent
from openenv.core.env_server.http_server import create_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.mcp_environment import MCPEnvironment
from openenv.core.env_server.mcp_types import CallToolAction, CallToolObservation
from openenv.core.env_server.types import Action, EnvironmentMetadata, Observation, State
from pydantic import Field, PrivateAttr

from steptool_env.env import ToolEnv
from steptool_env.episodes.episode import Transition
from steptool_env.errors import ConfigurationError, ToolTransportError
from steptool_env.integrations.attempts import failed, make_text_env
from steptool_env.toolworld import SPLITS
from steptool_env.types import Task
from toolserver.service.info import package_version

NAME = "steptool"
"""Name of the environment in the task API."""

_SETS = ("G1_instruction", "G1_category", "G1_tool", "G2_instruction", "G2_category", "G3_instruction")
_SPLITS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "StepTool/ToolWorld-v0": ("split", tuple(SPLITS)),
    "StepTool/StableToolBench-v0": ("suite", _SETS),
}
"""Argument that chooses the split, and its values, by environment."""
MOST_TASKS = 1000
"""Maximum number of tasks in one answer of the task API."""
_TRAINING = ("train", "demonstrations", "practice")


class TextAction(Action):  # type: ignore[misc]
    """A call in the environment's format, or any other text."""

    text: str = Field(description="Action as text, in the call format of the environment.")


class TextObservation(Observation):  # type: ignore[misc]
    """A text of the environment. `metadata` has its `info`."""

    text: str = Field(description="Prompt after a reset, answer of the tool after a step.")


class EpisodeState(State):  # type: ignore[misc]
    """State of an episode."""

    task_id: str = Field("", description="Id of the task.")
    calls_left: int = Field(0, description="Steps that remain in the budget.")
    snapshot: str = Field("", description="Snapshot, for `injected_state` of a reset. It holds no reference solution.")


class Session:
    """One episode at a time of an environment, with its tasks.

    Args:
        env_id: Id of the environment.
        arguments: Arguments of `gym.make`.
    """

    def __init__(self, env_id: str, arguments: Mapping[str, Any]) -> None:
        self._env_id = env_id
        self._arguments = dict(arguments)
        self._split_argument, self._splits = _SPLITS.get(env_id, ("", ()))
        self._default = make_text_env(env_id, self._arguments)
        self._made = {self._default.suite.name: self._default}  # by split
        self._env = self._default
        self.episode_id: str | None = None

    @property
    def env(self) -> ToolEnv:
        """Environment of the current episode."""
        return self._env

    def reset(
        self,
        seed: int | None,
        episode_id: str | None,
        split: str | None = None,
        index: int | None = None,
        task: str | None = None,
        episode_seed: int | None = None,
        injected_state: str | None = None,
    ) -> tuple[str, dict[str, Any]]:
        """Start an episode, or continue the one of a snapshot. Return the prompt and its info.

        Without `split` it is an episode of the session's own arguments, whatever the episodes before it. After an
        error the running episode goes on. A snapshot has its task and its seeds, so that those given beside it have no
        effect.

        Raises:
            ConfigurationError: An argument is invalid.
            DataError: The snapshot is damaged, or of another environment.
        """
        if not isinstance(injected_state, str | None):
            raise ConfigurationError(f"injected_state={injected_state!r:.80}: must be text, the `snapshot` of a state")
        env = self._of(split)
        if injected_state is None:
            chosen = task if index is None else index
            options = {"task": chosen, "episode_seed": episode_seed}
            prompt, info = env.reset(seed=seed, options={key: v for key, v in options.items() if v is not None})
        else:
            env.restore(injected_state.encode())
            prompt, info = env.episode.observation, env.episode.prompt()[1]
            functions = env.episode.functions  # those of the prompt, and what later turns have added
            info |= {"functions": functions, "tools": [{"type": "function", "function": each} for each in functions]}
        self._env, self.episode_id = env, episode_id  # only now: a refused reset raises above
        return prompt, info

    def step(self, text: str) -> tuple[Transition, dict[str, Any]]:
        """Take a step. Return the transition and its metadata: the info as JSON values, with how the episode ended.

        Raises:
            ToolTransportError: The tools are unreachable: the episode has no score.
        """
        last = self._env.step(text)
        if "transport_error" in last.info:
            raise ToolTransportError(last.info["transport_error"])
        metadata = {key: value for key, value in last.info.items() if key != "trajectory"}
        metadata |= {"terminated": last.terminated, "truncated": last.truncated}
        if "step_rewards" in metadata:
            metadata["step_rewards"] = list(metadata["step_rewards"])
        return last, metadata

    def state(self) -> EpisodeState:
        """State of the episode; empty before the first reset."""
        if self._env._episode is None:
            return EpisodeState(episode_id=self.episode_id)
        episode = self._env.episode
        return EpisodeState(
            episode_id=self.episode_id,
            step_count=len(episode.steps),
            task_id=episode.task.id,
            calls_left=episode.calls_left,
            snapshot=self._env.snapshot().decode(),
        )

    def list_splits(self) -> list[dict[str, str]]:
        """Return the splits with their types."""
        names = self._splits or (self._default.suite.name,)
        return [{"name": name, "type": _type_of(name)} for name in names]

    def num_tasks(self, split: str) -> int:
        """Return the number of tasks of a split."""
        return len(self._of(split).suite)

    def get_task(self, split: str, index: int) -> dict[str, Any]:
        """Return a task without its solution. Raises `IndexError` beyond the end."""
        suite = self._of(split).suite
        if not 0 <= index < len(suite):
            raise IndexError(index)
        return _described(suite.task(index), split, index)

    def get_task_range(self, split: str, start: int | None, stop: int | None) -> list[dict[str, Any]]:
        """Return the tasks of a slice, at most `MOST_TASKS` of them.

        Raises:
            ConfigurationError: The slice is longer.
        """
        indices = range(*slice(start, stop).indices(self.num_tasks(split)))
        if len(indices) > MOST_TASKS:
            raise ConfigurationError(f"start, stop: {len(indices)} tasks; ask for at most {MOST_TASKS} at a time")
        return [self.get_task(split, index) for index in indices]

    def _of(self, split: str | None) -> ToolEnv:
        if split is None:
            return self._default
        if split not in (*self._splits, *self._made):
            known = ", ".join(self._splits or (self._default.suite.name,))
            raise ConfigurationError(f"split={split!r}: must be one of {known}")
        if split not in self._made:
            self._made[split] = make_text_env(self._env_id, {**self._arguments, self._split_argument: split})
        return self._made[split]

    def close(self) -> None:
        """Close the environments."""
        for env in self._made.values():
            env.close()


class _Tasks:
    """Base of both environments: session, state, metadata and task API."""

    SUPPORTS_CONCURRENT_SESSIONS = True
    session: Session

    def close(self) -> None:
        """Close the connections of the session."""
        self.session.close()
        super().close()  # type: ignore[misc]

    @property
    def state(self) -> EpisodeState:
        """See `Session.state`."""
        return self.session.state()

    def get_metadata(self) -> EnvironmentMetadata:
        """Return name, description and version."""
        text = (type(self.session.env).__doc__ or "").split("##")[0]
        return EnvironmentMetadata(name=NAME, description=" ".join(text.split()), version=package_version())

    def list_splits(self) -> list[dict[str, str]]:
        """See `Session.list_splits`."""
        return self.session.list_splits()

    def num_tasks(self, split: str) -> int:
        """See `Session.num_tasks`."""
        return self.session.num_tasks(split)

    def get_task(self, split: str, index: int) -> dict[str, Any]:
        """See `Session.get_task`."""
        return self.session.get_task(split, index)

    def get_task_range(self, split: str, start: int | None = None, stop: int | None = None) -> list[dict[str, Any]]:
        """See `Session.get_task_range`."""
        return self.session.get_task_range(split, start, stop)


class TextEnvironment(_Tasks, Environment):  # type: ignore[misc]
    """Environment of OpenEnv whose actions and observations are the texts of the Gymnasium environment."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def reset(self, seed: int | None = None, episode_id: str | None = None, **options: Any) -> TextObservation:
        """Start an episode; see `Session.reset` for the options."""
        prompt, info = self.session.reset(seed, episode_id, **options)
        return TextObservation(text=prompt, done=self.session.env.episode.over, metadata=info)

    def step(self, action: TextAction, timeout_s: float | None = None, **_: Any) -> TextObservation:
        """Take a step."""
        del timeout_s
        last, metadata = self.session.step(action.text)
        done = last.terminated or last.truncated
        return TextObservation(text=last.observation, reward=float(last.reward), done=done, metadata=metadata)


class _EpisodeTool(Tool):  # type: ignore[misc]
    """One function of the current task."""

    _call: Callable[[str, dict[str, Any]], Awaitable[CallToolObservation]] = PrivateAttr()

    async def run(self, arguments: dict[str, Any]) -> ToolResult:
        result = (await self._call(self.name, arguments)).result
        return ToolResult(content=result.content, is_error=result.is_error)


class ToolsEnvironment(_Tasks, MCPEnvironment):  # type: ignore[misc]
    """Environment of OpenEnv whose actions are MCP calls. The tools are the functions that are now offered.

    A mistake of the model is the result of its call, as in the text environment: it costs a step and is scored.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(FastMCP(NAME))
        self.session = session
        self._offered: list[str] = []
        # OpenEnv awaits calls in the event loop of all sessions; a thread takes those of this one, in their order.
        self._thread = ThreadPoolExecutor(1)

    def close(self) -> None:
        """End the thread after the call in progress, and close the session."""
        self._thread.shutdown()
        super().close()

    def reset(self, seed: int | None = None, episode_id: str | None = None, **options: Any) -> TextObservation:
        """Start an episode; see `Session.reset` for the options. The text is the query."""
        _, info = self.session.reset(seed, episode_id, **options)
        self._offer(info["functions"])
        done = self.session.env.episode.over
        return TextObservation(text=info["messages"][-1]["content"].strip(), done=done, metadata=info)

    def _offer(self, functions: Sequence[Mapping[str, Any]]) -> None:
        """Replace the tools."""
        for name in self._offered:
            self.mcp_server.local_provider.remove_tool(name)
        by_name = {function["name"]: function for function in reversed(functions)}  # the first one counts
        self._offered = list(by_name)[::-1]
        for name in self._offered:
            function = by_name[name]
            tool = _EpisodeTool(name=name, description=function["description"], parameters=function["parameters"])
            tool._call = self._take
            self.mcp_server.add_tool(tool)

    async def _async_handle_call_tool(
        self, action: CallToolAction, timeout_s: float | None = None
    ) -> CallToolObservation:
        del timeout_s
        return await self._take(action.tool_name, action.arguments)

    async def _take(self, name: str, arguments: dict[str, Any]) -> CallToolObservation:
        """Take the step of a call."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._step_call, name, arguments)

    def _step_call(self, name: str, arguments: dict[str, Any]) -> CallToolObservation:
        text = self.session.env.config.format.render(name, arguments)
        last, metadata = self.session.step(text)
        if "functions" in metadata:  # a turn begins
            self._offer(metadata["functions"])
        result = CallToolResult(
            content=[TextContent(type="text", text=last.observation)],
            structured_content={"result": last.observation},
            meta=None,
            data=last.observation,
            is_error=failed(metadata),
        )
        done = last.terminated or last.truncated
        return CallToolObservation(
            tool_name=name, result=result, reward=float(last.reward), done=done, metadata=metadata
        )

    def _step_impl(self, action: Action, timeout_s: float | None = None, **_: Any) -> Observation:
        del timeout_s
        raise ConfigurationError(f"action {type(action).__name__}: must be call_tool or list_tools")


def make_app(
    env_id: str = "StepTool/ToolWorld-v0",
    arguments: Mapping[str, Any] | None = None,
    *,
    tools: bool = False,
    sessions: int = 64,
) -> FastAPI:
    """Return the application that serves an environment to OpenEnv's clients.

    Args:
        env_id: Id of a text environment.
        arguments: Arguments of `gym.make`.
        tools: Serve the functions of the task as MCP tools, instead of texts.
        sessions: Maximum number of concurrent episodes.

    Raises:
        ConfigurationError: An argument is invalid.
    """
    given = {"format": "openai", **(arguments or {})} if tools else dict(arguments or {})
    Session(env_id, given)  # reports an error now, not to the first client
    kind = ToolsEnvironment if tools else TextEnvironment
    app: FastAPI = create_app(
        lambda: kind(Session(env_id, given)),
        CallToolAction if tools else TextAction,
        CallToolObservation if tools else TextObservation,
        env_name=NAME,
        max_concurrent_envs=sessions,
        state_cls=EpisodeState,
        reset_observation_cls=TextObservation,
    )
    return app


def _type_of(split: str) -> str:
    return "train" if split in _TRAINING else "validation" if split == "validation" else "test"


def _described(task: Task, split: str, index: int) -> dict[str, Any]:
    return {
        "id": task.id,
        "split": split,
        "index": index,
        "query": task.query,
        "tools": [spec.function_name for spec in task.tools],
    }

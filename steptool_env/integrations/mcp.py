"""A task as a server of the Model Context Protocol, over standard input and output.

One process is one session and one episode: any agent that takes MCP tools plays it, and its steps are scored.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import anyio
import anyio.to_thread
import gymnasium as gym
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    ListToolsResult,
    PaginatedRequestParams,
    Prompt,
    PromptMessage,
    TextContent,
)

from steptool_env.formats import make_format
from steptool_env.integrations.attempts import failed
from steptool_env.types import Trajectory
from toolserver.catalog.api_schema import StatusCode
from toolserver.mcp.results import as_tool, page_of, result_of
from toolserver.service.info import package_version

PROMPT = "task"
"""Name of the prompt: the query of the task."""

_PAGE = 200
_SCORES = ("reward", "reward_terms", "step_rewards", "outcome")


class TaskServer:
    """MCP server of one episode of one task.

    `tools/list` gives the functions of the task, `Finish` included; `tools/call` takes a step of the environment, whose
    observation is the text of the result; the prompt `task` has the query. A failed step has `isError`. The structured
    content has `status`, `provenance`, `reward`, `reward_terms`, `calls_left` and, of the last step, `step_rewards` and
    `outcome`.

    Args:
        env: Text environment, such as `StepTool/ToolWorld-v0`. A native call format keeps the functions out of the
            prompt.
        task: Id or index of the task.
        episode_seed: Seed of the tools' state.
        rewards: Place of rewards and outcome: in the structured content, which some hosts show to their model, or in
            `_meta` under `steptool/scores`.
        on_end: Called with the trajectory when the episode is over, or the session ends.

    Raises:
        ConfigurationError: The task is unknown.
    """

    def __init__(
        self,
        env: gym.Env[str, str],
        task: str | int,
        *,
        episode_seed: int = 0,
        rewards: Literal["structured", "meta"] = "structured",
        on_end: Callable[[Trajectory], None] = lambda _: None,
    ) -> None:
        self._env = env
        _, info = env.reset(seed=0, options={"task": task, "episode_seed": episode_seed})
        self._format = make_format(info["format"])
        self._tools = [as_tool(function) for function in info["functions"]]
        system, user = (message["content"] for message in info["messages"])
        self._prompt = f"{system}\n\n{user.strip()}"
        self._rewards = rewards
        self._on_end = on_end
        self._over = False
        self._lock = anyio.Lock()
        self.server: Server[Any] = Server(
            "steptool",
            version=package_version(),
            instructions=system,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_list_prompts=self._list_prompts,
            on_get_prompt=self._get_prompt,
        )

    async def serve(self) -> None:
        """Serve on standard input and output until the client closes them."""
        try:
            async with stdio_server() as (read, write):
                await self.server.run(read, write, self.server.create_initialization_options())
        finally:
            self.close()

    def close(self) -> None:
        """End the session. An episode that is not over is truncated and judged on what was done."""
        if not self._over:
            self._end(self._env.get_wrapper_attr("truncate")())
        self._env.close()

    async def _list_tools(self, _context: Any, params: PaginatedRequestParams | None) -> ListToolsResult:
        return page_of(self._tools, params.cursor if params else None, _PAGE)

    async def _list_prompts(self, _context: Any, _params: PaginatedRequestParams | None) -> ListPromptsResult:
        return ListPromptsResult(prompts=[Prompt(name=PROMPT, description="Query of the task.")])

    async def _get_prompt(self, _context: Any, params: GetPromptRequestParams) -> GetPromptResult:
        if params.name != PROMPT:
            raise ValueError(f"no prompt {params.name!r}; there is {PROMPT!r}")
        return GetPromptResult(messages=[PromptMessage(role="user", content=TextContent(text=self._prompt))])

    async def _call_tool(self, _context: Any, params: CallToolRequestParams) -> CallToolResult:
        action = self._format.render(params.name, params.arguments or {})
        async with self._lock:  # a step at a time, in the order of the requests
            if self._over:
                return result_of("The episode is over.", {"status": int(StatusCode.BAD_INPUT)}, is_error=True, meta={})
            observation, reward, terminated, truncated, info = await anyio.to_thread.run_sync(self._env.step, action)
            if terminated or truncated:
                self._end(info)
        facts = {key: value for key, value in info.items() if key != "trajectory"}
        facts |= {"reward": reward, "terminated": terminated, "truncated": truncated}
        scores: dict[str, Any] = _plain({key: facts.pop(key) for key in _SCORES if key in facts})
        structured, meta = _plain(facts), {}
        if self._rewards == "structured":
            structured |= scores
        else:
            meta["steptool/scores"] = scores
        return result_of(observation, structured, is_error=failed(info), meta=meta)

    def _end(self, info: Mapping[str, Any]) -> None:
        self._over = True
        self._on_end(info["trajectory"])


def _plain(value: Any) -> Any:
    """Return a JSON value: tuples as lists, and what is not a finite number as `None`."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

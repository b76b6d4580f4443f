"""Episodes of tasks as servers of the Model Context Protocol.

Any agent that takes MCP tools plays them, and its steps are scored.
"""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, cast

import anyio
import anyio.to_thread
import gymnasium as gym
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
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

from steptool_env.episodes.episode import Transition
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


class TaskSession(Protocol):
    """Episode of a task that an agent plays by calls.

    Attributes:
        functions: Functions that are now offered, in OpenAI's schema. A later turn of the user may add some.
        messages: Prompt of the task: the system's message, if any, and the user's.
    """

    functions: Sequence[Mapping[str, Any]]
    messages: Sequence[Mapping[str, str]]

    def call(self, name: str, arguments: Mapping[str, Any]) -> Transition | None:
        """Call a function: one step of the environment, at any time from any thread. `None` when the episode is over.

        Raises:
            ToolTransportError: The tools cannot be reached.
        """


class EnvSession:
    """Episode of one task in an environment. See `TaskSession`.

    Args:
        env: Text environment, such as `StepTool/ToolWorld-v0`. A native call format keeps the functions out of the
            prompt.
        task: Id or index of the task.
        episode_seed: Seed of the tools' state.
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
        on_end: Callable[[Trajectory], None] = lambda _: None,
    ) -> None:
        self._env, self._on_end = env, on_end
        _, info = env.reset(seed=0, options={"task": task, "episode_seed": episode_seed})
        self.functions, self.messages = info["functions"], info["messages"]
        self._format = make_format(info["format"])
        self._over = False
        self._lock = threading.Lock()

    def call(self, name: str, arguments: Mapping[str, Any]) -> Transition | None:
        """See `TaskSession.call`."""
        action = self._format.render(name, arguments)
        with self._lock:  # a step at a time, in the order of the requests
            if self._over:
                return None
            transition = Transition(*cast(Any, self._env.step(action)))
            self.functions = transition.info.get("functions", self.functions)
            if transition.terminated or transition.truncated:
                self._end(transition.info)
        return transition

    def close(self) -> None:
        """End the session. An episode that is not over is truncated and judged on what was done."""
        if not self._over:
            self._end(self._env.get_wrapper_attr("truncate")())
        self._env.close()

    def _end(self, info: Mapping[str, Any]) -> None:
        self._over = True
        self._on_end(info["trajectory"])


class TaskServer:
    """MCP server of episodes.

    `tools/list` gives the functions that are now offered, `Finish` included; `tools/call` takes a step of the
    environment, whose observation is the text of the result; the prompt `task` has the query. A failed step has
    `isError`. The structured content has `status`, `provenance`, `reward`, `reward_terms`, `calls_left` and, of the
    last step, `step_rewards` and `outcome`.

    Args:
        find: Session of a request, given its context. It raises `ValueError` for a request of no session.
        instructions: Instructions of the server.
        rewards: Place of rewards and outcome: in the structured content, which some hosts show to their model, or in
            `_meta` under `steptool/scores`.
        notifies: Tell clients when a call has changed the functions, by `notifications/tools/list_changed`, which a
            client of the protocol of 2026-07-28 gets by `subscriptions/listen`. The server has one session, and its
            transport carries messages of the server.
    """

    def __init__(
        self,
        find: Callable[[Any], TaskSession],
        *,
        instructions: str | None = None,
        rewards: Literal["structured", "meta"] = "structured",
        notifies: bool = False,
    ) -> None:
        self._find, self._rewards, self._notifies = find, rewards, notifies
        self._subscribers = InMemorySubscriptionBus()
        self.server: Server[Any] = Server(
            "steptool",
            version=package_version(),
            instructions=instructions,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_subscriptions_listen=ListenHandler(self._subscribers) if notifies else None,
            on_list_prompts=self._list_prompts,
            on_get_prompt=self._get_prompt,
        )

    async def _list_tools(self, context: Any, params: PaginatedRequestParams | None) -> ListToolsResult:
        tools = [as_tool(function) for function in self._find(context).functions]
        return page_of(tools, params.cursor if params else None, _PAGE)

    async def _list_prompts(self, _context: Any, _params: PaginatedRequestParams | None) -> ListPromptsResult:
        return ListPromptsResult(prompts=[Prompt(name=PROMPT, description="Query of the task.")])

    async def _get_prompt(self, context: Any, params: GetPromptRequestParams) -> GetPromptResult:
        if params.name != PROMPT:
            raise ValueError(f"no prompt {params.name!r}; there is {PROMPT!r}")
        *system, user = (message["content"] for message in self._find(context).messages)
        text = "\n\n".join([*system, user.strip()])
        return GetPromptResult(messages=[PromptMessage(role="user", content=TextContent(text=text))])

    async def _call_tool(self, context: Any, params: CallToolRequestParams) -> CallToolResult:
        session = self._find(context)
        before = session.functions
        transition = await anyio.to_thread.run_sync(session.call, params.name, params.arguments or {})
        if transition is None:
            return result_of("The episode is over.", {"status": int(StatusCode.BAD_INPUT)}, is_error=True, meta={})
        if self._notifies and session.functions != before:
            # Each reaches the clients of one protocol: that of 2026-07-28, and those before it.
            await self._subscribers.publish(ToolsListChanged())
            await context.session.send_tool_list_changed()
        facts = {key: value for key, value in transition.info.items() if key != "trajectory"}
        facts |= {"reward": transition.reward, "terminated": transition.terminated, "truncated": transition.truncated}
        scores: dict[str, Any] = _plain({key: facts.pop(key) for key in _SCORES if key in facts})
        structured, meta = _plain(facts), {}
        if self._rewards == "structured":
            structured |= scores
        else:
            meta["steptool/scores"] = scores
        return result_of(transition.observation, structured, is_error=failed(transition.info), meta=meta)


async def serve_stdio(session: EnvSession, rewards: Literal["structured", "meta"] = "structured") -> None:
    """Serve a session on standard input and output until the client closes them, then close it."""
    instructions = next((each["content"] for each in session.messages if each["role"] == "system"), None)
    server = TaskServer(lambda _: session, instructions=instructions, rewards=rewards, notifies=True).server
    options = server.create_initialization_options(NotificationOptions(tools_changed=True))
    try:
        async with stdio_server() as (read, write):
            await server.run(read, write, options)
    finally:
        session.close()


def _plain(value: Any) -> Any:
    """Return a JSON value: tuples as lists, and what is not a finite number as `None`."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""Harness: an agent of another framework, which plays an episode with the policy behind OpenAI's API.

A harness is a function, plain or `async`, that is called once per episode with a `HarnessTask`:

    def play(task):
        client = OpenAI(base_url=task.base_url, api_key=task.api_key)
        ...

Its tools step the environment: `task.call(name, arguments)`, the MCP server at `task.mcp_url`, or `task.step(text)` for
agents that read calls in the text. A text that it returns ends the episode as the agent's answer, as the function
`Finish` does. Episodes are played at the same time, in threads.
"""

import asyncio
import inspect
import threading
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from agents.gateway.episode import OVER, Event, HarnessEnd, HarnessEpisode
from steptool_env.errors import ConfigurationError
from steptool_env.registry import Registry, install_hint

Harness = Callable[["HarnessTask"], Any]
HARNESSES: Registry[Any] = Registry("harness", {})
"""Harnesses have no short names: each is `module:function`."""


class HarnessTask:
    """Episode as a harness gets it.

    Attributes:
        base_url: Address of the policy for clients of OpenAI's API, of this episode alone.
        api_key: API key for clients that need one.
        model: Name of the model; every name is the policy.
        id: Id of the task.
        prompt: Query of the task, as the user's message.
        instructions: The system's message; empty where the environment has none. In the call format `react` it
            describes the functions.
        messages: Both as chat messages, for agents that read calls in the text.
    """

    model = HarnessEpisode.name

    def __init__(self, episode: HarnessEpisode, url: str, key: str) -> None:
        self._episode, self._url = episode, url
        self.base_url, self.api_key = f"{url}/v1", key
        self.id = episode.task_id
        self.messages = [dict(message) for message in episode.messages]
        self.prompt = self.messages[-1]["content"]
        self.instructions = "\n".join(each["content"] for each in self.messages if each["role"] == "system")

    @property
    def tools(self) -> list[dict[str, Any]]:
        """Functions that are now offered, in the form of OpenAI's API, `Finish` last. A later turn may add some."""
        return [{"type": "function", "function": dict(function)} for function in self._episode.functions]

    @property
    def mcp_url(self) -> str:
        """Address of the task's MCP server (streamable HTTP). Raises `ConfigurationError` without the extra `mcp`."""
        if not has_mcp():
            raise ConfigurationError(f"task.mcp_url needs the extra `mcp`: {install_hint('mcp')}; or use task.call")
        return f"{self._url}/mcp"

    @property
    def done(self) -> bool:
        """True when the episode is over: calls and chats then have no effect."""
        return self._episode.over or self._episode.closed

    def call(self, name: str, arguments: Mapping[str, Any] | str = "{}") -> str:
        """Call a function of the task. Return its result as text.

        The call is a step of the environment. A name that is not offered, or arguments that do not fit, are a step,
        too, whose result says so.

        Args:
            name: Name of the function.
            arguments: Arguments by name, or JSON text.

        Raises:
            ToolTransportError: The tools cannot be reached; the episode does not count.
        """
        transition = self._episode.call(name, arguments)
        return OVER if transition is None else transition.observation

    def step(self, text: str) -> str:
        """Take a step with a text in the environment's call format, such as an answer of the model. See `call`."""
        transition = self._episode.step(text)
        return OVER if transition is None else transition.observation


def start_harness(harness: Harness, task: HarnessTask, episode: HarnessEpisode, post: Callable[[Event], None]) -> None:
    """Call a harness in a thread, which posts its end."""

    def play() -> None:
        try:
            found = harness(task)
            answer = asyncio.run(_awaited(found)) if inspect.isawaitable(found) else found
        except BaseException as error:  # any error of a foreign agent is the end of its episode
            post(HarnessEnd(episode, "raised", error=f"{type(error).__name__}: {error}"))
        else:
            post(HarnessEnd(episode, "returned", answer if isinstance(answer, str) else None))

    threading.Thread(target=play, name=f"harness {task.id}", daemon=True).start()


async def _awaited(found: Any) -> Any:
    return await found


def has_mcp() -> bool:
    """Return whether the packages of the extra `mcp` are installed."""
    return find_spec("mcp_types") is not None

"""MCP: the functions that a later turn of a task offers."""

from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest

pytest.importorskip("mcp_types", reason="needs mcp 2: pip install 'steptool-env[mcp]'")
pytest.importorskip("fastmcp", reason="needs fastmcp, which `make test-integrations` installs")

from mcp import Client

from steptool_env.types import FINISH
from tests.integrations.mcp.test_mcp import called, connected, each_client, listed, task_command
from tests.steptool_env import toy_turns

TURNS = ("--env", toy_turns.ID, "--task", "toy-1")


@each_client
def test_the_functions_of_a_later_turn_are_listed_from_its_start(kind: str) -> None:
    async def session() -> None:
        async with connected(kind, task_command(*TURNS)) as client:
            for offered in (toy_turns.FIRST, toy_turns.FIRST, toy_turns.LAST):
                assert [tool.name for tool in await listed(client)] == offered
                result = await called(client, FINISH, toy_turns.DONE)
            assert result.structured_content["terminated"]

    anyio.run(session)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_client_gets_a_notification_when_the_functions_have_changed(mode: str) -> None:
    received: list[str] = []

    async def note(message: Any) -> None:
        received.append(getattr(message, "method", ""))

    async def session() -> None:
        async with Client(task_command(*TURNS), mode=mode, message_handler=note) as client, AsyncExitStack() as stack:
            assert client.server_capabilities.tools.list_changed
            if mode == "auto":  # by the protocol of 2026-07-28 a client subscribes
                await stack.enter_async_context(client.listen(tools_list_changed=True))
            for count in (0, 1):  # the second turn adds no function, the third one does
                await client.call_tool(FINISH, toy_turns.DONE)
                await client.list_tools()
                assert received.count("notifications/tools/list_changed") == count

    anyio.run(session)

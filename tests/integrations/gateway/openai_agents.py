"""An agent of OpenAI's Agents SDK with MCP tools. It runs where its package `agents` is not this project's.

Standard input is JSON: `base_url`, `api_key`, `mcp_url`, `instructions` and `prompt`. Standard output is its answer.
"""

import asyncio
import json
import sys

from agents.mcp import MCPServerStreamableHttp
from openai import AsyncOpenAI

from agents import Agent, OpenAIChatCompletionsModel, Runner, set_tracing_disabled


async def main() -> None:
    task = json.load(sys.stdin)
    set_tracing_disabled(True)
    client = AsyncOpenAI(base_url=task["base_url"], api_key=task["api_key"])
    async with MCPServerStreamableHttp({"url": task["mcp_url"]}, cache_tools_list=True) as server:
        model = OpenAIChatCompletionsModel("policy", client)
        agent = Agent("player", instructions=task["instructions"], model=model, mcp_servers=[server])
        result = await Runner.run(agent, task["prompt"])
    sys.stdout.write(str(result.final_output))


asyncio.run(main())

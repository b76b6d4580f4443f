"""Agents of other frameworks as harnesses, as their own guides write them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from agents.gateway.harness import HarnessTask

APART = Path(os.environ.get("STEPTOOL_OPENAI_AGENTS", Path(__file__).parents[3] / ".venvs" / "gateway" / "apart"))
"""Folder into which `make integrations` installs OpenAI's Agents SDK."""


def openai_tools(task: HarnessTask) -> str | None:
    """OpenAI's client with tools."""
    from openai import OpenAI

    messages: list[Any] = list(task.messages)
    with OpenAI(base_url=task.base_url, api_key=task.api_key) as client:
        while True:
            answer = client.chat.completions.create(model=task.model, messages=messages, tools=task.tools)
            message = answer.choices[0].message
            messages.append(message)
            if not message.tool_calls:
                return message.content
            for call in message.tool_calls:
                result = task.call(call.function.name, call.function.arguments)
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


def langgraph_react(task: HarnessTask) -> str | None:
    """LangGraph's ReAct agent."""
    from langchain_core.tools import StructuredTool
    from langchain_openai import ChatOpenAI
    from langgraph.prebuilt import create_react_agent

    def tool(function: dict[str, Any]) -> StructuredTool:
        def call(**arguments: Any) -> str:
            return task.call(function["name"], arguments)

        return StructuredTool.from_function(
            call, name=function["name"], description=function["description"], args_schema=function["parameters"]
        )

    model = ChatOpenAI(model=task.model, base_url=task.base_url, api_key=task.api_key)  # type: ignore[arg-type]
    agent = create_react_agent(model, [tool(each["function"]) for each in task.tools], prompt=task.instructions)
    state = agent.invoke({"messages": [("user", task.prompt)]})
    return str(state["messages"][-1].content)


def openai_agents(task: HarnessTask) -> str:
    """An agent of OpenAI's Agents SDK with MCP tools, in a process of its own: its package is named `agents`, too."""
    given = {name: getattr(task, name) for name in ("base_url", "api_key", "mcp_url", "instructions", "prompt")}
    command = [sys.executable, "-P", str(Path(__file__).with_name("openai_agents.py"))]
    environment = {**os.environ, "PYTHONPATH": str(APART)}
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, env=environment, timeout=60)
    if done.returncode:
        raise RuntimeError(done.stderr[-500:])
    return done.stdout.strip()

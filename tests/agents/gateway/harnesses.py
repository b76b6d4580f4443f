"""Harnesses of the tests: plain HTTP, as any client of OpenAI's API speaks it."""

import json
import queue
import threading
from typing import Any

import httpx

from agents.gateway.harness import HarnessTask

client = httpx.Client(timeout=60, limits=httpx.Limits())  # making one costs more than a request
released = threading.Event()
"""Ends `hanging`, so that no thread outlives the tests."""


def chat(task: HarnessTask, messages: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    body = {"model": "any", "messages": messages, **fields}
    answer = client.post(f"{task.base_url}/chat/completions", json=body)
    answer.raise_for_status()
    return dict(answer.json()["choices"][0]["message"])


def react(task: HarnessTask, role: str = "user") -> None:
    """Plays ReAct: the environment reads the calls in the text."""
    messages: list[dict[str, Any]] = list(task.messages)
    while not task.done:
        said = chat(task, messages)
        messages += [said, {"role": role, "content": task.step(said["content"])}]


def react_of_tools(task: HarnessTask) -> None:
    """`react` whose observations are messages of a tool, as in the native formats of chat models."""
    react(task, "tool")


async def react_async(task: HarnessTask) -> None:
    """`react` with an event loop of its own and a streamed answer."""
    messages: list[dict[str, Any]] = list(task.messages)
    async with httpx.AsyncClient(timeout=60) as own:
        while not task.done:
            body = {"model": "any", "messages": messages, "stream": True}
            text = ""
            async with own.stream("POST", f"{task.base_url}/chat/completions", json=body) as answer:
                async for line in answer.aiter_lines():
                    if line and line != "data: [DONE]":
                        delta = json.loads(line.removeprefix("data: "))["choices"][0]["delta"]
                        text += delta.get("content") or ""
            said = {"role": "assistant", "content": text}
            messages += [said, {"role": "user", "content": task.step(text)}]


def tools(task: HarnessTask) -> str | None:
    """Plays with tools and tool calls; a text without a call is the answer."""
    messages: list[dict[str, Any]] = list(task.messages)
    while True:
        said = chat(task, messages, tools=task.tools)
        messages.append(said)
        if not said.get("tool_calls"):
            return str(said["content"])
        for call in said["tool_calls"]:
            result = task.call(call["function"]["name"], call["function"]["arguments"])
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})


def unasked(task: HarnessTask) -> None:
    """Makes the first call by itself, and the second one with other arguments than the model asked for."""
    task.call(task.tools[0]["function"]["name"])
    (call,) = chat(task, task.messages, tools=task.tools)["tool_calls"]
    task.call(call["function"]["name"], {"extra": 1})


def forgetful(task: HarnessTask) -> None:
    """Rewrites its history: it never shows the model more than the last observation."""
    shown = task.prompt
    while not task.done:
        shown = task.step(chat(task, [{"role": "user", "content": shown}])["content"])


def retrying(task: HarnessTask) -> None:
    """Asks for every answer twice, and goes on with the second."""
    messages: list[dict[str, Any]] = list(task.messages)
    while not task.done:
        chat(task, messages)
        said = chat(task, messages)
        messages += [said, {"role": "user", "content": task.step(said["content"])}]


def raising(task: HarnessTask) -> None:
    task.step(chat(task, task.messages)["content"])
    raise RuntimeError("the agent's own error")


def hanging(task: HarnessTask) -> None:
    task.step(chat(task, task.messages)["content"])
    released.wait()


def idle(task: HarnessTask) -> None:
    """Asks the model, and takes no step."""
    chat(task, task.messages)


def silent(task: HarnessTask) -> str:
    return "I know it all."


def sometimes(task: HarnessTask) -> None:
    """Silent in one of two cases, else `react`."""
    if task.prompt == "y":
        raise ValueError("no y")
    react(task)


asked = threading.Event()
"""Set when the engine has a chat of `leaving`, whose status is then in `statuses`."""
statuses: queue.SimpleQueue[int] = queue.SimpleQueue()


def leaving(task: HarnessTask) -> None:
    """Goes away while a chat waits for its answer."""

    def ask() -> None:
        body = {"model": "any", "messages": task.messages}
        statuses.put(client.post(f"{task.base_url}/chat/completions", json=body).status_code)

    threading.Thread(target=ask).start()
    assert asked.wait(60)


def parting(task: HarnessTask) -> None:
    """Goes away after the first step."""
    task.step(chat(task, task.messages)["content"])

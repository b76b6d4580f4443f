"""Applications beside which the tool server is measured.

`make_reference` is StableToolBench's virtual API server on a cache hit, re-implemented. It does the work of
`server/main.py` in the same order: a synchronous handler, which FastAPI runs in a thread; a pydantic body; names
standardised by regular expressions; the whole JSON file of the API read and parsed; the call looked up under
`str(dict)` of its arguments; text printed to standard output; a dict without declared type as the response, which
FastAPI traverses and encodes. It has no upstream: a miss returns `{"error": "miss"}`.

`echo` is the lower bound of the cost of a response over ASGI.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

RECORDINGS_VARIABLE = "REFERENCE_RECORDINGS"
"""Environment variable with the folder of the reference: `<category>/<tool>_for_<category>/<api>.json`."""

_ECHO = b'{"error": "", "response": "' + b"x" * 300 + b'"}'
_ECHO_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_ECHO))]
_OUTSIDE = re.compile("[^\\u4e00-\\u9fa5^a-z^A-Z^0-9^_]")


class Info(BaseModel):
    """Request body of the reference."""

    category: str
    tool_name: str
    api_name: str
    tool_input: str | dict[str, Any]
    strip: str
    toolbench_key: str


async def echo(_scope: Scope, receive: Receive, send: Send) -> None:
    """Read the request and send about 300 bytes."""
    message = await receive()
    while message.get("more_body"):
        message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": _ECHO_HEADERS})
    await send({"type": "http.response.body", "body": _ECHO})


def make_reference() -> FastAPI:
    """Return the application of the folder that `RECORDINGS_VARIABLE` names."""
    app, folder = FastAPI(), Path(os.environ[RECORDINGS_VARIABLE])

    @app.post("/virtual", response_model=None)  # FastAPI would validate a declared type, in a thread
    def get_virtual_response(_request: Request, info: Info) -> dict[str, Any]:
        category, tool, api = _names(info)
        tool_input: Any = info.tool_input
        if api == "chat_with_user":
            return {"error": "", "response": "Chat with user."}
        try:
            tool_input = json.loads(tool_input)
        except Exception:
            if tool_input == "":
                tool_input = {}
            elif not isinstance(tool_input, dict):
                print(f"Can not parse tool input into json: {tool_input}")
                return {"error": "Tool input parse error...\n", "response": ""}
        file = folder / category / tool / f"{api}.json"
        if file.parent.parent.exists() and file.parent.exists() and file.exists():
            with file.open() as opened:
                cache = json.load(opened)
            if str(tool_input) in cache:
                print("using cached real response")
                answer: dict[str, Any] = cache[str(tool_input)]
                return answer
        return {"error": "miss", "response": ""}

    return app


def _names(info: Info) -> tuple[str, str, str]:
    category = info.category.replace(" ", "_").replace(",", "_").replace("/", "_").replace("__", "_")
    api = _change_name(_standardize(info.api_name)).split(f"_for_{info.tool_name}")[0]
    tool = info.tool_name
    if not tool.endswith(f"_for_{category}"):
        tool = _standardize(tool) + f"_for_{category}"
    return category, tool, api


def _standardize(name: str) -> str:
    text = re.sub(r"(_)\1+", "_", _OUTSIDE.sub("_", name)).lower().strip("_")
    return f"get_{text}" if text[:1].isdigit() else text


def _change_name(name: str) -> str:
    return f"is_{name}" if name in ["from", "class", "return", "false", "true", "id", "and"] else name

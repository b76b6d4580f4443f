"""A re-creation of StableToolBench's virtual API server on a hit, for comparison.

It does the work of the original `server/main.py` per request, in the same order: a synchronous handler, which FastAPI
runs on a thread; a pydantic body; names standardised by regular expressions; the whole JSON file of the API read and
parsed; the call looked up under `str(dict)` of its arguments; messages printed to standard output; a dict without a
declared type as the answer, which FastAPI encodes again. It has no upstream: a miss answers `{"error": "miss"}`.

    python -m benchmarks.speed.reference_server DIR --port 8000  (DIR has `<category>/<tool>_for_<category>/<api>.json`)
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import tyro
import uvicorn
from fastapi import FastAPI, Request
from pydantic import BaseModel

_OUTSIDE = re.compile("[^\\u4e00-\\u9fa5^a-z^A-Z^0-9^_]")


class Info(BaseModel):
    """The request, as the reference declares it."""

    category: str
    tool_name: str
    api_name: str
    tool_input: str | dict[str, Any]
    strip: str
    toolbench_key: str


def create_reference(folder: Path) -> FastAPI:
    """The application over a `tool_response_cache` folder."""
    app = FastAPI()

    @app.post("/virtual", response_model=None)  # FastAPI would check a declared type, on a thread once more
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


def main(folder: tyro.conf.Positional[Path], host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve the reference, as its own `main.py` does: uvicorn with its defaults.

    Example: `python -m benchmarks.speed.reference_server data/tool_response_cache --port 8001`

    Args:
        folder: A `tool_response_cache` folder.
        host: Address to listen on.
        port: Port to listen on.
    """
    if not folder.is_dir():
        raise SystemExit(f"error: {folder}: no such folder; give a `tool_response_cache` of StableToolBench")
    uvicorn.run(create_reference(folder), host=host, port=port)


if __name__ == "__main__":
    tyro.cli(main, prog="python -m benchmarks.speed.reference_server")

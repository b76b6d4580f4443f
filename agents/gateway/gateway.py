"""Server of the episodes of harnesses: the policy by OpenAI's API and the task by MCP, at an address per episode."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from secrets import token_urlsafe
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from agents.errors import HarnessError
from agents.gateway.chat import answer_chat
from agents.gateway.episode import HarnessEpisode, episode_ended
from agents.gateway.harness import HARNESSES, Harness, HarnessTask, has_mcp
from agents.gateway.protocol import ChatRequest
from agents.gateway.server import add_error_handlers, model_entry, models_body
from toolserver.http.own_pages import OwnPages
from toolserver.http.protocol import Http1Protocol

_START_SECONDS = 60.0


class Gateway:
    """Gateway of a run, on a free port of this machine, until `close`.

    Args:
        harness: Harness as `module:function`.
        seconds: Longest time of an episode.

    Attributes:
        harness: The function.
        seconds: Longest time of an episode.

    Raises:
        ConfigurationError: The harness cannot be imported.
    """

    def __init__(self, harness: str, seconds: float) -> None:
        self.harness: Harness = HARNESSES.factory(harness)
        self.seconds = seconds
        self._episodes: dict[str, HarnessEpisode] = {}
        self._server = _Server(OwnPages(_create_app(self._episodes), "localhost"))
        self._thread = threading.Thread(target=self._server.run, name="gateway", daemon=True)
        self._thread.start()
        if not self._server.listening.wait(_START_SECONDS):
            raise HarnessError("the gateway does not listen on 127.0.0.1; see the messages above")

    def open(self, episode: HarnessEpisode) -> HarnessTask:
        """Serve an episode. Return it as a harness gets it."""
        key = token_urlsafe(16)
        self._episodes[key] = episode
        return HarnessTask(episode, f"{self._server.url}/episodes/{key}", key)

    def close_episode(self, episode: HarnessEpisode) -> None:
        """Close an episode: its address is gone."""
        episode.close()
        for key in [key for key, each in self._episodes.items() if each is episode]:
            del self._episodes[key]

    def settle(self) -> None:
        """Wait until no closed episode is read: its codec, which no two threads may use at a time, is then free."""
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self._server.loop).result()

    def close(self) -> None:
        """Stop the server."""
        self._server.should_exit = True
        self._thread.join()


class _Server(uvicorn.Server):
    """Server that says when it listens."""

    def __init__(self, app: ASGIApp) -> None:
        settings: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "http": Http1Protocol, "log_level": "warning"}
        super().__init__(uvicorn.Config(app, **settings, timeout_graceful_shutdown=1))
        self.listening = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        """Start to listen."""
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.listening.set()

    @property
    def url(self) -> str:
        """Address of the server."""
        return f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}"


def _create_app(episodes: dict[str, HarnessEpisode]) -> FastAPI:
    mcp = _Mcp(episodes) if has_mcp() else None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if mcp is None:
            yield
            return
        async with mcp.sessions.run():
            yield

    app = FastAPI(title="steptool gateway", lifespan=lifespan)
    add_error_handlers(app)

    @app.get("/episodes/{key}/v1/models")
    async def list_models(key: str) -> dict[str, Any]:
        return models_body([_episode(episodes, key).name])

    @app.get("/episodes/{key}/v1/models/{name:path}")
    async def one_model(key: str, name: str) -> dict[str, Any]:
        _episode(episodes, key)
        return model_entry(name)

    @app.post("/episodes/{key}/v1/chat/completions")
    async def chat_completions(key: str, request: ChatRequest, client: Request) -> Response:
        return await answer_chat(request, _episode(episodes, key), client)

    if mcp is not None:
        app.mount("/", mcp)  # all other paths, so that `/episodes/KEY/mcp` is not redirected
    return app


def _episode(episodes: dict[str, HarnessEpisode], key: str) -> HarnessEpisode:
    if key not in episodes:
        raise episode_ended()
    return episodes[key]


class _Mcp:
    """MCP servers of the episodes, at `/episodes/KEY/mcp`. Rewards are in `_meta`, out of the model's sight."""

    def __init__(self, episodes: dict[str, HarnessEpisode]) -> None:
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

        from steptool_env.integrations.mcp import TaskServer

        def find(context: Any) -> HarnessEpisode:
            return episodes[_key_of(context.request.url.path) or ""]

        self._episodes = episodes
        server = TaskServer(find, rewards="meta").server
        self.sessions = StreamableHTTPSessionManager(server, json_response=True, stateless=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. There are no sessions and no messages from the server, so that only POST is one."""
        if scope["type"] != "http":
            return
        if (key := _key_of(scope["path"])) is None:
            raise HTTPException(404)
        if key not in self._episodes:
            await Response("the episode has ended, or never was", status_code=410)(scope, receive, send)
        elif scope["method"] != "POST":
            await Response(status_code=405, headers={"allow": "POST"})(scope, receive, send)
        else:
            await self.sessions.asgi_app(scope, receive, send)


def _key_of(path: str) -> str | None:
    """Return the key in `/episodes/KEY/mcp`; `None` for other paths."""
    parts = path.strip("/").split("/")
    return parts[1] if len(parts) == 3 and (parts[0], parts[2]) == ("episodes", "mcp") else None

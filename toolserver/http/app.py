"""The HTTP application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import cache, partial
from importlib import import_module
from operator import attrgetter
from secrets import token_urlsafe
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from pydantic import SecretStr
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from toolserver.errors import CacheError, ConfigurationError
from toolserver.http import routes
from toolserver.http.auth import PAGES_PATH, AccessControl, ApiKeys, describe_keys
from toolserver.http.call_routes import CallRoutes
from toolserver.http.docs_page import docs_page
from toolserver.http.executor import CallExecutor
from toolserver.http.gateway import Gateway
from toolserver.http.metrics import Metrics
from toolserver.http.rate_limit import RateLimiter
from toolserver.service.factory import assemble
from toolserver.service.info import package_version, server_info
from toolserver.settings import Settings, host_names

_TICK = 1.0  # seconds


def create_app(settings: Settings | None = None) -> ToolServerApp:
    """The application of `settings`; by default of the environment's settings.

    Without `state_key`, it makes a random one. Several processes that share episodes must be given one.

    Raises:
        ToolServerError: The cache cannot be opened, or a setting is wrong.
        pydantic.ValidationError: A setting is missing or of the wrong type.
    """
    settings = settings or Settings()
    if settings.state_key is None:  # not the public key of services in process: callers would write states
        settings = settings.model_copy(update={"state_key": SecretStr(token_urlsafe(32))})
    assembly = assemble(settings)
    metrics = Metrics(settings.runtime_dir, assembly.cache)
    access = _access_control(settings)
    executor = CallExecutor(
        assembly.service, metrics, timeout=settings.request_timeout, workers=settings.upstream_workers
    )
    app = ToolServerApp(
        title="toolserver",
        version=package_version(),
        summary="Recorded, synthetic, generated or live answers to tool calls.",
        lifespan=_lifespan,
        docs_url=None,  # FastAPI's pages load their scripts from a CDN
        redoc_url=None,
        redirect_slashes=False,  # a redirect would lead to the host that the caller names
        responses={
            401: {"description": "Missing or unknown API key."},
            403: {"description": "A page of another site, by the header Origin, or another site's name in Host."},
            429: {"description": "Rate limit exceeded."},
        },
    )
    app.state.assembly, app.state.executor, app.state.metrics = assembly, executor, metrics
    recorded = assembly.cache is not None
    app.state.info = cache(
        partial(
            server_info,
            assembly.catalog,
            assembly.vendors,
            recorded=recorded,
            miss=settings.miss,
            simulated=assembly.simulated,
        )
    )
    app.include_router(routes.router)
    if settings.mcp:
        _add_mcp(app, settings)
    if settings.ui:
        _add_pages(app, settings)
    app.add_route("/docs", _docs, include_in_schema=False)
    app.add_exception_handler(RequestValidationError, invalid_request)
    app.needs_key = access.needs_key
    app.add_exception_handler(CacheError, _broken_store)
    app.gateway = Gateway(
        super(ToolServerApp, app).__call__,
        access=access,
        metrics=metrics,
        max_body_bytes=settings.max_body_bytes,
        calls=CallRoutes(executor, access, metrics, settings.max_batch, settings.miss_status),
        allowed_hosts=None if settings.allowed_hosts is None else host_names(settings.allowed_hosts),
    )
    return app


def _add_mcp(app: ToolServerApp, settings: Settings) -> None:
    """Serve the catalog by the Model Context Protocol. Raises `ConfigurationError` without the extra `mcp`."""
    try:
        from toolserver.mcp.catalog_server import PATH, CatalogServer
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"mcp: needs the package {error.name}: pip install 'steptool-env[mcp]', or leave out --mcp"
        ) from None
    server = CatalogServer(app.state.assembly.catalog, app.state.executor, settings.max_body_bytes)
    app.state.mcp_sessions = server.sessions
    app.router.routes.append(Route(PATH, server, include_in_schema=False))


def _add_pages(app: ToolServerApp, settings: Settings) -> None:
    """Mount the application of `settings.ui`, which its factory makes of the server's parts, settings and counter.

    Raises:
        ConfigurationError: The factory cannot be imported.
    """
    module, _, factory = settings.ui.partition(":")
    try:
        make = attrgetter(factory or "create_pages")(import_module(module))
    except (ImportError, AttributeError, ValueError) as error:
        name = getattr(error, "name", None) or settings.ui
        raise ConfigurationError(
            f"ui: cannot load {settings.ui!r}, it needs {name} ({error}): pip install 'steptool-env[view]', or leave "
            "out --ui"
        ) from None
    app.add_route(PAGES_PATH, _first_page, include_in_schema=False)
    pages = make(app.state.assembly, settings, partial(app.state.metrics.count_call, PAGES_PATH, instant=True))
    app.router.routes.append(Mount(PAGES_PATH, pages))


class ToolServerApp(FastAPI):
    """FastAPI behind `Gateway`: its middleware costs a request more than the answer to a call."""

    gateway: Gateway
    needs_key = False

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, with the schemes of keys where callers need one."""
        if self.openapi_schema is None:
            document = super().openapi()
            if self.needs_key:
                describe_keys(document)
        return super().openapi()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self.gateway(scope, receive, send)


def _access_control(settings: Settings) -> AccessControl:
    keys = ApiKeys.from_file(settings.api_key_file) if settings.api_key_file else None
    if not settings.rate_limit:
        return AccessControl(keys)
    shared = settings.runtime_dir / "rates" if settings.runtime_dir else None
    return AccessControl(keys, RateLimiter(settings.rate_limit, len(keys) if keys else 1, shared))


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    ticking = asyncio.create_task(_tick(app.state.metrics))
    try:
        async with AsyncExitStack() as stack:
            if hasattr(app.state, "mcp_sessions"):
                await stack.enter_async_context(app.state.mcp_sessions.run())
            yield
    finally:
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking
        app.state.metrics.save()
        app.state.executor.close()


async def _tick(metrics: Metrics) -> None:
    """Once a second, save the counts for the other workers' `/metrics`."""
    while True:
        await asyncio.sleep(_TICK)
        metrics.save()


def _first_page(request: Request) -> RedirectResponse:
    return RedirectResponse(f"{request.scope.get('root_path', '')}{PAGES_PATH}/", 303)


def _docs(request: Request) -> HTMLResponse:
    return HTMLResponse(docs_page(request.app.openapi()))


async def invalid_request(_request: Request, error: Exception) -> JSONResponse:
    """The errors of a request without its values, which may hold secrets, NaN or lone surrogates."""
    assert isinstance(error, RequestValidationError)
    problems = [{"loc": item["loc"], "msg": item["msg"], "type": item["type"]} for item in error.errors()]
    return JSONResponse({"detail": problems}, 422)


async def _broken_store(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 503)

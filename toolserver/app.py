"""The HTTP application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from toolserver.admission import Admission
from toolserver.assembly import assemble
from toolserver.auth import ApiKeys
from toolserver.bodies import BodyReader
from toolserver.dispatch import Dispatcher
from toolserver.errors import CacheError
from toolserver.hotpath import FrontDoor
from toolserver.limits import RateLimiter
from toolserver.metrics import Meter
from toolserver.routes import apis, calls, health
from toolserver.settings import Settings

_SNAPSHOT_INTERVAL = 1.0  # seconds between the snapshots that workers leave for each other's /metrics


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application that `settings` describe; without them, the settings of the environment.

    Raises:
        ToolServerError: The cache cannot be opened, or a setting is wrong.
        pydantic.ValidationError: A setting is missing or of the wrong type.
    """
    settings = settings or Settings()
    assembly = assemble(settings)
    meter = Meter(settings.runtime_dir)
    admission = _admission(settings)
    dispatcher = Dispatcher(
        assembly.service, meter, timeout=settings.request_timeout, workers=settings.upstream_workers
    )
    app = FastAPI(
        title="toolserver",
        version=version("steptool-env"),
        summary="Recorded, synthetic, generated or live answers to tool calls.",
        lifespan=_lifespan,
        responses={401: {"description": "Missing or unknown API key."}, 429: {"description": "Rate limit exceeded."}},
    )
    app.state.dispatcher, app.state.meter, app.state.admission = dispatcher, meter, admission
    app.state.settings, app.state.assembly = settings, assembly
    for router in (calls.router, apis.router, health.router):
        app.include_router(router)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(CacheError, _broken_store)
    app.add_middleware(
        FrontDoor,
        dispatcher=dispatcher,
        admission=admission,
        meter=meter,
        bodies=BodyReader(settings.max_body_bytes, settings.request_timeout),
        max_batch=settings.max_batch,
        hot_path=settings.hot_path,
    )
    return app


def _admission(settings: Settings) -> Admission:
    keys = ApiKeys.from_file(settings.api_key_file) if settings.api_key_file else None
    if not settings.rate_limit:
        return Admission(keys)
    shared = settings.runtime_dir / "rates" if settings.runtime_dir else None
    return Admission(keys, RateLimiter(settings.rate_limit, len(keys) if keys else 1, shared))


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    snapshots = asyncio.create_task(_leave_snapshots(app.state.meter))
    try:
        yield
    finally:
        snapshots.cancel()
        with suppress(asyncio.CancelledError):
            await snapshots
        app.state.meter.save()
        app.state.dispatcher.close()


async def _leave_snapshots(meter: Meter) -> None:
    while True:
        await asyncio.sleep(_SNAPSHOT_INTERVAL)
        meter.save()


async def _invalid_request(_request: Request, error: Exception) -> JSONResponse:
    """What is wrong, without what was sent: the values may hold secrets, NaN or lone surrogates."""
    assert isinstance(error, RequestValidationError)
    problems = [{"loc": item["loc"], "msg": item["msg"], "type": item["type"]} for item in error.errors()]
    return JSONResponse({"detail": problems}, 422)


async def _broken_store(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 503)

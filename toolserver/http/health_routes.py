"""Routes of health checks and metrics."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from toolserver.calls.call_key import KEY_BYTES
from toolserver.http.metrics import Metrics
from toolserver.service.factory import Assembly

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> dict[str, str]:
    """Answers as soon as requests are answered at all."""
    return {"status": "ok"}


@router.get("/readyz", summary="Can calls be answered?")
def readyz(request: Request) -> dict[str, str | int]:
    """Looks into the store: 503 when it cannot be read (any more)."""
    assembly: Assembly = request.app.state.assembly
    if assembly.cache is not None:
        assembly.cache.get(bytes(KEY_BYTES))
    return {"status": "ready", "apis": len(assembly.catalog)}


@router.get("/metrics", response_class=Response, summary="Prometheus metrics of all workers")
def metrics(request: Request) -> Response:
    """Calls by route, outcome and provenance, cache hits and misses, requests and their latency."""
    counts: Metrics = request.app.state.metrics
    return Response(counts.exposition(), media_type=CONTENT_TYPE_LATEST)

"""The routes that say how the server is."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from toolserver.calls.call_key import KEY_BYTES
from toolserver.http.dependencies import AssemblyDep, MeterDep

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> dict[str, str]:
    """Answers as soon as requests are answered at all."""
    return {"status": "ok"}


@router.get("/readyz", summary="Can calls be answered?")
def readyz(assembly: AssemblyDep) -> dict[str, str | int]:
    """Looks into the store: 503 when it cannot be read (any more)."""
    if assembly.cache is not None:
        assembly.cache.get(bytes(KEY_BYTES))
    return {"status": "ready", "apis": len(assembly.catalog)}


@router.get("/metrics", response_class=Response, summary="Prometheus metrics of all workers")
def metrics(meter: MeterDep) -> Response:
    """Calls by route, outcome and provenance, cache hits and misses, requests and their latency."""
    return Response(meter.exposition(), media_type=CONTENT_TYPE_LATEST)

"""The route that says which tools a server has, so that an environment of other tools can refuse it."""

from __future__ import annotations

from fastapi import APIRouter

from toolserver.http.dependencies import InfoDep
from toolserver.service.info import ServerInfo

router = APIRouter(prefix="/v1", tags=["info"])


# A plain function, which FastAPI runs on a thread: the first request computes the digest.
@router.get("/info", summary="Version and content of the server")
def info(source: InfoDep) -> ServerInfo:
    """Package version, kind of tools, world and digest. A client compares them with its own at its first call."""
    return source.info

"""Pages of a tool server's own tools and tasks, which `toolserver serve --ui` mounts at `/ui`.

The server names `create_pages` as `module:factory` and imports it when it starts with pages, so that no module of
`toolserver` depends on this package.
"""

from collections.abc import Callable, Sequence

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.staticfiles import StaticFiles

from agents.view.app import PageHeaders, add_problem_pages
from agents.view.pages import tasks, tools
from agents.view.pages.rendering import HERE, Pages
from agents.view.pages.tasks import World
from agents.view.tool_sources import ToolSource
from steptool_env.errors import ConfigurationError
from toolserver.catalog.api_schema import ToolResponse
from toolserver.service.factory import Assembly
from toolserver.settings import Settings
from toolserver.world.versions import WORLD_VERSION

_SOURCE = "server"


class ServerCatalogue:
    """The catalogue of a server, answered by its own recordings and world: see `tool_sources.Catalogues`."""

    has_seeds = False

    def __init__(self, assembly: Assembly, count: Callable[[ToolResponse], None]) -> None:
        self._source = ToolSource(assembly, count)

    @property
    def names(self) -> Sequence[str]:
        """Name of the one source."""
        return (_SOURCE,)

    def source(self, name: str, world_seed: int) -> ToolSource:
        """Return the server's tools. Raises `ConfigurationError` for another name or seed."""
        if name != _SOURCE or world_seed:
            raise ConfigurationError(f"source={name!r}: these pages show the tools of this server alone")
        return self._source


def create_pages(assembly: Assembly, settings: Settings, count: Callable[[ToolResponse], None]) -> FastAPI:
    """Return the application: the server's tools and, where it serves a world, its tasks.

    Tasks are made and graded in this process, and their calls are answered as the server answers them; these are no
    calls of the server. A call that is tried on the page of a tool is, and is given to `count`.
    """
    app = FastAPI(title="toolserver", docs_url=None, redoc_url=None, openapi_url=None)
    sections = {"tools": "/tools"} | ({"tasks": "/tasks"} if settings.world is not None else {})
    app.state.pages = Pages(None, "toolserver", sections)
    app.state.catalogues = ServerCatalogue(assembly, count)
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    app.include_router(tools.router)
    if settings.world is not None:
        version = WORLD_VERSION if settings.world_version is None else settings.world_version
        arguments = {} if settings.world_tools is None else {"tools": settings.world_tools}
        app.state.world = World(settings.world_level, settings.world, {**arguments, "world_version": version})
        app.include_router(tasks.router)

    @app.get("/")
    def first(request: Request) -> Response:
        """Lead to the tools."""
        return RedirectResponse(f"{request.scope['root_path']}/tools", 303)

    add_problem_pages(app)
    app.add_middleware(PageHeaders)
    return app

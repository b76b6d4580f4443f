"""Templates of the page, and the workspace that they show."""

import re
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import timedelta
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import ChoiceLoader, Environment, PackageLoader
from markupsafe import Markup

from agents.reporting.html import FILTERS
from agents.view.workspace import Workspace

HERE = Path(__file__).parents[1]

_STYLE_ELEMENT = re.compile(r"<style\b.*?</style>", re.DOTALL)


VERSION: ContextVar[int] = ContextVar("version", default=-1)
"""Version of the workspace when the request began: what a page shows is at least as new."""
PREFIX: ContextVar[str] = ContextVar("prefix", default="")
"""Path under which the application of the request is mounted."""


class Pages:
    """Renders templates. Everything is escaped except the SVG that this project draws.

    Args:
        workspace: Runs and episodes to show; `None` for pages that show none and do not change by themselves.
        name: Name of the application.
        sections: Addresses of the pages in the navigation, by name.
    """

    def __init__(self, workspace: Workspace | None, name: str, sections: Mapping[str, str]) -> None:
        self._workspace, self._name, self._sections = workspace, name, sections
        loader = ChoiceLoader([PackageLoader("agents.view"), PackageLoader("agents.reporting")])
        self._environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
        self._environment.filters |= {**FILTERS, "plot": _plot, "duration": _duration, "link": link}

    @property
    def workspace(self) -> Workspace:
        """Runs and episodes to show. Pages of tasks and tools need none."""
        assert self._workspace is not None
        return self._workspace

    def render(self, template: str, **values: Any) -> str:
        """Return a page or a fragment. Lone surrogates, which UTF-8 lacks, are escaped."""
        text = self._environment.get_template(template).render(
            workspace=self._workspace, name=self._name, sections=self._sections, version=VERSION.get(), **values
        )
        return text.encode("utf-8", "backslashreplace").decode()


def link(path: str, **values: Any) -> str:
    """Return the address of a page with a query string, without the values that are empty."""
    path = PREFIX.get() + path
    given = {name: value for name, value in values.items() if value not in ("", None, [], ())}
    return f"{path}?{urlencode(given, doseq=True, errors='replace')}" if given else path


def _plot(svg: str) -> Markup:
    """Return a plot without its style element, which the content security policy refuses; view.css has the rule."""
    return Markup(_STYLE_ELEMENT.sub("", svg))  # noqa: S704 - drawn by this project from numbers and escaped labels


def _duration(seconds: float) -> str:
    """Format seconds as hours, minutes and seconds; nan as a dash."""
    return str(timedelta(seconds=round(seconds))) if isfinite(seconds) else "–"

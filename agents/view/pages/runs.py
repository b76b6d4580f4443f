"""Routes of the page of runs: table, and learning curves of the ticked ones."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from agents.view.curves import curve_plots, metric_names
from agents.view.pages.rendering import Pages, link
from agents.view.run_folders import RunInfo

router = APIRouter(default_response_class=HTMLResponse)

_DRAWN = 60  # runs whose curves are drawn where none is ticked

Names = Annotated[list[str], Query(default_factory=list)]


@router.get("/")
def runs(request: Request, run: Names, metric: str = "", by_seed: str = "") -> HTMLResponse:
    """Show the page."""
    pages: Pages = request.app.state.pages
    return HTMLResponse(
        pages.render("runs.html.j2", page="runs", ticked=set(run), metric=metric, by_seed=by_seed, **_table(pages))
    )


@router.get("/runs/table")
def table(request: Request, run: Names) -> HTMLResponse:
    """Show the table alone, for an update."""
    pages: Pages = request.app.state.pages
    return HTMLResponse(pages.render("runs_table.html.j2", ticked=set(run), **_table(pages)))


@router.get("/runs/curves")
def curves(request: Request, run: Names, metric: str = "", by_seed: str = "") -> HTMLResponse:
    """Show the curves alone. The address of the page follows, so that it can be passed on."""
    pages: Pages = request.app.state.pages
    known = pages.workspace.runs
    chosen = [known[name] for name in run if name in known] or _newest(list(known.values()))
    text = pages.render(
        "curves.html.j2",
        plots=curve_plots(chosen, metric, by_seed=bool(by_seed)),
        metrics=metric_names(chosen),
        metric=metric,
        by_seed=by_seed,
        ticked=run,
        drawn=len(chosen),
    )
    return HTMLResponse(text, headers={"HX-Replace-Url": link("/", run=run, metric=metric, by_seed=by_seed)})


def _table(pages: Pages) -> dict[str, object]:
    found = list(pages.workspace.runs.values())
    return {"runs": found, "several_panels": len({run.panel for run in found if run.panel}) > 1}


def _newest(found: list[RunInfo]) -> list[RunInfo]:
    return [run for run in found if run.has_metrics][-_DRAWN:]

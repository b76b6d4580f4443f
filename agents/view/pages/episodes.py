"""Routes of the pages of episodes: list with filters, episodes side by side, forks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, PlainTextResponse

from agents.reporting.plan_picture import PlanPicture, plan_picture
from agents.view.environments import Setting, rewards_of, setting_of, task_of
from agents.view.episode_index import ENDINGS, PAGE, Filter
from agents.view.fork import Fork, fork_episode
from agents.view.pages.rendering import Pages, link
from steptool_env.errors import ConfigurationError, DataError, StepToolError
from steptool_env.types import Trajectory

router = APIRouter(default_response_class=HTMLResponse)

_SIDE_BY_SIDE = 6  # episodes of one page
_LIKELIHOODS = (0.9, 0.5, 0.1, 0.01)  # limits of the colours of tokens

Names = Annotated[list[str], Query(default_factory=list)]


@dataclass(frozen=True)
class EpisodeView:
    """One episode of the page.

    Attributes:
        at: Address of the episode, `RUN:LINE`.
        run: Name of the run.
        line: Number of its line.
        episode: The episode.
        advantages: Advantage of each call, where the trainer logged them; else empty.
        tokens: Tokens of each call with log-probability and its class from 0, likely, to 4; empty where not logged.
        latencies: Seconds of the virtual clock that each call took, from a replay; empty without injected faults, and
            where the replay differs.
        picture: Gold plan, marked; `None` without one.
        why_no_fork: Reason for which the episode cannot be played again; empty where it can.
    """

    at: str
    run: str
    line: int
    episode: Trajectory
    advantages: Sequence[float] = ()
    tokens: Sequence[Sequence[tuple[str, float, int]]] = ()
    latencies: Sequence[float] = ()
    picture: PlanPicture | None = None
    why_no_fork: str = ""

    @property
    def fulfilled(self) -> Mapping[int, list[str]]:
        """Functions of the gold plan that each step (from 1) was the first to fulfil."""
        return {} if self.picture is None else self.picture.fulfilled

    @property
    def called(self) -> set[str]:
        """Functions that the episode has called."""
        return {step.action.name for step in self.episode.steps}


@router.get("/episodes")
def episodes(request: Request) -> HTMLResponse:
    """Show the page of filters and rows."""
    pages: Pages = request.app.state.pages
    return HTMLResponse(pages.render("episodes.html.j2", page="episodes", **_rows(pages, request)))


@router.get("/episodes/table")
def table(request: Request) -> HTMLResponse:
    """Show the rows alone. The address of the page follows the filter."""
    pages: Pages = request.app.state.pages
    values = _rows(pages, request)
    address = link("/episodes", **values["query"], start=values["start"] or "")
    return HTMLResponse(pages.render("episodes_table.html.j2", **values), headers={"HX-Replace-Url": address})


@router.get("/episode")
def episode(request: Request, at: Names) -> HTMLResponse:
    """Show one episode, or several of one task side by side."""
    pages: Pages = request.app.state.pages
    if not 1 <= len(at) <= _SIDE_BY_SIDE:
        raise ConfigurationError(f"at: give 1 to {_SIDE_BY_SIDE} episodes as at=RUN:LINE")
    views = [_view(pages, each) for each in at]
    first = views[0].episode.task
    shown = {view.at for view in views}
    others = [
        (f"{pages.workspace.name_of(row.path)}:{row.line}", row)
        for row in pages.workspace.index.of_task(pages.workspace.files(), first.suite, first.id)
    ]
    text = pages.render(
        "episode.html.j2",
        page="episodes",
        views=views,
        at=at,
        others=[(address, row) for address, row in others if address not in shown],
        neighbours=_neighbours(pages, views[0]) if len(views) == 1 else {},
        rewards=_rewards(pages, views[0]),
    )
    return HTMLResponse(text)


@router.get("/episode/line")
def line(request: Request, at: str) -> PlainTextResponse:
    """Show the line of an episode as it is in the file."""
    pages: Pages = request.app.state.pages
    run, number = _address(at)
    data = pages.workspace.index.line(pages.workspace.file_of(run), number)
    return PlainTextResponse(data.decode("utf-8", "backslashreplace"))


@router.get("/fork")
def fork(request: Request, at: str, step: int, call: Names, rest: str = "", reward: str = "") -> HTMLResponse:
    """Show the answers of the tools to other calls after call `step`, and what they would have earned."""
    pages: Pages = request.app.state.pages
    run, number = _address(at)
    recorded = pages.workspace.episode(run, number)
    setting = _setting(pages, run, recorded, reward)
    result = fork_episode(
        setting, recorded, step, [text.replace("\r\n", "\n") for text in call if text], rest=bool(rest)
    )
    values: dict[str, Any] = {
        "at": at,
        "run": run,
        "line": number,
        "recorded": recorded,
        "fork": result,
        "calls": [text for text in call if text],
        "rest": rest,
        "reward": reward,
        "rewards": rewards_of(setting.env_id),
        "fulfilled": _fulfilled_by(setting, result),
    }
    if request.headers.get("hx-request"):
        return HTMLResponse(pages.render("fork.html.j2", **values))
    return HTMLResponse(pages.render("fork_page.html.j2", page="episodes", **values))


def _rows(pages: Pages, request: Request) -> dict[str, Any]:
    """Return the values of the list of episodes for the query of a request."""
    query = request.query_params
    names = query.getlist("run")
    chosen = Filter(**{name: query.get(name, "")[:500] for name in Filter.__dataclass_fields__})
    start = int(text) if (text := query.get("start", "")).isdecimal() and len(text) < 10 else 0
    files = pages.workspace.files(names)
    index = pages.workspace.index
    rows, total = index.page(files, chosen, start)
    return {
        "rows": [(pages.workspace.name_of(row.path), row) for row in rows],
        "total": total,
        "start": start,
        "size": PAGE,
        "chosen": chosen,
        "names": names,
        "run_names": [run.name for run in pages.workspace.listed if run.episodes_file is not None],
        "query": {"run": names, **{name: value for name, value in vars(chosen).items() if value}},
        "endings": ENDINGS,
        "values": {kind: index.values(files, kind) for kind in ("term", "tool", "status")},
    }


def _view(pages: Pages, at: str) -> EpisodeView:
    run, number = _address(at)
    found = pages.workspace.episode(run, number)
    view = EpisodeView(at, run, number, found, _advantages(found), _tokens(found))
    try:
        setting = _setting(pages, run, found)
    except StepToolError as error:
        return replace(view, why_no_fork=str(error))
    if setting.arguments.get("faults", "none") != "none":
        replay = fork_episode(setting, found, len(found.steps), [])
        view = replace(view, latencies=() if replay.differences else replay.recorded.latencies)
    task = task_of(setting, found)
    return view if task is None else replace(view, picture=plan_picture(task, found))


def _advantages(episode: Trajectory) -> list[float]:
    """Return the logged advantage of each call; empty without them, or with another number of them."""
    logged = episode.metadata.get("advantages")
    if not isinstance(logged, list) or len(logged) != len(episode.steps):
        return []
    return [float(each) for each in logged] if all(isinstance(each, int | float) for each in logged) else []


def _tokens(episode: Trajectory) -> list[list[tuple[str, float, int]]]:
    """Return the logged tokens of each call; empty without them, or if they have another form."""
    logged = episode.metadata.get("token_log_probs")
    try:
        calls = [
            [(str(text), float(value), _likelihood(float(value))) for text, value in call] for call in logged or ()
        ]
    except (TypeError, ValueError):
        return []
    return calls if len(calls) == len(episode.steps) else []


def _likelihood(log_prob: float) -> int:
    """Return the class of a log-probability: the number of limits that its probability is below."""
    return sum(log_prob < log(limit) for limit in _LIKELIHOODS)


def _setting(pages: Pages, run: str, episode: Trajectory, reward: str = "") -> Setting:
    info = pages.workspace.run(run)
    return setting_of(info.env_id, info.env_args, episode, reward)


def _rewards(pages: Pages, view: EpisodeView) -> list[str]:
    return [] if view.why_no_fork else rewards_of(_setting(pages, view.run, view.episode).env_id)


def _fulfilled_by(setting: Setting, result: Fork) -> list[list[str]]:
    """Return, for each step after the fork, the functions of the gold plan that it was the first to fulfil."""
    played = result.fork.trajectory
    task = task_of(setting, played)
    picture = None if task is None else plan_picture(task, played)
    found = {} if picture is None else picture.fulfilled
    return [found.get(result.at + number, []) for number in range(1, len(result.steps) + 1)]


def _neighbours(pages: Pages, view: EpisodeView) -> dict[str, str]:
    """Return the addresses of the episodes before and after in the same run."""
    file = pages.workspace.file_of(view.run)
    found = pages.workspace.index.neighbours(file, view.line)
    return {name: f"{view.run}:{number}" for name, number in found.items()}


def _address(at: str) -> tuple[str, int]:
    """Return run and line of an address. Raises `DataError` for another text."""
    run, _, number = at.rpartition(":")
    if not run or not number.isdecimal() or len(number) > 9:
        raise DataError(f"at={at!r}: an episode is addressed as RUN:LINE")
    return run, int(number)

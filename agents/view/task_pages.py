"""Routes of the pages of tasks: browse a split of ToolWorld, draw a plan, play a task by hand."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from agents.reporting.plan_picture import plan_picture
from agents.view.environments import TOOLWORLD, Setting, environment, rewards_of, solution_of
from agents.view.fork import fork_episode
from agents.view.pages import Pages
from steptool_env.toolworld import SPLITS, WorldTask, read_task_id
from steptool_env.types import Trajectory

router = APIRouter(default_response_class=HTMLResponse)

PAGE = 25
"""Tasks of one page."""

Names = Annotated[list[str], Query(default_factory=list)]
LEVELS = ("lite", "standard", "full")
_BUDGET = 30  # calls of a task that is played by hand


@router.get("/tasks")
def tasks(
    request: Request, split: str = "validation", level: str = "lite", world_seed: int = 0, start: int = 0
) -> HTMLResponse:
    """Show the tasks of a split."""
    pages: Pages = request.app.state.pages
    setting = Setting(TOOLWORLD, {"split": split, "level": level, "world_seed": world_seed})
    with environment(setting) as env:
        size = len(env.suite)
        first = min(max(0, start), size)
        found = [env.suite.task(index) for index in range(first, min(size, first + PAGE))]
    values = {"split": split, "level": level, "world_seed": world_seed, "start": first, "size": PAGE, "total": size}
    return HTMLResponse(
        pages.render("tasks.html.j2", page="tasks", tasks=found, splits=list(SPLITS), levels=LEVELS, **values)
    )


@router.get("/task")
def task(request: Request, task: str, call: Names, reward: str = "progress") -> HTMLResponse:
    """Show a task with its plan, and the calls that are played by hand so far."""
    pages: Pages = request.app.state.pages
    seed, level, split, _ = read_task_id(task)
    arguments: dict[str, Any] = {"split": split, "level": level, "world_seed": seed, "call_budget": _BUDGET}
    setting = Setting(TOOLWORLD, {**arguments, "reward": reward if reward in rewards_of(TOOLWORLD) else "progress"})
    with environment(setting) as env:
        found = env.suite.find(task)
    calls = [text.replace("\r\n", "\n") for text in call if text]
    played = fork_episode(setting, Trajectory(found, (), (), False, False), 0, calls).fork
    solution = solution_of(setting, played.trajectory)
    assert isinstance(solution, WorldTask)
    picture = plan_picture(solution, played.trajectory)
    text = pages.render(
        "task.html.j2",
        page="tasks",
        task=found,
        depth=solution.plan.depth,
        played=played,
        calls=calls,
        picture=picture if calls else plan_picture(solution),
        fulfilled=picture.fulfilled,
        reward=setting.reward,
        rewards=rewards_of(TOOLWORLD),
    )
    return HTMLResponse(text)

"""Routes of the pages of tasks: browse a split of ToolWorld, draw a plan, play a task by hand."""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from agents.reporting.plan_picture import plan_picture
from agents.view.environments import TOOLWORLD, Setting, environment, rewards_of
from agents.view.fork import fork_episode
from agents.view.pages.rendering import Pages
from agents.view.tool_sources import LEVELS
from steptool_env.errors import ConfigurationError
from steptool_env.toolworld import SPLITS, WorldTask, read_task_id
from steptool_env.types import Trajectory

router = APIRouter(default_response_class=HTMLResponse)

PAGE = 25
"""Tasks of one page."""

Names = Annotated[list[str], Query(default_factory=list)]
_BUDGET = 30  # calls of a task that is played by hand


class World(NamedTuple):
    """The one world whose tasks a server's pages show: level, seed, and other arguments of the environment."""

    level: str
    seed: int
    arguments: Mapping[str, Any]


@router.get("/tasks")
def tasks(
    request: Request, split: str = "validation", level: str = "lite", world_seed: int = 0, start: int = 0
) -> HTMLResponse:
    """Show the tasks of a split."""
    pages: Pages = request.app.state.pages
    world: World | None = request.app.state.world
    if world is not None:
        level, world_seed = world.level, world.seed
    setting = Setting(TOOLWORLD, _place(world, split, level, world_seed))
    with environment(setting) as env:
        size = len(env.suite)
        first = min(max(0, start), size)
        found = [env.suite.task(index) for index in range(first, min(size, first + PAGE))]
    values = {"split": split, "level": level, "world_seed": world_seed, "start": first, "size": PAGE, "total": size}
    return HTMLResponse(
        pages.render(
            "tasks.html.j2",
            page="tasks",
            tasks=found,
            splits=list(SPLITS),
            levels=LEVELS if world is None else (),
            **values,
        )
    )


@router.get("/task")
def task(request: Request, task: str, call: Names, reward: str = "progress") -> HTMLResponse:
    """Show a task with its plan, and the calls that are played by hand so far."""
    pages: Pages = request.app.state.pages
    seed, level, split, _ = read_task_id(task)
    # After a dot comes a digest of settings other than the defaults, which those of a server's world give.
    place = _place(request.app.state.world, split.partition(".")[0], level, seed)
    arguments: dict[str, Any] = {**place, "call_budget": _BUDGET}
    setting = Setting(TOOLWORLD, {**arguments, "reward": reward if reward in rewards_of(TOOLWORLD) else "progress"})
    with environment(setting) as env:
        found = env.suite.find(task)
    calls = [text.replace("\r\n", "\n") for text in call if text]
    played = fork_episode(setting, Trajectory(found, (), (), False, False), 0, calls).fork
    picture = plan_picture(found, played.trajectory)
    assert isinstance(found.solution, WorldTask)
    assert picture is not None
    text = pages.render(
        "task.html.j2",
        page="tasks",
        task=found,
        depth=found.solution.plan.depth,
        played=played,
        calls=calls,
        picture=picture if calls else plan_picture(found),
        fulfilled=picture.fulfilled,
        reward=setting.reward,
        rewards=rewards_of(TOOLWORLD),
    )
    return HTMLResponse(text)


def _place(world: World | None, split: str, level: str, seed: int) -> dict[str, Any]:
    """Return the arguments of an environment. Raises `ConfigurationError` for another world than the server's."""
    if world is not None and (world.level, world.seed) != (level, seed):
        raise ConfigurationError(
            f"level={level!r}, world_seed={seed}: this server has level {world.level} of world {world.seed}"
        )
    return {"split": split, "level": level, "world_seed": seed, **({} if world is None else world.arguments)}

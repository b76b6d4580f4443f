"""Share of tasks that giving up at once solves, as docs/toolworld.md states it."""

import re
from pathlib import Path

import pytest

from steptool_env.toolworld import Obstacle
from tests.toolserver.world.worlds import LEVELS, suite

PAGE = Path(__file__).parents[3] / "docs" / "toolworld.md"


def stated(split: str, level: str) -> float:
    """Percentage in the row of a split and the column of a level."""
    row = re.search(rf"^\| `{split}` \([^|]*\|(.*)\|$", PAGE.read_text(), re.MULTILINE)
    assert row is not None
    return float(row[1].split("|")[LEVELS.index(level)].strip(" %"))


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("split", "count"), [("unsolvable", 200), ("train", 4000)])
def test_the_page_states_the_share_of_tasks_that_giving_up_at_once_solves(split: str, count: int, level: str) -> None:
    tasks = suite(split, level)
    missing = sum(tasks.task(index).solution.obstacle is Obstacle.MISSING for index in range(count))
    assert round(100 * missing / count, 1) == stated(split, level)

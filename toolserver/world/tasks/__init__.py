"""Tasks in ToolWorld: sampled as graphs of calls, put into words, verified and credited exactly.

`TaskSampler(vendors, split)` gives `WorldTask`s by index. A `Tracker` follows the calls of an episode, a `Grader` says
whether it solved the task and which calls contributed, and an `Oracle` solves it.
"""

from toolserver.world.tasks.columns import Columns
from toolserver.world.tasks.gold import Obstacle, WorldTask
from toolserver.world.tasks.grade import Grade, Grader, grader_of
from toolserver.world.tasks.oracle import Oracle, OracleCall, gold_answer
from toolserver.world.tasks.sampler import TaskSampler, read_task_id
from toolserver.world.tasks.splits import SPLITS
from toolserver.world.tasks.track import Tracker

__all__ = [
    "SPLITS",
    "Columns",
    "Grade",
    "Grader",
    "Obstacle",
    "Oracle",
    "OracleCall",
    "TaskSampler",
    "Tracker",
    "WorldTask",
    "gold_answer",
    "grader_of",
    "read_task_id",
]

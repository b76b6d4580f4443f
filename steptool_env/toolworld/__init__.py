"""Tasks in ToolWorld: sampled as graphs of calls, written as queries, and graded without a judge.

`TaskSampler(vendors, split)` returns a `WorldTask` by index. A `Tracker` follows the calls of an episode. A `Grader`
decides if the task is solved and which calls contributed. An `Oracle` solves it.
"""

from steptool_env.toolworld.grading.grader import Grade, grader_of
from steptool_env.toolworld.grading.oracle import Oracle, OracleCall, gold_answer
from steptool_env.toolworld.grading.progress_tracker import Tracker
from steptool_env.toolworld.planning.splits import SPLITS
from steptool_env.toolworld.sampler import TaskSampler, read_task_id
from steptool_env.toolworld.task import Obstacle, WorldTask

__all__ = [
    "SPLITS",
    "Grade",
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

"""Readers and writers of the data of StableToolBench, ToolBench and StepTool."""

from toolserver.stabletoolbench.answers import AnswerStep, ToolBenchAnswer, read_answer
from toolserver.stabletoolbench.importer import ImportReport, import_folder
from toolserver.stabletoolbench.problems import ImportProblem
from toolserver.stabletoolbench.queries import Query, read_queries
from toolserver.stabletoolbench.responses import write_responses
from toolserver.stabletoolbench.runs import JudgedEpisode, RunStep, read_judged_run
from toolserver.stabletoolbench.tools import write_tools

__all__ = [
    "AnswerStep",
    "ImportProblem",
    "ImportReport",
    "JudgedEpisode",
    "Query",
    "RunStep",
    "ToolBenchAnswer",
    "import_folder",
    "read_answer",
    "read_judged_run",
    "read_queries",
    "write_responses",
    "write_tools",
]

"""Readers and writers of the data of StableToolBench, ToolBench and StepTool."""

from toolserver.stabletoolbench.answers import (
    ToolBenchAnswer,
    answer_of,
    converted_answers,
    is_answer,
    is_converted,
    read_answer,
)
from toolserver.stabletoolbench.importer import ImportReport, import_folder
from toolserver.stabletoolbench.queries import Query, read_queries
from toolserver.stabletoolbench.responses import write_responses
from toolserver.stabletoolbench.runs import JudgedEpisode, iter_judged_run, read_judged_run
from toolserver.stabletoolbench.tools import write_tools

__all__ = [
    "ImportReport",
    "JudgedEpisode",
    "Query",
    "ToolBenchAnswer",
    "answer_of",
    "converted_answers",
    "import_folder",
    "is_answer",
    "is_converted",
    "iter_judged_run",
    "read_answer",
    "read_judged_run",
    "read_queries",
    "write_responses",
    "write_tools",
]

"""The published figures of ComplexFuncBench are those of the installed data."""

import json
from pathlib import Path

from agents.evaluation.evaluate import Evaluation, evaluate
from benchmarks.complexfuncbench.tasks import RepeatAgent, answer_lengths, depths, groups, recordings, splits, visible
from benchmarks.harness.report import RESULTS
from steptool_env.complexfuncbench.benchmark import load_benchmark
from toolserver.complexfuncbench import read_apis, read_tasks


def test_the_published_tables_can_be_made_again(complexfuncbench_data: Path) -> None:
    published = json.loads((RESULTS / "complexfuncbench.json").read_text())["tables"]
    tasks, apis = list(read_tasks(complexfuncbench_data)), read_apis(complexfuncbench_data)
    gold = list(load_benchmark(complexfuncbench_data).tasks.values())
    made = {
        "Recordings": recordings(tasks, apis),
        "Groups": groups(gold),
        "Depth": depths(gold),
        "Length of an answer in characters": [answer_lengths(tasks)],
        "Values in the first characters of an answer": visible(tasks, apis),
    }
    assert made == {heading: published[heading] for heading in made}
    for row, shown in zip(splits(gold), published["Splits, tasks solved"], strict=True):
        assert row.items() <= shown.items()


def test_the_agent_that_repeats_makes_one_call_until_the_budget_ends(complexfuncbench_data: Path) -> None:
    settings = {"split": "test", "call_budget": 5}
    for episode in evaluate(Evaluation("StepTool/ComplexFuncBench-v0", settings, 8), RepeatAgent()):
        *calls, last = episode.steps
        assert len(calls) == 4
        assert len({step.action.text for step in calls}) == 1
        assert last.finished
        assert episode.metadata["outcome"]["is_solved"] == 0

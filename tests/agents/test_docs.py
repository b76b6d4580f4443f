"""The example agents in the documentation work as they are printed."""

import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agents import cli
from agents.cli import main
from agents.commands import evaluate, sft, train
from agents.evaluation.evaluate import Evaluation, check
from agents.evaluation.policy_evaluation import evaluation_of
from agents.options import read_options

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BLOCKS = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```(?:bash|sh|console)?(?: [\w-]+)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("page", "factory"), [("plug-in-your-agent.md", "WordMatcher"), ("evaluation.md", "FirstTool")]
)
def test_a_printed_agent_can_be_evaluated(
    page: str, factory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = BLOCKS.findall((DOCS / page).read_text())[0]
    assert example.count("\n") <= 60
    module = f"printed_{factory.lower()}"
    (tmp_path / f"{module}.py").write_text(example)
    monkeypatch.syspath_prepend(tmp_path)
    main(["evaluate", "--env", "StepTool/ToolWorld-v0", "--agent", f"{module}:{factory}", "--episodes", "6",
          "--out", str(tmp_path / "run")])  # fmt: skip
    assert (tmp_path / "run" / "metrics.json").is_file()
    del sys.modules[module]


def test_the_page_from_python_runs_from_top_to_bottom(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    for block in BLOCKS.findall((DOCS / "plug-in-your-agent.md").read_text()):
        exec(compile(block, "plug-in-your-agent.md", "exec"), names)
    rate, *action = capsys.readouterr().out.splitlines()
    assert 0 <= float(rate) <= 1
    assert action[0].startswith("Action: ")


def commands() -> Iterator[list[str]]:
    """The words of each printed command of `steptool` that is whole and ends."""
    for page in (ROOT / "README.md", *sorted(DOCS.glob("*.md"))):
        for block in SHELL.findall(page.read_text()):
            for line in block.replace("\\\n", " ").splitlines():
                if not re.match(r"(\$ )?(\.venv/bin/)?steptool ", line):
                    continue
                words = shlex.split(line.partition("steptool ")[2], comments=True)
                if not {"...", "[--sha256", "mcp", "serve-openenv", "serve-policy", "view"} & set(words):
                    yield words[: words.index("|") if "|" in words else None]


def tasks_of(command: Any) -> Evaluation | None:
    """The tasks that a command plays or demonstrates; `None` for others, and for data that is not shipped."""
    if isinstance(command, evaluate.Command):
        arguments = read_options("env_args", command.env_args)
        return None if {"data", "queries"} & arguments.keys() else Evaluation(command.env, arguments, command.episodes)
    settings = getattr(command, "settings", None)
    if isinstance(command, sft.Command):
        return Evaluation(settings.env, settings.env_args, settings.episodes) if settings.episodes else None
    if isinstance(command, train.Command) and settings.eval_every:
        return evaluation_of(settings.env, settings.env.eval_args, settings.eval_episodes, settings.seed)
    return None


def test_printed_commands_have_the_flags_of_their_command_and_tasks_enough(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """They are read and not run; their tasks are counted where the data is at hand."""
    read: list[Any] = []
    monkeypatch.chdir(ROOT)  # files of settings are named from here
    monkeypatch.setattr(cli, "run_printed", lambda run, output: read.append(run.__self__))
    packages = {"ComplexFuncBench": "complexfuncbench_data", "BFCL": "bfcl", "Tau2Telecom": "tau2"}
    for words in commands():
        main(words)
        tasks = tasks_of(read[-1])
        with suppress(pytest.skip.Exception):
            fixtures = [fixture for name, fixture in packages.items() if tasks and name in tasks.env_id]
            for fixture in fixtures:
                request.getfixturevalue(fixture)
            if tasks is not None:
                check(tasks)
    assert len(read) > 40

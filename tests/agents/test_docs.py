"""The example agents in the documentation work as they are printed."""

import re
import sys
from pathlib import Path

import pytest

from agents.cli import main

DOCS = Path(__file__).parents[2] / "docs"
BLOCKS = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


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

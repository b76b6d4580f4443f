"""Notebooks of examples/: they run from top to bottom, and those without training print what they show."""

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))
TRAINED = "train_on_toolworld"
"""Notebook whose figures depend on the machine."""
MCP = "mcp_agent"
"""Notebook that needs the package `mcp`."""


def code_cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_prints_what_it_shows(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if path.stem == MCP:
        pytest.importorskip("mcp_types", reason="needs mcp 2: pip install 'steptool-env[mcp]'")
    names: dict[str, object] = {}
    for cell in code_cells(path):
        exec(compile("".join(cell["source"]), path.name, "exec"), names)
        printed = capsys.readouterr().out
        shown = "".join(text for output in cell["outputs"] for text in output["text"])
        assert bool(printed) == bool(shown)
        if path.stem != TRAINED:
            assert printed == shown


def test_there_are_notebooks_with_output() -> None:
    assert len(NOTEBOOKS) >= 4
    assert all(any(cell["outputs"] for cell in code_cells(path)) for path in NOTEBOOKS)

"""The examples in the documentation of the environments run, top to bottom."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "environments.md"
BLOCKS = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = BLOCKS.findall(PAGE.read_text())
    assert len(blocks) >= 4
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    shown = capsys.readouterr().out
    assert "Calls left: 11" in shown
    assert "is_solved" in shown
    assert "1 []" in shown


def test_the_program_of_the_readme_prints_what_the_readme_says(capsys: pytest.CaptureFixture[str]) -> None:
    readme = (ROOT / "README.md").read_text()
    (program,) = BLOCKS.findall(readme)
    (printed,) = re.findall(r"^```text\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    exec(compile(program, "README.md", "exec"), {})
    assert capsys.readouterr().out == printed


def test_the_citation_names_the_version_of_the_package() -> None:
    assert f"\nversion: {version('steptool-env')}\n" in (ROOT / "CITATION.cff").read_text()

"""The examples of `docs/extending.md` run from top to bottom."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCKS = re.compile(r"^```python\n(?:# (\w+\.py)\n)?(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_examples_run(tmp_path: Path) -> None:
    """A process of its own keeps the templates and registries of the test session as they are."""
    script = ""
    for name, block in BLOCKS.findall((ROOT / "docs" / "extending.md").read_text()):
        if name:
            (tmp_path / name).write_text(block)
        else:
            script += block
    (tmp_path / "page.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"the (entrance fee of .*zoo.*|total fee of a visit of \d+ people to .*zoo.*)[.?]$", done.stdout)

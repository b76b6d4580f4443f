"""Settings import no torch, so that `--help` and checks of a file are fast."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "program",
    [
        "import agents.training.config",
        "import agents.training.sft_config",
        "from agents.training.config import make_config; make_config({'algo': 'archer'})",
    ],
)
def test_settings_import_no_torch(program: str) -> None:
    check = "import sys; assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", f"{program}; {check}"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr

"""Fixtures of several tests of the agents."""

from pathlib import Path

import pytest
import torch

from agents.cli import main
from steptool_env.client import HttpToolClient

TASKS = ["split=train", "level=lite", 'depths={"1": 1.0}', "unsolvable=0.0", "call_budget=2"]
"""Arguments of a small ToolWorld."""

torch.set_num_threads(1)  # the workers of a test run share the machine's cores


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a barely taught policy."""
    out = tmp_path_factory.mktemp("sft") / "start"
    flags = ["--episodes", "24", "--noise.wrong-tool", "0.2", "--copying", "16", "--sft.epochs", "1"]
    main(["sft", "--out", str(out), "--env-args", *TASKS, *flags, "--vocab-size", "600"])
    return out


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that wait half a second, not thirty, for a server that accepts no connection."""
    monkeypatch.setitem(HttpToolClient.__init__.__kwdefaults__, "reconnect", 0.5)

"""The demonstration, for real: a server in a process of its own, agents over HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.cli import main


def test_the_demo_compares_agents_over_http_and_ends_its_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["demo", "--episodes", "12", "--out", str(tmp_path / "demo")])
    result = json.loads((tmp_path / "demo" / "result.json").read_text())
    assert result["oracle"]["pass_rate"] == 1.0
    assert result["no-tools"]["pass_rate"] == result["random"]["pass_rate"] == 0.0
    assert result["env_calls"] == pytest.approx(sum(12 * result[name]["calls"] for name in result if name in FLOORS))
    assert result["oracle"]["transport_errors"] == 0
    out = capsys.readouterr().out
    assert "tool server ended" in out
    page = (tmp_path / "demo" / "report.html").read_text()
    assert all(f"{name}, " in page for name in FLOORS)


FLOORS = ("random", "no-tools", "greedy-docs", "oracle")

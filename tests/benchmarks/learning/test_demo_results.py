"""The demonstration and Stable-Baselines3's table as result files, in their shortest form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.learning import demo


def test_the_demonstration_leaves_a_result_of_every_agent(tmp_path: Path) -> None:
    result = demo.run(demo.Options(learner="none", episodes=4, runs=tmp_path / "runs"))
    (rows,) = result.tables.values()
    assert {row["agent"]: row["all %"] for row in rows} == {"oracle": "100.0", "random": "0.0"}
    panel = json.loads((tmp_path / "runs" / "0" / "result.json").read_text())["panel"]
    assert f"panel {panel}" in result.notes
    assert (tmp_path / "runs" / "0" / "report.html").is_file()


@pytest.mark.slow
def test_policies_of_stable_baselines3_stand_beside_their_floor() -> None:
    pytest.importorskip("sb3_contrib")
    from benchmarks.learning import sb3

    (rows,) = sb3.run(sb3.Options(total_steps=1, episodes=2)).tables.values()
    assert [(row["agent"], row["split"]) for row in rows] == [
        (agent, split) for agent in ("random-candidates", "MaskablePPO, seed 0") for split in ("depth-1", "depth-2")
    ]
    assert rows[0]["panel"] == rows[2]["panel"] != rows[1]["panel"]

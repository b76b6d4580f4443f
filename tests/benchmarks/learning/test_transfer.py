"""Transfer: finished runs on tasks that they were not trained on, evaluated once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.learning.experiment import Options as Experiment
from benchmarks.learning.experiment import planned
from benchmarks.learning.training_run import play
from benchmarks.transfer import Options, panels_of, run
from steptool_env.errors import ConfigurationError
from tests.benchmarks.learning.tiny import CALLS, SHARED, TASKS


def test_every_policy_is_evaluated_once_on_every_panel(start: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared.yaml"  # a world with tasks of every split
    shared.write_text(json.dumps({**SHARED, "env": {"num_envs": 10, "args": {**TASKS, "tools": 26}}}))
    experiment = Experiment(
        policy=start, config=shared, runs=tmp_path, arms=("steptool", "final"), seeds=1, calls=CALLS, points=1, depth=1,
        episodes=1, end_episodes=1, end_splits=("depth-1",),
    )  # fmt: skip
    for plan in planned(experiment, {}):
        plan.write()
        play(plan.folder, lambda calls, passed: None)
    options = Options(tmp_path / "depth-1", seeds=1, episodes=2)
    result = run(options)

    rates, gains, panels = result.tables.values()
    names = [panel.name for some in panels_of(1, 2).values() for panel in some]
    assert (
        [row["tasks"] for row in rates] == [row["tasks"] for row in gains] == [row["panel"] for row in panels] == names
    )
    assert len({row["digest"] for row in panels}) == len(set(names)) == len(names)
    assert all(float(str(row[arm])) == 0.0 for row in rates for arm in ("start", "start, best", "steptool", "final"))
    assert set(gains[0]) == {"new", "tasks", "steptool - start", "final - start", "steptool - final"}

    kept = (tmp_path / "depth-1" / "final-0" / "transfer.json").stat()
    assert run(options).tables == result.tables
    assert (tmp_path / "depth-1" / "final-0" / "transfer.json").stat() == kept
    assert run(replace(options, episodes=1)).tables["Panels"] != panels  # other tasks are another evaluation

    with pytest.raises(ConfigurationError, match=r"runs: .*steptool-1 holds no finished run"):
        run(replace(options, seeds=2))


def test_the_depth_of_training_is_in_each_other_world() -> None:
    panels = panels_of(5, 10)
    assert [panel.name for panel in panels["another depth"]] == [f"depth-{depth}" for depth in range(1, 7)]
    for what in ("a world of another seed", "a larger and wordier world"):
        assert [panel.overrides["split"] for panel in panels[what]] == ["depth-1", "depth-3", "depth-5"]

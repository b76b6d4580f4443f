"""Transfer: finished runs on tasks that they were not trained on, evaluated once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest
import torch

from agents.models import checkpoint
from agents.models.bundle import load_policy
from agents.models.decoder import lora_rank
from agents.training.config import read_config, read_yaml
from benchmarks import transfer
from benchmarks.complexfuncbench import transfer as fine_tuned
from benchmarks.complexfuncbench.fine_tuning import CONFIG, FineTuning, read_policy
from benchmarks.learning.experiment import Options as Experiment
from benchmarks.learning.experiment import planned
from benchmarks.learning.training_run import POLICY, play
from benchmarks.transfer import Options, _read, panels_of, run
from steptool_env.errors import ConfigurationError
from tests.benchmarks.learning.tiny import CALLS, SHARED, TASKS


@pytest.fixture(scope="module")
def runs(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished runs of two arms on tasks of depth 1."""
    folder = tmp_path_factory.mktemp("runs")
    shared = folder / "shared.yaml"  # a world with tasks of every split
    lora = {**SHARED["policy"], "lora_rank": 2}  # type: ignore[dict-item]
    args = {**TASKS, "tools": 26}
    shared.write_text(json.dumps({**SHARED, "policy": lora, "env": {"num_envs": 10, "args": args}}))
    experiment = Experiment(
        policy=start, config=shared, runs=folder, arms=("steptool", "final"), seeds=1, calls=CALLS, points=1, depth=1,
        episodes=1, end_episodes=1, end_splits=("depth-1",),
    )  # fmt: skip
    for plan in planned(experiment, {}):
        plan.write()
        play(plan.folder, lambda calls, passed: None)
    return folder / "depth-1"


def double(policy: Path) -> None:
    """Give a checkpoint other weights."""
    bundle = load_policy(policy)
    with torch.no_grad():
        next(p for p in bundle.policy.language_model.parameters() if p.requires_grad).mul_(2)
    checkpoint.save(policy, bundle.policy, bundle.tokenizer)


@pytest.mark.slow
def test_every_policy_is_evaluated_once_on_every_panel(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_SPLITS", transfer._SPLITS[:2])
    options = Options(runs, seeds=1, episodes=2)
    result = run(options)

    rates, gains, panels = result.tables.values()
    names = [panel.name for some in panels_of(1, 2).values() for panel in some]
    assert (
        [row["tasks"] for row in rates] == [row["tasks"] for row in gains] == [row["panel"] for row in panels] == names
    )
    assert len({row["digest"] for row in panels}) == len(set(names)) == len(names)
    assert all(float(str(row[arm])) == 0.0 for row in rates for arm in ("start", "start, best", "steptool", "final"))
    assert set(gains[0]) == {"new", "tasks", "steptool - start", "final - start", "steptool - final"}

    kept = {name: (runs / name / "transfer.json").stat() for name in ("start", "steptool-0", "final-0")}
    assert run(options).tables == result.tables
    assert {name: (runs / name / "transfer.json").stat() for name in kept} == kept

    double(runs / "final-0" / POLICY)  # as after another training
    run(options)
    assert [name for name in kept if (runs / name / "transfer.json").stat() != kept[name]] == ["final-0"]
    assert _read(runs / "start", panels_of(1, 2)) is not None
    assert _read(runs / "start", panels_of(1, 1)) is None  # other tasks are another evaluation

    with pytest.raises(ConfigurationError, match=r"runs: .*steptool-1 holds no finished run"):
        run(replace(options, seeds=2))


@pytest.mark.slow
def test_every_policy_takes_the_same_fine_tuning_on_complexfuncbench(
    runs: Path, complexfuncbench_data: Path, tmp_path: Path
) -> None:
    """Losses fall on other tasks, all weights are trained with and without adapters, and it is done once."""
    settings = read_yaml(CONFIG)
    settings |= {"sampling": {"max_action_tokens": 2}, "policy": {"context": 2500}}
    settings["env"]["args"] |= {"group": "Attraction", "call_budget": 2, "max_observation_length": 64}
    (config := tmp_path / "config.yaml").write_text(json.dumps(settings))
    options = fine_tuned.Options(runs, seeds=1, demonstrations=12, episodes=1, config=config)
    result = fine_tuned.run(options)

    assert result.name == "complexfuncbench_transfer_attraction"
    rows, gains, panels = result.tables.values()
    assert [row["policy"] for row in rows] == ["start", "steptool", "final"]
    for row in rows:
        assert float(str(row["loss after"])) < float(str(row["loss before"])) - 0.1
        assert (row["needed calls %"], row["solved %"]) == ("0.0", "0.0")
    assert [row["difference"] for row in gains] == ["steptool - start", "final - start", "steptool - final"]
    assert [row["panel"] for row in panels] == ["ComplexFuncBench"]

    kept = (runs / "final-0" / "transfer-complexfuncbench-0.json").stat().st_mtime_ns
    assert fine_tuned.run(options).tables == result.tables
    assert (runs / "final-0" / "transfer-complexfuncbench-0.json").stat().st_mtime_ns == kept
    with pytest.raises(ConfigurationError, match="85 tasks: 'train' of ComplexFuncBench has 84; ask for 1 to 84"):
        fine_tuned.run(replace(options, demonstrations=85))
    with pytest.raises(ConfigurationError, match="25 tasks: 'test' of ComplexFuncBench has 24"):
        fine_tuned.run(replace(options, episodes=25))
    with pytest.raises(ConfigurationError, match=r"runs: .*steptool-1 holds no finished run"):
        fine_tuned.run(replace(options, seeds=2))


def test_a_result_of_other_weights_is_not_reused(start: Path, tmp_path: Path) -> None:
    """As after the start of the runs was trained again in its folder."""
    copytree(start, policy := tmp_path / "policy")
    tuned = fine_tuned.Tuned(tmp_path, policy, FineTuning(1), 1)
    tuned.file.write_text(json.dumps({"settings": tuned.identity}))
    assert tuned.read() is not None
    double(policy)
    assert tuned.read() is None


def test_a_policy_with_adapters_is_read_as_a_whole_model(runs: Path) -> None:
    """The same function as the policy of the run, a longer context, and no weight left out of training."""
    bundle, before = read_policy(runs / "steptool-0" / POLICY), load_policy(runs / "steptool-0" / POLICY)
    assert lora_rank(before.policy.language_model) == 2
    assert lora_rank(bundle.policy.language_model) == 0
    assert all(parameter.requires_grad for parameter in bundle.policy.parameters())
    assert (before.context, bundle.context) == (2048, read_config(CONFIG).policy.context)
    ids = torch.arange(3, 60)[None]
    rows, positions = torch.zeros(8, dtype=torch.long), torch.arange(40, 48)
    scores = [each.policy(ids, rows, positions, ids[0, positions + 1], ("log_prob",)) for each in (before, bundle)]
    torch.testing.assert_close(scores[0]["log_prob"], scores[1]["log_prob"])


def test_the_depth_of_training_is_in_each_other_world() -> None:
    panels = panels_of(5, 10)
    assert [panel.name for panel in panels["another depth"]] == [f"depth-{depth}" for depth in range(1, 7)]
    for what in ("a world of another seed", "a larger and wordier world"):
        assert [panel.overrides["split"] for panel in panels[what]] == ["depth-1", "depth-3", "depth-5"]

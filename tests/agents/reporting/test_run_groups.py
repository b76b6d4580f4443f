"""Means over seeds: which runs they are of, and what their intervals are."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import yaml

from agents.cli import main
from agents.commands.report import read_run, run_names
from agents.evaluation.run_settings import RunSettings, read_run_settings
from agents.reporting.run_groups import Run, SeedGroup, played_metrics, seed_groups, trained_metrics
from agents.reporting.runs import run_tables
from steptool_env.errors import ConfigurationError
from tests.agents.reporting.test_runs import evaluation, training

PLAY = ["evaluate", "--env", "StepTool/ToolWorld-v0", "--episodes", "2", "-q"]
EVALUATION = {"env_id": "StepTool/ToolWorld-v0", "env_kwargs": {"split": "depth-2"}, "seed": 0}
SETTINGS = {"algo": "grpo", "seed": 0, "out": "runs/a", "calls": 100, "env": {"args": {"server_url": "http://a"}}}


def policy(folder: Path, passed: float, seed: int, **changed: object) -> Path:
    """Write the run of an evaluated policy, whose training had a folder and a tool server of its own."""
    settings = SETTINGS | {"seed": seed, "out": f"runs/{seed}", "env": {"args": {"server_url": f"http://{seed}"}}}
    run = {
        "agent": f"policy:runs/{seed}",
        "agent_args": [],
        "evaluation": EVALUATION,
        "training": {"settings": settings, "iteration": 5 + seed, "calls": 100 + seed},
    }
    evaluation(folder, passed)
    (folder / "run.json").write_text(json.dumps(run | changed))
    return folder


def groups(*folders: Path) -> list[SeedGroup]:
    return seed_groups(read_run(folder, name) for folder, name in run_names(folders).items())


def test_the_mean_over_seeds_has_an_interval_of_seeds(tmp_path: Path) -> None:
    """Resamples of two seeds, 0 and 1, have the means 0, 0.5 and 1; of equal seeds there is one mean."""
    (group,) = groups(policy(tmp_path / "a-seed0", 0.0, 0), policy(tmp_path / "a-seed1", 1.0, 1))
    assert (group.name, group.seeds) == ("a", ["0", "1"])
    found = group.estimates(played_metrics)
    assert (found["pass_rate"], found["pass_rate_low"], found["pass_rate_high"]) == (0.5, 0.0, 1.0)
    assert (found["calls"], found["calls_low"], found["calls_high"]) == (2.0, 2.0, 2.0)
    assert "precision_low_low" not in found


def test_more_seeds_narrow_the_interval_and_equal_runs_give_equal_ones(tmp_path: Path) -> None:
    runs = [policy(tmp_path / f"b_{seed}", float(seed % 2), seed) for seed in range(8)]
    (group,) = groups(*runs)
    found = group.estimates(played_metrics)
    assert 0 < found["pass_rate_low"] < found["pass_rate"] == 0.5 < found["pass_rate_high"] < 1
    assert groups(*runs)[0].estimates(played_metrics) == found


def test_a_seed_that_was_evaluated_twice_counts_once(tmp_path: Path) -> None:
    """Else three runs of one seed would look like three seeds."""
    runs = [policy(tmp_path / name, passed, seed) for name, passed, seed in (("a", 1.0, 0), ("b", 1.0, 0), ("c", 0, 1))]
    assert groups(*runs[:2]) == []
    (group,) = groups(*runs)
    assert group.estimates(played_metrics)["pass_rate"] == 0.5


def test_seeds_of_evaluations_are_averaged_inside_those_of_trainings(tmp_path: Path) -> None:
    """Two trainings, one evaluated three times and the other once, are two seeds of equal weight, not four."""
    runs = [
        policy(tmp_path / f"t{seed}-e{other}", float(seed), seed, evaluation=EVALUATION | {"seed": other})
        for seed, other in ((0, 0), (0, 1), (0, 2), (1, 0))
    ]
    (group,) = groups(*runs)
    assert (len(group.runs), group.seeds) == (4, ["0", "1"])
    found = group.estimates(played_metrics)
    assert (found["pass_rate"], found["pass_rate_low"], found["pass_rate_high"]) == (0.5, 0.0, 1.0)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"training": {"settings": {"preference": {"beta": 0.1}}, "iteration": 0, "calls": 0}},  # has no seed
        {"training": None},  # of another version
    ],
)
def test_one_training_under_several_seeds_of_evaluation_is_one_seed(tmp_path: Path, changed: dict[str, object]) -> None:
    runs = [
        policy(tmp_path / str(seed), float(seed % 2), 0, evaluation=EVALUATION | {"seed": seed}, **changed)
        for seed in range(3)
    ]
    assert groups(*runs) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"agent_args": [["temperature=1"]]},
        {"strategy": "cot@4"},
        {"evaluation": EVALUATION | {"env_kwargs": {"split": "depth-3"}}},
        {"training": {"settings": SETTINGS | {"seed": 1, "algo": "ppo"}, "iteration": 5, "calls": 100}},
        {"training": {"settings": SETTINGS | {"seed": 1}, "iteration": 3, "calls": 60}},  # not finished
        {"training": None, "agent": "policy:runs/1"},  # of another version: nothing says that they differ by a seed
        {"evaluation": {}},
    ],
)
def test_runs_that_differ_by_more_than_a_seed_are_no_group(tmp_path: Path, changed: dict[str, object]) -> None:
    assert groups(policy(tmp_path / "a", 1.0, 0), policy(tmp_path / "b", 1.0, 1, **changed)) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"env": "StepTool/ToolWorld-v0", "episodes": 3000, "sft": {"epochs": 4}},  # of SFT, without its demonstrations
        {"preference": {"beta": 0.1}},  # of ETO, without its start and its trajectories
    ],
)
def test_policies_whose_settings_leave_out_their_data_are_no_seeds_of_each_other(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    """Good and bad demonstrations under two seeds: nothing in the settings tells them apart but the path."""
    runs = [
        policy(
            tmp_path / str(seed),
            float(seed),
            seed,
            evaluation=EVALUATION | {"seed": seed},
            training={"settings": settings | {"seed": seed}, "iteration": 0, "calls": 0},
        )
        for seed in range(2)
    ]
    assert groups(*runs) == []


SFT = {"env": "StepTool/ToolWorld-v0", "episodes": 3000, "data": "", "stopped": False, "policy": {"checkpoint": ""}}
ETO = {"policy": {"checkpoint": "runs/sft"}, "per_task": 4, "data": "d1"}


def learned(folder: Path, number: int, settings: dict[str, object]) -> Path:
    """Write the evaluation of a policy of SFT or ETO; its evaluation has a seed, too."""
    training = {"settings": settings, "iteration": 0, "calls": 0}
    return policy(folder / str(number), float(number), number, evaluation=EVALUATION, training=training)


@pytest.mark.parametrize(
    ("settings", "seeds"),
    [
        ([SFT | {"seed": n, "sft": {"epochs": 4, "seed": 0}} for n in (0, 1)], ["0/0", "1/0"]),
        ([SFT | {"seed": 0, "sft": {"epochs": 4, "seed": n}} for n in (0, 1)], ["0/0", "0/1"]),
        ([SFT | {"data": "d1", "seed": n, "sft": {"seed": 0}} for n in (0, 1)], ["0/0", "1/0"]),  # fresh weights
        ([ETO | {"preference": {"beta": 0.1, "seed": n}} for n in (0, 1)], ["0", "1"]),
    ],
)
def test_policies_of_the_same_data_are_grouped_over_seeds(
    tmp_path: Path, settings: list[dict[str, object]], seeds: list[str]
) -> None:
    (group,) = groups(*(learned(tmp_path, number, each) for number, each in enumerate(settings)))
    assert group.seeds == seeds


GIVEN = SFT | {"data": "d1", "policy": {"checkpoint": "runs/sft", "lora_rank": 0}, "sft": {"epochs": 4, "seed": 0}}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SFT | {"data": "d1"}, SFT | {"data": "d2"}),
        (SFT, SFT | {"episodes": 3001}),
        (SFT | {"sft": {"epochs": 4}}, SFT | {"sft": {"epochs": 5}}),
        (SFT, SFT | {"stopped": True}),
        (SFT | {"stopped": True}, SFT | {"stopped": True}),  # each somewhere
        (GIVEN, GIVEN),  # a seed that changes nothing: the same policy twice
        (ETO | {"preference": {"beta": 0.1}}, ETO | {"preference": {"beta": 0.2}}),
        (ETO, ETO | {"policy": {"checkpoint": "runs/other"}}),
        (ETO, ETO | {"data": "d2"}),
    ],
)
def test_policies_of_other_data_are_no_group(tmp_path: Path, one: dict[str, object], other: dict[str, object]) -> None:
    assert groups(learned(tmp_path, 0, one | {"seed": 0}), learned(tmp_path, 1, other | {"seed": 1})) == []


@pytest.mark.slow
def test_trained_policies_of_sft_and_eto_are_grouped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the real commands, from one start and one set of episodes; other episodes are another group."""
    played = []
    for agent in ("oracle", "random"):
        folder = tmp_path / agent
        main([*PLAY, "--env-args", "split=depth-1", "--agent", agent, "--out", str(folder)])
        played.append(str(folder / "trajectories.jsonl"))
    start = ["--policy.checkpoint", "nano-sft", "-q"]
    folders = []
    for seed in ("0", "1"):
        sft, eto = (str(tmp_path / f"{name}-{seed}") for name in ("sft", "eto"))
        main(["sft", *start, "--demonstrations", played[0], "--sft.epochs", "1", "--sft.seed", seed, "--out", sft])
        main(["eto", *start, "--trajectories", *played, "--preference.seed", seed, "--out", eto])
        folders += [sft, eto]
    other = str(tmp_path / "other")
    main(["sft", *start, "--demonstrations", played[1], "--sft.epochs", "1", "--sft.seed", "2", "--out", other])
    for folder in (*folders, other):
        main([*PLAY, "--env-args", "split=depth-1", "--agent", f"policy:{folder}", "--out", f"{folder}/evaluation"])
    found = report([f"{folder}/evaluation" for folder in (*folders, other)], tmp_path, capsys)["means_over_seeds"]
    assert sorted(each["runs"] for each in found.values()) == [
        ["eto-0/evaluation", "eto-1/evaluation"],
        ["sft-0/evaluation", "sft-1/evaluation"],
    ]


def test_runs_on_other_tasks_are_no_group(tmp_path: Path) -> None:
    one, other = policy(tmp_path / "a", 1.0, 0), policy(tmp_path / "b", 1.0, 1)
    evaluation(other, 1.0, tasks="789")
    assert groups(one, other) == []


def configured(folder: Path, seed: int, iterations: int, calls: int = 100) -> Path:
    """Write a training of some iterations of 50 calls, the first of which has none, and its settings."""
    training(folder, iterations)
    config = SETTINGS | {"seed": seed, "out": str(folder), "eval_episodes": 50, "calls": calls}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def test_trainings_are_grouped_by_their_settings(tmp_path: Path) -> None:
    folders = [configured(tmp_path / str(seed) / "grpo", seed, 12 + 8 * seed) for seed in range(2)]
    (group,) = groups(*folders)
    rates = [8 / 12, 16 / 20]
    assert group.name == "grpo"
    assert group.estimates(trained_metrics)["held out, last"] == pytest.approx(fmean(rates))
    tables = run_tables([run for each in [group] for run in each.runs])
    assert [row[-1] for row in tables[0].rows] == ["66.7 % (53–78 %)", "80.0 % (67–89 %)"]
    assert tables[-1].rows == [("grpo", "2", "0.0 % (0–0 %)", "73.3 % (67–80 %)")]


@pytest.mark.parametrize("wrong", ["600", [600], -1, True])
def test_settings_of_another_form_are_named(wrong: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        report([str(configured(tmp_path / "a", 0, 2, calls=wrong))], tmp_path, capsys)
    assert f"a: the settings of its training have calls={wrong!r}, which must be a whole" in capsys.readouterr().err


def test_a_training_without_a_number_of_calls_is_an_unfinished_one(tmp_path: Path) -> None:
    whole = {"settings": SETTINGS | {"calls": 100}, "iteration": 5}
    finished = [policy(tmp_path / f"a-{n}", 1.0, n, training=whole | {"calls": 100 + n}) for n in range(2)]
    unknown = [policy(tmp_path / f"b-{n}", 1.0, n, training=whole | {"calls": {"a": n}}) for n in range(2)]
    digests = [read_run_settings(folder).digest for folder in (*finished, *unknown)]
    assert digests[0] == digests[1] != digests[2] == digests[3]


def test_unfinished_trainings_are_left_out_of_the_means(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One of three stopped after its first evaluation, so that its last pass rate is that of the start."""
    runs = [str(configured(tmp_path / f"a-{seed}", seed, 13 if seed else 2, calls=600)) for seed in range(3)]
    record = report(runs, tmp_path, capsys)["means_over_seeds"]["a"]
    assert (record["runs"], record["seeds"], record["left_out"]) == (["a-1", "a-2"], ["1", "2"], ["a-0"])
    assert record["held out, last"] == pytest.approx(12 / 13)
    tables = run_tables([read_run(Path(run)) for run in runs])
    assert [row[1] for row in tables[-1].rows] == ["2"]
    assert "1 unfinished training is left out" in tables[-1].note
    assert report(runs[:2], tmp_path, capsys)["means_over_seeds"] == {}
    note = run_tables([read_run(Path(run)) for run in runs[1:]])[-1].note
    assert "left out" not in note


def test_evaluations_in_folders_of_unfinished_trainings_are_no_trainings(tmp_path: Path) -> None:
    """The mean of the episodes stays, that of the curves has one finished training and is left out."""
    runs = [evaluation(configured(tmp_path / f"a-{seed}", seed, 13 if seed else 2, calls=600), 1.0) for seed in (0, 1)]
    tables = run_tables([read_run(run) for run in runs])
    assert [table.title for table in tables if "over seeds" in table.title] == ["Means over seeds"]


def report(runs: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return what the real command prints with --json."""
    capsys.readouterr()
    main(["report", *runs, "--out", str(folder / "page.html"), "--json"])
    return dict(json.loads(capsys.readouterr().out))


def test_the_console_and_the_page_show_means_over_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the real command: a random agent under three seeds, and another agent, which is no seed of it."""
    common = ["evaluate", "--env", "StepTool/ToolWorld-v0", "--env-args", "split=depth-1", "--episodes", "3", "-q"]
    for seed in range(3):
        main([*common, "--agent", "random", "--seed", str(seed), "--out", str(tmp_path / f"random-{seed}")])
    main([*common, "--agent", "oracle", "--out", str(tmp_path / "oracle")])
    folders = sorted(map(str, (path for path in tmp_path.iterdir() if path.is_dir())))
    main(["report", *folders, "--out", str(tmp_path / "page.html")])
    printed, page = capsys.readouterr().out, (tmp_path / "page.html").read_text()
    assert "Means over seeds" in printed
    assert "bootstrap" in printed
    assert [line.split()[:2] for line in printed.splitlines() if line.split()[:1] == ["random"]] == [["random", "3"]]
    assert "Means over seeds" in page
    assert "bootstrap" in page
    main(["report", *folders, "--out", str(tmp_path / "page.html"), "--json"])
    record = json.loads(capsys.readouterr().out)
    rates = [record["runs"][f"random-{seed}"]["calls"] for seed in range(3)]
    assert list(record["means_over_seeds"]) == ["random"]
    assert record["means_over_seeds"]["random"]["calls"] == pytest.approx(fmean(rates))


@pytest.mark.parametrize(
    ("names", "common"),
    [
        (("a-seed0", "a-seed1"), "a"),
        (("train-10", "train-20"), "train"),
        (("demo-0/final", "demo-1/final"), "demo final"),
        (("0/grpo", "1/grpo"), "grpo"),
        (("first", "other"), "first …"),
    ],
)
def test_a_group_has_the_common_name_of_its_runs(names: tuple[str, ...], common: str) -> None:
    runs = [Run(name, settings=RunSettings("same", str(seed))) for seed, name in enumerate(names)]
    assert [group.name for group in seed_groups(runs)] == [common]


def test_names_of_runs_tell_them_apart(tmp_path: Path) -> None:
    paths = [tmp_path / "demo-0" / "episodes" / "final", tmp_path / "demo-1" / "episodes" / "final", tmp_path / "x"]
    assert list(run_names(paths).values()) == ["demo-0/final", "demo-1/final", "x"]
    with pytest.raises(ConfigurationError, match="given twice"):
        run_names([tmp_path, tmp_path / ".." / tmp_path.name])

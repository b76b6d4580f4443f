"""Inspect's own reader and viewer on the logs of `steptool export inspect`."""

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

pytest.importorskip("inspect_ai", reason="needs Inspect: pip install 'steptool-env[inspect]'")

from inspect_ai.log import EvalLog, EvalSample, read_eval_log

from agents.cli import main
from agents.commands.evaluate import Command
from steptool_env.metrics import result_of
from steptool_env.trajectories.recordings import read_recordings
from steptool_env.trajectories.trajectories import write_trajectories
from steptool_env.types import Trajectory
from tests.steptool_env.sample_episodes import answered, called, malformed, task, trajectory
from toolserver.children import end

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = "</pre><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'> \ud800"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation with solved and unsolved episodes, and calls that fail."""
    out = tmp_path_factory.mktemp("inspect") / "greedy"
    Command(
        env="StepTool/ToolWorld-v0", agent="greedy-docs", out=out, env_args=(("split=depth-1",),), episodes=12
    ).run()
    return out


def export(run: Path, out: Path, *flags: str) -> dict[str, EvalLog]:
    main(["export", "inspect", str(run), "--out", str(out), *flags])
    return {file.stem: read_eval_log(str(file), resolve_attachments=True) for file in sorted(out.glob("*.eval"))}


def check_sample(sample: EvalSample, episode: Trajectory) -> None:
    """Everything of an episode is in its sample, step by step."""
    assert (sample.id, sample.input) == (episode.task.id, episode.task.query)
    events = [event for event in sample.events if event.event in ("model", "tool", "info", "score")]
    rewards = [event for event in events if event.event == "score" and event.intermediate]
    assert [event.score.value for event in rewards] == list(episode.rewards)
    assert [event.score.metadata["reward_terms"] for event in rewards] == [dict(s.reward_terms) for s in episode.steps]
    said = [event.output.choices[0].message for event in events if event.event == "model"]
    assert [message.text for message in said] == [step.action.text for step in episode.steps]
    tools = [event for event in events if event.event == "tool"]
    steps = [step for step in episode.steps if step.action.name]
    assert [(tool.function, tool.result) for tool in tools] == [(s.action.name, s.observation) for s in steps]
    assert [tool.error is None for tool in tools] == [int(s.status) in (0, 3, 4) for s in steps]
    assert [tool.metadata["provenance"] for tool in tools] == [s.provenance and s.provenance.value for s in steps]
    assert sample.scores is not None
    assert sample.scores["step_rewards"].value == list(episode.rewards)
    assert sample.scores["return"].value == pytest.approx(sum(episode.rewards))
    assert sample.scores["solved"].value == result_of(episode).passed
    assert [m.role for m in sample.messages[:2]] == ["system", "user"]
    assert [m.text for m in sample.messages if m.role == "assistant"] == [s.action.text for s in episode.steps]


def test_inspect_reads_every_step_score_and_setting_of_a_run(run: Path, tmp_path: Path) -> None:
    (log,) = export(run, tmp_path).values()
    episodes = read_recordings(run)
    assert log.status == "success"
    samples = {sample.id: sample for sample in log.samples or []}  # read in the order of their ids
    assert len(samples) == len(episodes) == 12
    for episode in episodes:
        check_sample(samples[episode.task.id], episode)
    solved = [result_of(episode).passed for episode in episodes]
    assert 0 < fmean(solved) < 1
    assert log.results is not None
    totals = {score.name: score.metrics for score in log.results.scores}
    metrics = json.loads((run / "metrics.json").read_text())
    assert totals["solved"]["mean"].value == pytest.approx(metrics["pass_rate"], abs=1e-6)
    assert totals["return"]["mean"].value == pytest.approx(fmean(sum(episode.rewards) for episode in episodes))
    settings = json.loads((run / "run.json").read_text())
    assert (log.eval.task, log.eval.model) == ("depth-1", "greedy-docs")
    assert log.eval.task_args == {"env": "StepTool/ToolWorld-v0", "split": "depth-1"}
    assert log.eval.metadata is not None
    assert log.eval.metadata["settings"] == settings["settings"]
    first = samples[episodes[0].task.id]
    offered = {tool.name for event in first.events if event.event == "model" for tool in event.tools}
    assert offered == {"Finish", *(spec.function_name for spec in episodes[0].task.tools)}


def test_equal_runs_give_equal_logs(run: Path, tmp_path: Path) -> None:
    one, other = (export(run, tmp_path / name)["depth-1"].model_dump_json(exclude={"location"}) for name in "ab")
    assert one == other


def test_each_suite_of_a_run_is_a_log(tmp_path: Path) -> None:
    run = tmp_path / "recorded"
    Command(env="StepTool/StableToolBench-v0", agent="random", out=run, env_args=(("suite=all",),)).run()
    logs = export(run, tmp_path / "out")
    episodes = read_recordings(run)
    assert len(logs) == len({episode.task.suite for episode in episodes}) == 6
    by_task = {(episode.task.suite, episode.task.id): episode for episode in episodes}
    samples = {(log.eval.task, str(sample.id)): sample for log in logs.values() for sample in log.samples or []}
    assert samples.keys() == by_task.keys()
    for key, sample in samples.items():
        check_sample(sample, by_task[key])


@pytest.mark.parametrize("depth", [1, 100_000])
def test_bad_model_output_and_repeated_tasks_are_kept(tmp_path: Path, depth: int) -> None:
    broken = called(HOSTILE, HOSTILE)
    broken.action.arguments, broken.action.text = '{"a": ' * depth, HOSTILE
    episode = trajectory(malformed(HOSTILE), broken, answered(HOSTILE), of=task(HOSTILE), is_solved=0.0)
    again = replace(episode, metadata={**episode.metadata, "advantages": [0.5, -1.5, 2.0]})
    write_trajectories(tmp_path / "episodes.jsonl", [episode, again])
    (log,) = export(tmp_path / "episodes.jsonl", tmp_path / "out").values()
    first, second = log.samples or []
    assert (first.epoch, second.epoch, log.eval.config.epochs) == (1, 2, 2)
    call = first.messages[4].tool_calls[0]  # type: ignore[union-attr,index]
    assert call.arguments == {}
    assert call.parse_error is not None
    assert '{"a": ' in call.parse_error
    scores = [event.score for event in second.events if event.event == "score" and event.intermediate]
    assert [score.metadata["advantage"] for score in scores] == [0.5, -1.5, 2.0]  # type: ignore[index]


def test_nothing_is_overwritten(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export(run, tmp_path)
    with pytest.raises(SystemExit, match="2"):
        export(run, tmp_path)
    assert "depth-1.eval exists" in capsys.readouterr().err


def test_inspects_command_dumps_a_log(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path)
    command = [str(Path(sys.executable).with_name("inspect")), "log", "dump", str(tmp_path / "depth-1.eval")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["samples"]) == 12


@contextmanager
def inspect_view(folder: Path) -> Iterator[str]:
    """`inspect view` of a folder on a free port, of this machine only."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("inspect")), "view", "--log-dir", str(folder), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        assert any("Running on" in line for line in process.stdout), "inspect view ended"
        yield f"http://127.0.0.1:{port}"
    finally:
        end(process)
        process.stdout.close()  # type: ignore[union-attr]


def test_inspect_view_shows_runs_steps_and_rewards_in_chromium(run: Path, tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    logs = tmp_path / "logs"
    export(run, logs)
    hostile = trajectory(called(HOSTILE, HOSTILE), answered(HOSTILE), of=task(HOSTILE, suite="hostile"), is_solved=0.0)
    hostile.steps[0].action.text = HOSTILE
    write_trajectories(tmp_path / "hostile.jsonl", [hostile])
    export(tmp_path / "hostile.jsonl", logs)
    episode = read_recordings(run)[0]
    errors: list[str] = []
    with inspect_view(logs) as address, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(base_url=address, viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto("/#/tasks/depth-1.eval")
        page.get_by_text("greedy-docs").first.wait_for()
        row = page.get_by_role("row").filter(has_text=episode.task.id).first
        assert json.dumps(list(episode.rewards))[:12] in row.inner_text()
        row.click()
        page.get_by_text("Intermediate Score").first.wait_for()
        body = page.locator("body")
        shown = " ".join(body.inner_text().split())
        assert episode.steps[0].action.name in shown
        assert f"{episode.rewards[0]:g}" in shown
        assert re.search(r"progress -?[\d.]+, cost -?[\d.]+", shown)
        page.goto("/#/tasks/hostile.eval/samples/sample/1/1")
        page.get_by_text("Intermediate Score").first.wait_for()
        assert "window.hacked" in body.inner_text()
        assert page.evaluate("window.hacked") is None
        browser.close()
    assert not errors

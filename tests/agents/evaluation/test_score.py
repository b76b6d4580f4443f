"""Scoring of recorded episodes."""

import json
from pathlib import Path
from typing import Any

import pytest

from agents.cli import main
from agents.commands.score import rescore, rescore_all
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.registry import make_agent
from steptool_env.metrics import result_of
from steptool_env.rewards import make_reward
from steptool_env.trajectories.trajectories import read_trajectories, write_trajectories
from steptool_env.types import Trajectory
from tests.server_stub import Reply, calling, chat_stub
from tests.steptool_env.sample_episodes import answered, called, malformed, task, trajectory

EPISODE = trajectory(
    called("search", [{"id": "tt-93421"}], studio="Aurora"),
    malformed(),
    called("details", {"director": "Maren Okafor"}, id="tt-93421"),
    answered("Maren Okafor directed the film of Aurora."),
    of=task(relevant=("search", "details")),
)


@pytest.mark.parametrize(("kind", "agent"), [("progress", "greedy-docs"), ("steptool", "oracle"), ("final", "random")])
def test_the_environments_own_reward_changes_nothing(kind: str, agent: str, tmp_path: Path) -> None:
    """Played, written, read and scored again by the same reward, an episode is what it was."""
    played = evaluate(Evaluation("StepTool/ToolWorld-v0", {"reward": kind}, episodes=12), make_agent(agent))
    write_trajectories(tmp_path / "played.jsonl", played)
    options = {"judge": "world"} if kind != "progress" else {}
    reward = make_reward(kind, **options)
    assert [rescore(episode, reward) for episode in read_trajectories(tmp_path / "played.jsonl").trajectories] == played


def test_rules_can_judge_what_was_played_under_another_reward() -> None:
    scored = rescore(EPISODE, make_reward("steptool"))
    search, noise, details, answer = scored.rewards
    assert search == details > 0.5  # the identifier earns what it led to
    assert noise == 0.0
    assert answer == result_of(scored).passed == 1.0
    assert set(scored.steps[-1].reward_terms) == {"format", "is_solved"}


def test_episodes_cut_by_a_lost_connection_stay_as_they_are_and_order_is_kept() -> None:
    lost = Trajectory(task(), (), (), False, True, {"transport_error": "refused"})
    reported: list[Trajectory] = []
    scored = rescore_all([EPISODE, lost, EPISODE], make_reward("final"), 3, reported.append)
    assert scored == reported
    assert scored[1] == lost
    assert scored[0] == scored[2] != EPISODE


def test_too_few_workers_are_named_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_trajectories(tmp_path / "run.jsonl", [EPISODE])
    words = ["score", "--episodes", str(tmp_path / "run.jsonl"), "--out", str(tmp_path / "scored"), "--workers", "0"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: workers=0: must be at least 1\n"
    assert not (tmp_path / "scored").exists()


def test_a_model_judges_a_recorded_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_trajectories(tmp_path / "run.jsonl", [EPISODE, EPISODE])
    fields = {"succeed_tool_calling": [1, 0, 1], "contribution_to_final_answer": [4, 0, 5]}
    reply = calling("evaluate_process_reward", **fields, final_answer_status="Unsure")
    with chat_stub(lambda _: reply) as stub:
        main(["score", "--episodes", str(tmp_path / "run.jsonl"), "--out", str(tmp_path / "scored"),
              "--reward-args", "judge=llm", "model=m", f"base_url={stub.url}", "repeats=2"])  # fmt: skip
    metrics = json.loads((tmp_path / "scored" / "metrics.json").read_text())
    assert (metrics["pass_rate"], metrics["recall"], metrics["episodes"]) == (0.5, 1.0, 2)
    (first, _) = read_trajectories(tmp_path / "scored" / "trajectories.jsonl").trajectories
    assert first.rewards == pytest.approx((0.9, 0.0, 1.0, 0.5))
    assert (tmp_path / "scored" / "report.html").is_file()
    assert "pass_rate 0.500" in capsys.readouterr().out


def test_without_a_judge_the_recorded_runs_own_judges_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The oracle of ToolWorld keeps its 100 %, from the folder and from the file; the rules gave it less."""
    played, again, ruled = tmp_path / "played", tmp_path / "again", tmp_path / "ruled"
    main(["evaluate", "--env", "StepTool/ToolWorld-v0", "--env-args", "split=depth-2", "--agent", "oracle",
          "--episodes", "12", "--out", str(played)])  # fmt: skip
    for episodes, out, words, judge in (
        (played, again, [], "judge world, that of the recorded run"),
        (played / "trajectories.jsonl", ruled, ["--reward-args", "judge=rules"], ""),
        (ruled, tmp_path / "ruled again", [], "judge rules, that of the recorded run"),
    ):
        main(["score", "--episodes", str(episodes), "--out", str(out), *words])
        printed = capsys.readouterr().out
        assert judge in printed
        assert ("of the recorded run" in printed) == bool(judge)
    rates = [json.loads((out / "metrics.json").read_text())["pass_rate"] for out in (again, ruled)]
    assert rates[1] < rates[0] == 1.0
    reward = json.loads((again / "run.json").read_text())["settings"]["reward"]
    assert reward == {"kind": "steptool", "judge": "world"}


def test_the_judge_of_a_run_comes_with_its_options_and_without_its_key(tmp_path: Path) -> None:
    played = tmp_path / "run"
    write_trajectories(played / "trajectories.jsonl", [EPISODE])
    fields = {"succeed_tool_calling": [1, 0, 1], "contribution_to_final_answer": [4, 0, 5]}
    reply = calling("evaluate_process_reward", **fields, final_answer_status="Unsure")
    with chat_stub(lambda _: reply) as stub:
        options = {"judge": "llm", "model": "m", "base_url": stub.url, "repeats": 1, "api_key": "secret"}
        run = {"settings": {"reward": {"kind": "steptool", **options}}}
        (played / "run.json").write_text(json.dumps(run))
        main(["score", "--episodes", str(played), "--out", str(tmp_path / "scored"),
              "--reward-args", f"base_url={stub.url}"])  # fmt: skip
        assert not any("secret" in str(headers) for headers in stub.headers)
    assert json.loads((tmp_path / "scored" / "metrics.json").read_text())["pass_rate"] == 0.5
    assert "secret" not in (tmp_path / "scored" / "run.json").read_text()


def test_scoring_into_the_folder_of_the_recorded_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_trajectories(tmp_path / "run" / "trajectories.jsonl", [EPISODE])
    with pytest.raises(SystemExit, match="2"):
        main(["score", "--episodes", str(tmp_path / "run"), "--out", str(tmp_path / "run")])
    assert "holds the result of another run (trajectories.jsonl); give another --out" in capsys.readouterr().err
    assert read_trajectories(tmp_path / "run" / "trajectories.jsonl").trajectories == [EPISODE]


def test_a_judge_that_fails_half_way_leaves_the_folder_to_the_next_try(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_trajectories(tmp_path / "run.jsonl", [EPISODE, EPISODE])
    fields = {"succeed_tool_calling": [1, 0, 1], "contribution_to_final_answer": [4, 0, 5]}
    reply = calling("evaluate_process_reward", **fields, final_answer_status="Solved")
    words = ["score", "--episodes", str(tmp_path / "run.jsonl"), "--out", str(tmp_path / "scored"), "--workers", "1"]
    judge = ["--reward-args", "judge=llm", "model=m", "repeats=1"]
    asked: list[dict[str, Any]] = []

    def once(request: dict[str, Any]) -> Reply:
        asked.append(request)
        return reply if len(asked) == 1 else 401

    with chat_stub(once) as stub, pytest.raises(SystemExit):
        main([*words, *judge, f"base_url={stub.url}"])
    assert len(asked) > 1
    assert "error: " in capsys.readouterr().err
    with chat_stub(lambda _: reply) as stub:
        main([*words, *judge, f"base_url={stub.url}"])
    assert len(read_trajectories(tmp_path / "scored" / "trajectories.jsonl").trajectories) == 2
    assert not list((tmp_path / "scored").glob("*.unfinished"))


def test_without_the_report_extra_there_is_no_page_and_a_word_about_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("agents.reporting.outputs.reports_available", lambda: False)
    write_trajectories(tmp_path / "run.jsonl", [EPISODE])
    main(["score", "--episodes", str(tmp_path / "run.jsonl"), "--out", str(tmp_path / "scored")])
    assert not (tmp_path / "scored" / "report.html").exists()
    assert (tmp_path / "scored" / "metrics.json").is_file()
    assert "steptool-env[report]" in capsys.readouterr().out.replace("\n", "")


@pytest.mark.parametrize(
    "options",
    [
        {"judge": f"{__name__}:evil", "path": "touched"},
        {"judge": "subprocess:Popen", "args": "exit 0", "shell": True},
    ],
)
def test_a_recorded_run_names_no_code(
    options: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    played = tmp_path / "run"
    write_trajectories(played / "trajectories.jsonl", [EPISODE])
    (played / "run.json").write_text(json.dumps({"settings": {"reward": {"kind": "steptool", **options}}}))
    with pytest.raises(SystemExit, match="2"):
        main(["score", "--episodes", str(played), "--out", str(tmp_path / "scored")])
    assert "is not built in" in capsys.readouterr().err


def test_a_recorded_run_names_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its endpoint would get the key of whoever scores it."""
    played = tmp_path / "run"
    write_trajectories(played / "trajectories.jsonl", [EPISODE])
    fields = {"succeed_tool_calling": [1, 0, 1], "contribution_to_final_answer": [4, 0, 5]}
    reply = calling("evaluate_process_reward", **fields, final_answer_status="Solved")
    with chat_stub(lambda _: reply) as mine, chat_stub(lambda _: reply) as theirs:
        monkeypatch.setenv("OPENAI_BASE_URL", mine.url)
        recorded = {"judge": "llm", "model": "m", "base_url": theirs.url, "repeats": 1}
        (played / "run.json").write_text(json.dumps({"settings": {"reward": recorded}}))
        main(["score", "--episodes", str(played), "--out", str(tmp_path / "scored")])
        assert (len(theirs.requests), len(mine.requests)) == (0, 1)

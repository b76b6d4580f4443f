"""Scoring recorded episodes anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.cli import main
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.evaluation.rescore import rescore, rescore_all
from agents.registry import make_agent
from steptool_env.metrics import result_of
from steptool_env.rewards import make_reward
from steptool_env.trajectories.trajectories import read_trajectories, write_trajectories
from steptool_env.types import Trajectory
from tests.chat_stub import calling, chat_stub
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
    told: list[Trajectory] = []
    scored = rescore_all([EPISODE, lost, EPISODE], make_reward("final"), 3, told.append)
    assert scored == told
    assert scored[1] == lost
    assert scored[0] == scored[2] != EPISODE


def test_a_model_judges_a_recorded_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_trajectories(tmp_path / "run.jsonl", [EPISODE, EPISODE])
    fields = {"succeed_tool_calling": [1, 0, 1], "contribution_to_final_answer": [4, 0, 5]}
    reply = calling("evaluate_process_reward", **fields, final_answer_status="Unsure")
    with chat_stub(lambda _: reply) as stub:
        main(["score", "--episodes", str(tmp_path / "run.jsonl"), "--out", str(tmp_path / "scored"),
              "--reward-arg", "judge=llm", "model=m", f"base_url={stub.url}", "repeats=2"])  # fmt: skip
    metrics = json.loads((tmp_path / "scored" / "metrics.json").read_text())
    assert (metrics["pass_rate"], metrics["recall"], metrics["episodes"]) == (0.5, 1.0, 2)
    (first, _) = read_trajectories(tmp_path / "scored" / "trajectories.jsonl").trajectories
    assert first.rewards == pytest.approx((0.9, 0.0, 1.0, 0.5))
    assert (tmp_path / "scored" / "report.html").is_file()
    assert "pass_rate 0.500" in capsys.readouterr().out


def test_without_the_report_extra_there_is_no_page_and_a_word_about_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("agents.evaluation.outputs.reports_available", lambda: False)
    write_trajectories(tmp_path / "run.jsonl", [EPISODE])
    main(["score", "--episodes", str(tmp_path / "run.jsonl"), "--out", str(tmp_path / "scored")])
    assert not (tmp_path / "scored" / "report.html").exists()
    assert (tmp_path / "scored" / "metrics.json").is_file()
    assert "steptool-env[report]" in capsys.readouterr().out.replace("\n", "")

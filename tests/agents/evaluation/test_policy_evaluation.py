"""The learning curve of a run and `steptool evaluate` give the same figures."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agents.cli import main
from agents.evaluation.policy_evaluation import PolicyEvaluation, evaluation_of
from agents.evaluation.results import read_held_out
from agents.models.bundle import load_policy
from agents.rollout.config import EnvConfig, Sampling
from agents.training.metrics_log import read_metrics

TASKS: dict[str, Any] = {"level": "lite", "tools": 14, "depths": {"1": 1}, "unsolvable": 0, "call_budget": 4}
WORDS = [f"{name}={json.dumps(value)}" for name, value in TASKS.items()]
EPISODES, ACTION_TOKENS, SEED = 6, 40, 3


def evaluated(checkpoint: Path | str, slots: int, out: Path) -> dict[str, float]:
    """metrics.json of `steptool evaluate`."""
    main(["evaluate", "--env", "StepTool/ToolWorld-v0", "--env-args", "split=validation", *WORDS,
          "--agent", f"policy:{checkpoint}", "--agent-args", "temperature=1",
          f"max_action_tokens={ACTION_TOKENS}", "--episodes", str(EPISODES), "--seed", str(SEED),
          "--slots", str(slots), "--out", str(out)])  # fmt: skip
    return dict(json.loads((out / "metrics.json").read_text()))


def check_same(record: Mapping[str, float], metrics: Mapping[str, float]) -> None:
    names = {"is_solved": "pass_rate", "finished": "finish_rate", "calls": "calls", "return": "return"}
    got = [record[f"eval/{name}"] for name in names]
    assert got == pytest.approx([metrics[name] for name in names.values()], abs=1e-6)
    assert record["eval/dropped"] == metrics["transport_errors"] == 0


def test_the_sampled_figures_of_a_run_are_those_of_its_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    main(["train", "--out", str(run), "--policy.checkpoint", "nano-sft", "--calls", "1", "--episodes", "4",
          "--eval-every", "1", "--eval-episodes", str(EPISODES), "--seed", str(SEED), "--env.num-envs", "4",
          "--env-args", "split=train", *WORDS, "--eval-args", "split=validation",
          "--sampling.max-action-tokens", str(ACTION_TOKENS), "--policy.critic", "detached",
          "--optim.lr", "1e-3"])  # fmt: skip
    printed = capsys.readouterr().out
    assert f"wrote {run}\nnext: steptool evaluate --env StepTool/ToolWorld-v0 --agent policy:{run}" in printed
    assert "split=validation" in printed
    before, after = (record for record in read_metrics(run) if "eval/is_solved" in record)
    check_same(before, evaluated("nano-sft", 6, tmp_path / "before"))
    metrics = evaluated(run, 3, tmp_path / "after")
    check_same(after, metrics)
    assert metrics["panel"] == read_held_out(run)
    assert before["eval/return"] != after["eval/return"]


def test_a_server_that_is_away_drops_the_episodes_of_an_evaluation_and_ends_nothing() -> None:
    env = EnvConfig(args={"split": "depth-1", "server_url": "http://127.0.0.1:9"})
    evaluation = PolicyEvaluation(evaluation_of(env, {}, EPISODES, SEED), load_policy("nano-sft"), Sampling())
    assert evaluation() == {"eval/dropped": EPISODES}

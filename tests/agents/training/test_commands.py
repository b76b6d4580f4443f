"""`steptool sft`, `train` and `evaluate` one after the other, small but whole; and the policy as an agent."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.cli import main
from agents.commands import train
from agents.errors import ConfigurationError
from agents.models import checkpoint
from agents.models.bundle import PolicyBundle
from agents.rollout.config import Sampling
from agents.rollout.episode_pool import open_pool
from agents.rollout.policy_agent import policy_agent
from agents.training.metrics_log import read_metrics
from tests.agents.bandit import ToolBandit, bandit_config, bundle, trainer
from tests.agents.conftest import TASKS
from tests.agents.disk import files_no_larger_than
from toolserver.settings import MAX_BODY_BYTES

SMALL = ["--episodes", "8", "--env.num-envs", "4", "--eval-episodes", "4", "--eval-every", "1"]


def test_a_start_of_another_world_is_warned_of(start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has learnt the names of other tools, and hardly solves a task."""
    flags = ["--policy.checkpoint", str(start), "--sampling.max-action-tokens", "2", *SMALL, "--eval-every", "0"]
    main(["train", "--calls", "8", *flags, "--env-args", *TASKS, "tools=5", "--out", str(tmp_path / "run")])
    warning = f"Warning: {start.name} is trained further in another world than that of its training: tools=5 instead of"
    assert warning in capsys.readouterr().err


def test_a_sampler_of_another_distribution_is_warned_of_once(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "SAMPLER_KL", -1.0)  # the local sampler has the trainer's distribution, up to rounding
    flags = ["--policy.checkpoint", str(start), "--sampling.max-action-tokens", "2", *SMALL, "--eval-every", "0"]
    main(["train", "--calls", "32", *flags, "--env-args", *TASKS, "--out", str(tmp_path / "run")])
    divergences = [record["train/sampler_kl"] for record in read_metrics(tmp_path / "run")]
    assert len(divergences) > 1
    assert max(divergences) < 1e-6
    assert capsys.readouterr().err.count("rollout.engine=local samples from another distribution than is trained") == 1


def test_a_run_is_trained_resumed_and_evaluated(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    flags = ["--out", str(out), "--policy.checkpoint", str(start), "--sampling.max-action-tokens", "6", *SMALL]
    flags += ["--env-args", *TASKS, "--eval-args", "split=validation"]
    main(["train", "--calls", "16", *flags])
    assert "Warning" not in capsys.readouterr().err
    main(["train", "--resume", "--out", str(out), "--calls", "32"])
    stored = [checkpoint.load_config(out / f"checkpoint-{i}") for i in (1, 2)]
    assert [s | {"calls": 0} for s in stored] == [stored[0] | {"calls": 0}] * 2
    records = read_metrics(out)
    assert [(r["iteration"], r["calls"]) for r in records] == [(0, 0), (1, 16), (2, 32)]
    assert all("eval/is_solved" in record for record in records)
    assert [("train/loss" in record) for record in records] == [False, True, True]
    assert (out / "config.yaml").exists()
    assert checkpoint.newest(out) == out / "checkpoint-2"
    main(["train", "--resume", "--out", str(out)])  # nothing is left to do
    for other in (["--algo", "final"], ["--optim.lr", "1.0"]):
        with pytest.raises(SystemExit):
            main(["train", "--resume", "--out", str(out), *other])
        assert f"{other[0][2:]}=" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", *flags])  # without --resume
    assert "checkpoint-2 is of an earlier run; choose another --out" in capsys.readouterr().err
    assert len(read_metrics(out)) == 3
    (killed := tmp_path / "killed").mkdir()  # before its first checkpoint
    (killed / "metrics.jsonl").write_bytes((out / "metrics.jsonl").read_bytes())
    with pytest.raises(SystemExit):
        main(["train", *flags, "--out", str(killed)])
    assert "metrics.jsonl is of an earlier run without a checkpoint" in capsys.readouterr().err
    assert len(read_metrics(killed)) == 3
    evaluate = ["--env", "StepTool/ToolWorld-v0", "--env-args", "split=validation", "call_budget=2", "--episodes", "4"]
    agent = ["--agent", f"policy:{out}", "--agent-args", "max_action_tokens=6"]
    main(["evaluate", *evaluate, *agent, "--out", str(tmp_path / "evaluation")])
    metrics = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert metrics["calls"] == 2.0


def test_a_run_whose_disk_is_full_says_so_and_goes_on_when_there_is_room(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    flags = ["--out", str(out), "--policy.checkpoint", str(start), "--sampling.max-action-tokens", "2"]
    flags += ["--env-args", *TASKS, "--episodes", "2", "--env.num-envs", "2", "--eval-every", "0"]
    main(["train", "--calls", "4", *flags])
    resumed = ["train", "--calls", "8", "--resume", *flags]
    with files_no_larger_than(100_000), pytest.raises(SystemExit) as ended:  # the weights have megabytes
        main(resumed)
    assert ended.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: cannot write the checkpoint {out / 'checkpoint-2'}")
    assert checkpoint.newest(out) == out / "checkpoint-1"
    main(resumed)
    assert checkpoint.newest(out) == out / "checkpoint-2"
    assert [record["iteration"] for record in read_metrics(out)] == [1, 2]


def test_a_context_shorter_than_the_prompt_is_a_clear_error(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--out", str(tmp_path), "--policy.checkpoint", str(start), "--policy.context", "16", *SMALL]
    with pytest.raises(SystemExit):
        main(["train", *flags, "--env-args", *TASKS, "--eval-args", "split=validation"])
    assert "leaves no room for an action; raise the context length" in capsys.readouterr().err


def test_another_start_cannot_go_on_from_a_run(start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trainer(bandit_config(iterations=1, checkpoint_every=1, out=str(tmp_path)))
    run.run()
    with pytest.raises(SystemExit):
        main(["train", "--resume", "--out", str(tmp_path), "--policy.checkpoint", str(start), *SMALL])
    assert f"policy.checkpoint='{start}', the run has ''" in capsys.readouterr().err


def test_a_run_stands_for_its_newest_checkpoint(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    for number in (1, 2):
        shutil.copytree(start, run / f"checkpoint-{number}")
    policy, tasks = ["--policy.checkpoint", str(run)], ["--env-args", *TASKS]
    main(["sft", *policy, "--out", str(tmp_path / "sft"), *tasks, "--episodes", "2", "--sft.epochs", "1"])
    few = ["--episodes", "2", "--eval-every", "0", "--calls", "1", "--sampling.max-action-tokens", "2"]
    main(["train", *policy, "--out", str(tmp_path / "trained"), "--env-args", *TASKS, *few])
    assert capsys.readouterr().err.splitlines() == [f"{run}: taking its newest checkpoint, checkpoint-2"] * 2
    with pytest.raises(SystemExit, match="2"):
        main(["train", "--policy.checkpoint", "nano-stf", "--out", str(tmp_path / "none")])
    assert "error: nano-stf is not a folder: give the folder of a checkpoint or of a run" in capsys.readouterr().err


def test_a_checkpoint_is_served(start: Path, tmp_path: Path) -> None:
    shutil.copytree(start, tmp_path / "run" / "checkpoint-1")
    words = ["serve-policy", "--checkpoint", str(tmp_path / "run"), "--port", "0", "--allowed-hosts", "policy.example"]
    command = [sys.executable, "-m", "agents.cli", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().split()[-1]
        try:
            models = httpx.get(f"{url}/v1/models", timeout=60).json()
            rebound = httpx.get(f"{url}/v1/models", headers={"host": "rebound.example"}, timeout=60)
            own = httpx.get(f"{url}/v1/models", headers={"host": "policy.example"}, timeout=60)
            large = httpx.post(f"{url}/v1/chat/completions", content=bytes(MAX_BODY_BYTES + 1), timeout=60)
            upgrade = {"connection": "upgrade", "upgrade": "h2c"}  # as Java's client begins
            changed = httpx.post(f"{url}/v1/chat/completions", content=b"{}", headers=upgrade, timeout=60)
        finally:
            server.terminate()
    assert [entry["id"] for entry in models["data"]] == ["run", "run/checkpoint-1"]
    assert (rebound.status_code, own.status_code, large.status_code) == (403, 200, 413)
    assert (changed.status_code, "leave out the header Upgrade" in changed.text) == (400, True)


def test_a_host_name_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["serve-policy", "--checkpoint", "nano-sft", "--allowed-hosts", "http://policy.example"])
    assert capsys.readouterr().err.startswith("error: allowed_hosts: 'http://policy.example' is not a host name; give")


def test_a_run_without_checkpoint_cannot_be_resumed(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--resume", "--out", str(tmp_path / "none"), "--policy.checkpoint", str(start)])
    assert "holds no checkpoint to resume from" in capsys.readouterr().err


@pytest.mark.parametrize("device", ["abacus", "cuda:99"])
def test_a_device_that_is_not_there_is_named(
    device: str, start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["train", "--out", str(tmp_path), "--policy.checkpoint", str(start), "--policy.device", device])
    assert capsys.readouterr().err.startswith(f"error: device={device}: cannot be used here (")


def test_a_flag_settles_what_a_file_and_the_algorithm_disagree_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.yaml").write_text("policy: {critic: detached, checkpoint: nowhere}\n")
    words = ["train", "--config", str(tmp_path / "run.yaml"), "--algo", "archer", "--out", str(tmp_path / "run")]
    for flags, message in (([], "set policy.critic=none"), (["--policy.critic", "none"], "nowhere is not a folder")):
        with pytest.raises(SystemExit):
            main([*words, *flags])
        assert message in capsys.readouterr().err


def test_a_file_without_demonstrations_teaches_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path := tmp_path / "bad.jsonl").write_text("{broken\n")
    with pytest.raises(SystemExit, match="2"):
        main(["sft", "--demonstrations", str(path), "--out", str(tmp_path / "none")])
    captured = capsys.readouterr()
    assert "bad.jsonl:1:" in captured.out.replace("\n", "")
    assert captured.err == f"error: demonstrations={path}: of 0 read, none is left to learn from\n"


def test_demonstrations_beyond_the_context_are_counted_with_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Printed, logged and in the result; without a warning where the context holds them all."""
    words = ["sft", "--episodes", "3", "--policy.checkpoint", "nano-sft", "--sft.epochs", "1", "--json"]
    words += ["--env-args", "split=demonstrations", "tools=14"]
    main([*words, "--out", str(tmp_path / "short"), "--policy.context", "64", "--logger", "tensorboard"])
    out, err = capsys.readouterr()
    result, printed = json.loads(out), " ".join(err.split())
    assert result["beyond_context"] == 3
    assert f"3 different demonstrations, the longest of {result['longest_tokens']:,} tokens; 3 beyond" in printed
    assert "Warning: 3 of 3 demonstrations are longer than the policy's context of 64 tokens" in printed
    assert f"--policy.context {result['longest_tokens']}" in printed
    further = f"next: steptool train --policy.checkpoint {tmp_path / 'short'} --out RUN"  # in the world that it knows
    assert f"{further} --env StepTool/ToolWorld-v0 --env-args split=demonstrations tools=14" in printed
    logged = EventAccumulator(str(next((tmp_path / "short-logs").rglob("events*")))).Reload()
    assert [each.value for each in logged.Scalars("data/beyond_context")] == [3.0]
    main([*words, "--out", str(tmp_path / "long"), "--policy.context", str(result["longest_tokens"])])
    out, err = capsys.readouterr()
    assert json.loads(out)["beyond_context"] == 0
    assert "Warning" not in err


def test_demonstrations_beyond_the_context_of_adapters_have_another_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint of adapters has the settings of its base model, whose context it cannot extend."""
    words = ["sft", "--episodes", "3", "--sft.epochs", "1", "--json", "--env-args", "split=demonstrations"]
    main([*words, "--policy.context", "64", "--vocab-size", "512", "--out", str(tmp_path / "base")])
    longest = json.loads(capsys.readouterr().out)["longest_tokens"]
    words += ["--policy.checkpoint", str(tmp_path / "base"), "--policy.context", str(longest)]
    main([*words, "--policy.lora-rank", "2", "--out", str(tmp_path / "adapters")])
    out, err = capsys.readouterr()
    printed = " ".join(err.split())
    assert json.loads(out)["beyond_context"] == 3
    assert "Warning: 3 of 3 demonstrations are longer than the policy's context of 64 tokens" in printed
    assert f"Give --policy.context {longest}" not in printed
    assert "Adapters keep the context of their base model, 64 tokens: train all weights (--policy.lora-rank" in printed
    main([*words, "--policy.lora-rank", "0", "--out", str(tmp_path / "all")])
    out, err = capsys.readouterr()
    assert json.loads(out)["beyond_context"] == 0
    assert "Warning" not in err


@pytest.mark.parametrize(
    ("out", "problem"),
    [
        ("file", "holds other files, which a checkpoint would replace"),
        ("folder", "holds other files, which a checkpoint would replace"),
        (".", "holds other files, which a checkpoint would replace"),
        ("file/below", "cannot write the checkpoint"),
        ("/proc/below", "cannot write the checkpoint"),
    ],
)
@pytest.mark.parametrize("command", ["sft", "eto"])
def test_a_checkpoint_takes_the_place_of_no_other_files(
    command: str,
    out: str,
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A wrong folder is an error before the training."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes").write_text("kept")
    words = ["--demonstrations", "none"] if command == "sft" else ["--trajectories", "none"]
    with pytest.raises(SystemExit, match="2"):
        main([command, *words, "--policy.checkpoint", "nano-sft", "--out", out])
    error = capsys.readouterr().err
    assert problem in error
    assert "give another --out" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "folder" / "notes").read_text() == (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("command", ["sft", "eto"])
def test_a_checkpoint_that_holds_other_files_is_not_replaced(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An evaluation in the folder of the policy."""
    out = tmp_path / "out"
    shutil.copytree(checkpoint.resolve_checkpoint("nano-sft"), out)
    (out / "evaluation").mkdir()
    (out / "evaluation" / "report.html").write_text("kept")
    words = ["--demonstrations", "none"] if command == "sft" else ["--trajectories", "none"]
    with pytest.raises(SystemExit, match="2"):
        main([command, *words, "--policy.checkpoint", "nano-sft", "--out", str(out)])
    error = capsys.readouterr().err
    assert f"{out} holds other files, which a checkpoint would replace, as evaluation/report.html; give ano" in error


def test_eto_keeps_the_world_of_its_start_and_names_damaged_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for agent in ("oracle", "random"):
        words = ["--env-args", "level=lite", "split=depth-1", "tools=26", "--episodes", "2"]
        main(
            [
                "evaluate",
                "--env",
                "StepTool/ToolWorld-v0",
                *words,
                "--agent",
                agent,
                "--out",
                str(tmp_path / agent),
                "-q",
            ]
        )
        files.append(str(tmp_path / agent / "trajectories.jsonl"))
    with Path(files[1]).open("a") as file:
        file.write("{broken\n")
    out = str(tmp_path / "eto")
    main(["eto", "--trajectories", *files, "--policy.checkpoint", "nano-sft", "--out", out])
    printed = " ".join(capsys.readouterr().out.split())
    assert f"{files[1]}:3: " in printed
    world = checkpoint.load_config(checkpoint.resolve_checkpoint("nano-sft"))["env_args"]
    assert checkpoint.load_config(Path(out))["env_args"] == world
    command = printed.rpartition("next: ")[2]
    assert f"--agent policy:{out} --episodes 200 --out {out}-evaluation --env-args" in command
    assert {"level=lite", f"tools={world['tools']}"} < set(command.split())
    assert "split=" not in command


def test_a_size_from_scratch_asks_for_its_tokenizer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--out", str(tmp_path / "none")])
    assert "steptool sft" in capsys.readouterr().err


def test_an_environment_that_does_not_exist_is_named() -> None:
    config = bandit_config(env={"id": "StepTool/Nothing-v0"})
    with pytest.raises(ConfigurationError, match=r"env\.id=StepTool/Nothing-v0"):
        open_pool(config.env)


def greedy(made: PolicyBundle, ids: list[int], longest: int) -> list[int]:
    """The most probable action, each token computed from the whole sequence."""
    action: list[int] = []
    while len(action) < longest and (not action or action[-1] != made.codec.stop_id):
        hidden = made.policy.hidden(torch.tensor([ids + action]))
        action.append(int(made.policy.output_layer(hidden)[0, -1].argmax()))
    return action


def test_the_agent_acts_as_its_policy_would_without_a_cache_in_slots_that_come_and_go() -> None:
    made = bundle("none")
    agent = policy_agent(made, Sampling(max_action_tokens=3), temperature=0.0)
    episodes: dict[int, tuple[ToolBandit, list[int], str]] = {}

    def begin(slot: int, seed: int) -> None:
        env = ToolBandit()
        observation, info = env.reset(seed=seed)
        agent.reset([slot], [observation], [info])
        episodes[slot] = env, made.codec.encode_prompt(observation, info), observation

    for slot, seed in ((0, 1), (1, 2), (2, 3)):
        begin(slot, seed)
    for turn, live in enumerate([[0, 1, 2], [2, 0], [1, 2], [0, 1]]):
        if turn == 2:
            begin(2, 5)
        if turn == 3:
            begin(0, 7)
            begin(1, 8)
        actions = agent.act(live, [episodes[slot][2] for slot in live], [{}] * len(live))
        for slot, action in zip(live, actions, strict=True):
            env, ids, _ = episodes[slot]
            want = greedy(made, ids, 3)
            assert action == made.codec.decode_action(want)
            observation = env.step(action)[0]
            closing = [] if want[-1] == made.codec.stop_id else [made.codec.stop_id]
            episodes[slot] = env, [*ids, *want, *closing, *made.codec.encode_observation(observation)], observation


def test_a_key_among_the_settings_of_a_run_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["train", "--env-args", 'reward_options={"judge": "llm", "api_key": "s3cret"}'])
    error = capsys.readouterr().err
    assert "OPENAI_API_KEY" in error
    assert "s3cret" not in error

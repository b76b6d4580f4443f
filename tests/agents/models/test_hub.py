"""Checkpoints on the hub: `huggingface_hub` itself, against a server of the hub's HTTP API on this machine."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from agents.cli import main
from agents.errors import CheckpointError, ConfigurationError
from agents.evaluation.results import write_held_out
from agents.models import checkpoint, hub
from agents.models.bundle import build_policy, load_policy
from agents.models.config import PolicyConfig
from tests.agents.models.hub_server import TOKEN, Hub, serving

ROOT = Path(__file__).parents[3]
REPO = "someone/caller"
NANO = checkpoint.resolve_checkpoint("nano-sft")


@pytest.fixture
def served() -> Iterator[tuple[Hub, str]]:
    stored = Hub()
    with serving(stored) as address:
        yield stored, address


def steptool(address: str, home: Path, *words: str, status: int = 0, **more: str) -> tuple[str, str]:
    """Run `steptool` in a process of its own: `huggingface_hub` reads its variables when it is imported."""
    env = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(home), "HF_TOKEN": TOKEN, "PYTHONPATH": str(ROOT)}
    env |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", **more}
    command = [sys.executable, "-m", "agents.cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=home.parent)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout, done.stderr


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with a checkpoint that has an optimizer, a value head and paths of this machine in its settings."""
    bundle = build_policy(PolicyConfig(checkpoint="nano-sft", critic="shared"))
    optimizer = torch.optim.AdamW(bundle.policy.parameters())
    settings = {
        "algo": "steptool",
        "seed": 3,
        "out": str(tmp_path / "run"),
        "policy": {"checkpoint": str(tmp_path / "start"), "context": 1024},
        "env": {"id": "StepTool/ToolWorld-v0", "args": {"split": "train", "server_url": "http://10.0.0.7:8000"}},
        "sampling": {"max_action_tokens": 6},
    }
    checkpoint.save(
        tmp_path / "run" / "checkpoint-7",
        bundle.policy,
        bundle.tokenizer,
        optimizer=optimizer,
        counters=checkpoint.Counters(7, 1234, 99),
        config=settings,
    )
    records = [
        {"calls": 10, "iteration": 6, "eval/is_solved": 0.5},
        {"calls": 99, "iteration": 8, "eval/is_solved": 0.9},
    ]
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return tmp_path / "run"


@pytest.mark.slow
def test_a_pushed_checkpoint_plays_as_the_one_on_disk_and_its_card_says_what_it_is(
    run: Path, served: tuple[Hub, str], tmp_path: Path
) -> None:
    stored, address = served
    home = tmp_path / "home"
    out, _ = steptool(address, home, "push", str(run), "--repo", REPO, "--private", "--license", "apache-2.0")
    oid, files = stored.files(REPO, "main")
    assert stored.private[REPO]
    assert f"hf://{REPO}@{oid}" in out
    assert files.keys() >= {"model.safetensors", "value_head.safetensors", "trainer_state.json", "README.md"}
    assert "optimizer.safetensors" not in files
    assert not [name for name, data in files.items() if str(tmp_path).encode() in data or b"10.0.0.7" in data]
    head, _, text = files["README.md"].decode().removeprefix("---\n").partition("\n---\n")
    data = yaml.safe_load(head)
    assert (data["library_name"], data["license"]) == ("transformers", "apache-2.0")
    assert data["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.5  # of the checkpoint, not of a later one
    for fact in (
        "`steptool` in `StepTool/ToolWorld-v0`",
        "7 iterations, 1,234 calls",
        f"hf://{REPO}",
        "eval/is_solved | 0.500",
    ):
        assert fact in text
    evaluate = ["evaluate", "--env", "StepTool/ToolWorld-v0", "--env-args", "split=depth-1", "--episodes", "2"]
    _, errors = steptool(address, home, *evaluate, "--agent", f"policy:hf://{REPO}", "--out", str(tmp_path / "there"))
    assert f"hf://{REPO}: taking hf://{REPO}@{oid}" in errors
    steptool(address, home, *evaluate, "--agent", f"policy:{run}", "--out", str(tmp_path / "here"))
    played = [(tmp_path / place / "trajectories.jsonl").read_bytes() for place in ("here", "there")]
    assert played[0] == played[1]
    _, errors = steptool(  # a pinned name needs no network any more, once it is in the cache
        "http://127.0.0.1:1", home, *evaluate, "--agent", f"policy:hf://{REPO}@{oid}", "--out", str(tmp_path / "cached")
    )
    assert (tmp_path / "cached" / "trajectories.jsonl").read_bytes() == played[0]


def test_the_card_has_the_evaluations_of_the_run(run: Path, tmp_path: Path) -> None:
    """With command, panel and intervals; not those of another checkpoint, and no place of this machine."""
    evaluate = ["evaluate", "--env", "StepTool/ToolWorld-v0", "--env-args", "split=depth-1", "--episodes", "2", "-q"]
    agent = ["--agent", f"policy:{run / 'checkpoint-7'}"]
    steptool("", tmp_path / "home", *evaluate, *agent, "--out", str(run / "test"))
    metrics = json.loads((run / "test" / "metrics.json").read_text())
    shutil.copytree(run / "test", run / "older")
    other = json.loads((run / "older" / "run.json").read_text())
    other["training"]["iteration"] = 3
    (run / "older" / "run.json").write_text(json.dumps(other))
    write_held_out(run, "abcdef0123456789")
    record = {"calls": 12, "iteration": 7, "greedy/depth-4/pass_rate": 0.25}
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")
    main(["push", str(run), "--repo", REPO, "--dry-run", str(tmp_path / "out")])
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"`test`, `steptool evaluate`, panel {metrics['panel']}, 2 episodes" in card
    assert "steptool evaluate --env StepTool/ToolWorld-v0 --env-args split=depth-1 --episodes 2" in card
    assert f"| pass_rate | {metrics['pass_rate']:.3f} |" in card
    assert f"{metrics['pass_rate_high']:.3f} |" in card
    assert "evaluated in training, panel abcdef0123456789" in card
    assert "greedy/depth-4/pass_rate | 0.250" in card
    assert "older" not in card
    world = "--env StepTool/ToolWorld-v0 --env-args split=train\n"
    assert f"steptool evaluate --agent policy:hf://{REPO} --episodes 50 --out runs/evaluation {world}" in card
    assert f"steptool train --policy.checkpoint hf://{REPO} --out runs/further {world}" in card
    assert str(tmp_path) not in card


def test_a_dry_run_spares_other_files_and_names_the_command_with_all_of_its_flags(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the folder of a project it replaced README.md; the printed command left out --private."""
    words = ["push", "nano-sft", "--repo", REPO, "--private", "--revision", "v1", "--license", "mit", "--dry-run"]
    (tmp_path / "README.md").write_text("of the user")
    with pytest.raises(SystemExit):
        main([*words, str(tmp_path)])
    assert "is not an empty folder" in capsys.readouterr().err
    assert (tmp_path / "README.md").read_text() == "of the user"
    main([*words, str(tmp_path / "new")])
    command = f"steptool push nano-sft --repo {REPO} --revision v1 --private --license mit"
    assert f"next: read README.md; {command}\n" in capsys.readouterr().out


@pytest.mark.slow
def test_transformers_reads_a_pushed_checkpoint_and_other_files_of_its_repository_stay(
    served: tuple[Hub, str], tmp_path: Path
) -> None:
    """Weights of another kind would be loaded with it: these are an error, and deleted where that is asked for."""
    stored, address = served
    others = {"NOTES.md": b"mine", "results/a.json": b"{}", "old/model.safetensors": b"of another program"}
    stored.commit(REPO, "main", {**others, "config.json": b"{}"})
    push = ["push", str(NANO), "--repo", REPO]
    for _ in range(2):
        steptool(address, tmp_path / "home", *push)
        assert others.items() <= stored.files(REPO, "main")[1].items()
    stored.commit(REPO, "main", {**stored.files(REPO, "main")[1], "pytorch_model.bin": b"", "adapter_config.json": b""})
    before, files = stored.files(REPO, "main")
    message = "has adapter_config.json, pytorch_model.bin, which would be loaded with this checkpoint"
    _, errors = steptool(address, tmp_path / "home", *push, status=2)
    assert message in " ".join(errors.split())
    assert stored.files(REPO, "main") == (before, files)
    steptool(address, tmp_path / "home", *push, "--replace")
    _, files = stored.files(REPO, "main")
    assert files.keys() == {path.name for path in NANO.iterdir()} | {"README.md"}
    code = "import sys; from transformers import AutoModelForCausalLM as m, AutoTokenizer as t; "
    code += "t.from_pretrained(sys.argv[1]); print(m.from_pretrained(sys.argv[1]).num_parameters())"
    env = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run([sys.executable, "-c", code, REPO], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == sum(p.numel() for p in load_policy(NANO).policy.language_model.parameters())


def test_adapters_of_a_model_on_this_machine_are_merged_into_it(tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(NANO, base)
    bundle = build_policy(PolicyConfig(checkpoint=str(base), critic="none", lora_rank=2))
    with torch.no_grad():
        for name, parameter in bundle.policy.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.01)
    checkpoint.save(tmp_path / "adapters", bundle.policy, bundle.tokenizer)
    main(["push", str(tmp_path / "adapters"), "--repo", REPO, "--dry-run", str(tmp_path / "out")])
    pushed = load_policy(tmp_path / "out")
    assert "adapter_config.json" not in {path.name for path in (tmp_path / "out").iterdir()}
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        wanted = bundle.policy.language_model(input_ids=ids).logits
        assert torch.allclose(pushed.policy.language_model(input_ids=ids).logits, wanted, atol=1e-4)
        assert not torch.allclose(load_policy(base).policy.language_model(input_ids=ids).logits, wanted, atol=1e-4)


@pytest.mark.slow
def test_only_files_without_code_are_downloaded_and_damage_is_noticed(served: tuple[Hub, str], tmp_path: Path) -> None:
    stored, address = served
    files = {path.name: path.read_bytes() for path in NANO.iterdir()}
    config = json.loads(files["config.json"]) | {"auto_map": {"AutoModelForCausalLM": "modeling.Evil"}}
    code = f"open({str(tmp_path / 'hacked')!r}, 'w')".encode()
    stored.commit(REPO, "main", {**files, "modeling.py": code, "pytorch_model.bin": b"a pickle"})
    evaluate = ["evaluate", "--env", "StepTool/ToolWorld-v0", "--env-args", "split=depth-1", "--episodes", "1"]
    agent = [*evaluate, "--agent", f"policy:hf://{REPO}"]
    steptool(address, tmp_path / "home", *agent, "--out", str(tmp_path / "a"))
    assert not [name for name in stored.asked if name.endswith((".py", ".bin"))]
    stored.commit(REPO, "main", {**files, "config.json": json.dumps(config).encode(), "modeling.py": code})
    _, errors = steptool(address, tmp_path / "home", *agent, "--out", str(tmp_path / "b"), status=2)
    assert "config.json is damaged" in errors
    assert not (tmp_path / "hacked").exists()


@pytest.mark.slow
def test_wrong_names_missing_repositories_and_refused_uploads_are_clear_errors(
    served: tuple[Hub, str], tmp_path: Path
) -> None:
    stored, address = served
    stored.commit("someone/other", "main", {"config.json": b"{}"})
    for name, message in (
        ("hf://someone/gone", "hf://someone/gone cannot be read: "),
        ("hf://someone/other@gone", "hf://someone/other@gone cannot be read: "),
        ("hf://someone/other", "a model without trainer_state.json is policy.model=someone/other"),
    ):
        words = ["train", "--policy.checkpoint", name, "--out", str(tmp_path / "run")]
        assert message in steptool(address, tmp_path / "home", *words, status=2)[1]
    words = ["push", str(NANO), "--repo", REPO]
    assert "HF_TOKEN" in steptool(address, tmp_path / "home", *words, status=2, HF_TOKEN="hf_other")[1]
    stored.commit("someone/other", "main", {"config.json": b"{}"})
    stored.private["someone/other"] = False
    words = ["push", str(NANO), "--repo", "someone/other", "--private"]
    assert "exists and is public" in steptool(address, tmp_path / "home", *words, status=2)[1]
    words = ["push", str(NANO), "--repo", REPO]
    assert "the upload failed" in steptool("http://127.0.0.1:9", tmp_path / "home", *words, status=2)[1]
    for repo in ("name", "a/b/c", "someone/na me"):
        with pytest.raises(ConfigurationError, match="repo="):
            hub.check_name(repo)
    with pytest.raises(CheckpointError, match="write hf://USER/NAME"):
        hub.download("hf:/")

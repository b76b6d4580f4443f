"""An untrained policy, and settings of runs of a few seconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.baselines.demonstrations import demonstrate
from agents.evaluation.evaluate import Evaluation
from agents.models import checkpoint
from agents.models.config import PolicyConfig
from agents.models.decoder import Shape, build_decoder
from agents.models.policy import Policy
from agents.training.sft import build_sft_policy
from tests.benchmarks.learning.tiny import SHARED, TASKS


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start") / "policy"
    shown = demonstrate(Evaluation("StepTool/ToolWorld-v0", TASKS, episodes=40))
    tokenizer = build_sft_policy(shown, PolicyConfig(critic="none"), vocab_size=800).tokenizer
    model = build_decoder(Shape(hidden=64, layers=2, heads=2, kv_heads=1, mlp=32), tokenizer, 2048)
    checkpoint.save(folder, Policy(model, "none"), tokenizer)
    return folder


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shared") / "shared.yaml"
    path.write_text(json.dumps(SHARED))  # JSON is YAML
    return path

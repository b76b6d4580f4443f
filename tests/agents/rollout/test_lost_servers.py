"""A tool server that goes away while a policy is trained: asked again, then dropped and counted; training goes on."""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch

from agents.errors import ConfigurationError, TrainingError
from agents.models.bundle import PolicyBundle
from agents.models.policy import Policy
from agents.rollout.collector import Rollout, ServerBackoff
from agents.rollout.engine import RolloutEngine
from agents.rollout.episode_pool import open_pool
from agents.rollout.types import Sampled
from agents.training.advantages import step_grpo
from agents.training.config import make_config
from agents.training.trainer import OnlineTrainer
from tests.agents.bandit import llama, word_tokenizer
from toolserver.testing import ServerProcess

WORLD = ["--world", "0", "--world-level", "lite"]
ACT, STOP, BYTES = 1, 0, 2


class ByteCodec:
    """A token per byte of an action; what the environment says is one token."""

    stop_id = pad_id = STOP
    offered = ""

    def encode_prompt(self, observation: str, info: Mapping[str, Any]) -> list[int]:
        self.offered = str(info["functions"][0]["name"])
        return [ACT]

    def encode_observation(self, observation: str, call_format: str = "") -> list[int]:
        return [ACT]

    def decode_action(self, ids: Sequence[int]) -> str:
        return bytes(i - BYTES for i in ids if i != STOP).decode()

    def encode_action(self, text: str) -> list[int]:
        return [*(byte + BYTES for byte in text.encode()), STOP]


class Caller(RolloutEngine):
    """An engine that always calls the first function that is offered; `before_act` is run ahead of every step."""

    def __init__(self, codec: ByteCodec) -> None:
        self._codec = codec
        self._names: dict[int, str] = {}
        self._asked: list[int] = []
        self.before_act: Callable[[], None] = lambda: None

    def start(self, slot: int, ids: Sequence[int], stream: str | int | None = None) -> None:
        self._names[slot] = self._codec.offered

    def remaining_tokens(self, slot: int) -> int:
        return 1_000_000

    def fork(self, source: int, target: int, stream: str | int) -> None:
        self._names[target] = self._names[source]

    def request(self, slots: Sequence[int]) -> None:
        self._asked += slots

    def decode(self) -> dict[int, Sampled]:
        self.before_act()
        asked, self._asked = self._asked, []
        texts = {slot: f"Thought: go\nAction: {self._names[slot]}\nAction Input: {{}}" for slot in asked}
        coded = {slot: self._codec.encode_action(text) for slot, text in texts.items()}
        return {slot: Sampled(ids, [-5.5] * len(ids), stopped=True) for slot, ids in coded.items()}


def training(url: str, out: Path, **settings: int) -> tuple[OnlineTrainer, Caller]:
    """Two groups of three episodes of two steps each, in three slots."""
    codec = ByteCodec()
    engine = Caller(codec)
    config = make_config(
        {
            "algo": "grpo",
            "episodes": 6,
            "out": str(out),
            **settings,
            "algorithm": {"group_size": 3},
            "env": {"num_envs": 3, "args": {"split": "train", "level": "lite", "call_budget": 2, "server_url": url}},
        }
    )
    made = PolicyBundle(Policy(llama(vocab=BYTES + 256), "none"), word_tokenizer(), codec, 1024)
    return OnlineTrainer(config, made, open_pool(config.env), engine=engine), engine


def test_episodes_are_retried_then_dropped_and_training_goes_on(tmp_path: Path, impatient: None) -> None:
    with ServerProcess(WORLD) as first:
        run, engine = training(first.url, tmp_path)
        port = int(first.url.rsplit(":", 1)[1])
        whole = run.iterate()
        steps = iter(range(100))

        def end_server_at_fourth_step() -> None:
            if next(steps) == 3:
                first.close()

        engine.before_act = end_server_at_fourth_step
        partly = run.iterate()
        engine.before_act = lambda: None
        run._backoff = ServerBackoff(sleep=lambda _: None)
        none = run.iterate()
    with ServerProcess(WORLD, port=port) as second:
        again = run.iterate()
        steps, third = iter(range(100)), ServerProcess(WORLD, port=port)

        def restart_server_at_second_step() -> None:
            if next(steps) == 1:
                second.close()
                third.__enter__()

        engine.before_act = restart_server_at_second_step
        try:
            retried = run.iterate()
        finally:
            third.close()
    run._collector.pool.close()
    results = (whole, partly, none, again, retried)
    assert [metrics["rollout/dropped"] for metrics in results] == [0, 3, 6, 0, 0]
    assert run.counters.episodes == 6 + 3 + 0 + 6 + 6
    assert run.counters.dropped == 9
    assert ["train/idle_episodes" in metrics for metrics in results] == [True, True, False, True, True]


def test_the_backoff_waits_longer_each_time_and_ends() -> None:
    waits: list[float] = []
    backoff = ServerBackoff(sleep=waits.append)
    lost, partly = Rollout(dropped=4), Rollout(episodes=[None], dropped=3)  # type: ignore[list-item]
    assert backoff.wait(lost)
    assert backoff.wait(lost)
    assert backoff.wait(partly)
    assert all(backoff.wait(lost) for _ in range(8))
    assert waits == [1, 2, 1, 2, 4, 8, 16, 32, 60, 60]
    assert not backoff.wait(lost)


def test_a_server_of_another_world_ends_the_run(tmp_path: Path) -> None:
    """Dropping the episodes that call it would train on those that end at once."""
    with ServerProcess(["--world", "1", "--world-level", "lite"]) as server:
        run, _ = training(server.url, tmp_path)
        with pytest.raises(ConfigurationError, match="seed is 1, this environment's is 0"):
            run.run()
        run._collector.pool.close()


def test_a_server_that_is_killed_and_starts_again_changes_no_number(tmp_path: Path) -> None:
    """It is killed while a step's calls are on their way; the client waits for the next one."""

    def rollout(url: str, before_act: Callable[[], None], name: str) -> dict[str, float]:
        run, engine = training(url, tmp_path / name)
        engine.before_act = before_act
        metrics = run.iterate()
        run._collector.pool.close()
        return {key: value for key, value in metrics.items() if not key.startswith("time/")}

    with ServerProcess(WORLD) as first:
        undisturbed = rollout(first.url, lambda: None, "undisturbed")
        later = ServerProcess(WORLD, port=int(first.url.rsplit(":", 1)[1]))
        starts = Thread(target=later.__enter__)
        steps = iter(range(100))

        def kill_at_third_step() -> None:
            if next(steps) == 2:
                os.kill(first.pid, signal.SIGKILL)
                starts.start()

        try:
            disturbed = rollout(first.url, kill_at_third_step, "disturbed")
        finally:
            starts.join()
            later.close()
    assert disturbed == undisturbed
    assert disturbed["rollout/dropped"] == 0


def test_a_server_that_stays_away_ends_the_run_with_a_checkpoint(tmp_path: Path, impatient: None) -> None:
    run, _ = training("http://127.0.0.1:9", tmp_path)
    run._backoff = ServerBackoff(tries=1, sleep=lambda _: None)
    with pytest.raises(TrainingError, match=r"wrote .*checkpoint-1: start the server and continue with --resume"):
        run.run()
    assert (tmp_path / "checkpoint-1" / "trainer_state.json").exists()
    run._collector.pool.close()


def test_a_run_is_not_over_by_steps_that_no_server_took(tmp_path: Path, impatient: None) -> None:
    run, _ = training("http://127.0.0.1:9", tmp_path, calls=6)
    run._backoff = ServerBackoff(sleep=lambda _: None)
    assert run.iterate()["rollout/dropped"] == 6
    assert (run.counters.calls, run.over) == (0, False)
    run._collector.pool.close()


def test_the_last_of_a_group_has_nothing_to_be_compared_with() -> None:
    reward, steps = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([2, 2, 2])
    advantage = step_grpo(reward, steps, torch.tensor([0, 0, 1]), gamma=1.0)
    assert advantage[:2].abs().sum() > 0
    assert torch.equal(advantage[2], torch.zeros(2))

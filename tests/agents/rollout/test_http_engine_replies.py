"""The HTTP engine and a scripted completions server: requests, retries and unusable replies."""

import json
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pytest
import tyro

from agents.commands.train import Command, flags
from agents.errors import EngineError
from agents.rollout.config import RolloutConfig, Sampling
from agents.rollout.engine import act, make_engine
from agents.rollout.http_engine import HttpEngine
from agents.rollout.static_sampler import StaticTokenSampler
from agents.rollout.types import Sampled
from agents.training.config import TrainConfig
from tests.agents.bandit import bundle, exact_bundle
from tests.agents.rollout.test_http_engine import CHOICE, remote, serving
from tests.server_stub import QuietHandler, running


class _Scripted(QuietHandler):
    """Answers with the server's `replies` in turn, the last one for ever; keeps what it was asked."""

    def get(self) -> None:
        self.reply(200, b'{"data": [{"id": "m"}]}')

    def post(self, body: bytes) -> None:
        self.server.asked.append((self.path, json.loads(body)))
        replies = self.server.replies
        self.reply(*(replies.pop(0) if len(replies) > 1 else replies[0]))


def scripted(*replies: tuple[int, Any]) -> AbstractContextManager[Any]:
    coded = [(status, reply if isinstance(reply, bytes) else json.dumps(reply).encode()) for status, reply in replies]
    return running(_Scripted, asked=[], replies=coded)


def ask(server: Any) -> list[Sampled]:
    with closing(remote(exact_bundle(), f"http://127.0.0.1:{server.server_port}/v1", Sampling())) as engine:
        engine.start(0, [3, 1])
        return act(engine, [0])


def reply(**changes: Any) -> tuple[int, Any]:
    return 200, {"choices": [{**CHOICE, **changes}]}


def test_a_request_carries_tokens_and_leaves_nothing_to_the_server() -> None:
    with scripted(reply()) as server:
        assert ask(server) == [Sampled([5, 2], [-0.5, -0.25], stopped=True)]
    ((path, asked),) = server.asked
    assert path == "/v1/completions"
    assert asked["prompt"] == [3, 1]
    assert asked["stop_token_ids"] == [2]
    assert (asked["top_k"], asked["top_p"], asked["ignore_eos"], asked["max_tokens"]) == (-1, 1.0, True, 62)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (reply(token_ids=None), "no token ids; it must know `return_token_ids`"),
        (reply(prompt_token_ids=[0, 3, 1]), "changed the prompt's tokens"),
        (reply(logprobs=None), "no log-probabilities; start it without `--max-logprobs`"),
        (reply(logprobs={"token_logprobs": [-0.5]}), "every token a finite log-probability"),
        (reply(logprobs={"token_logprobs": [-0.5, None]}), "every token a finite log-probability"),
        (reply(token_ids=[5, 6]), "without its stop token"),
        ((200, {"choices": []}), "not answer as a completions server"),
        ((200, b"<html>"), "not answer as a completions server"),
        ((404, b"no such model"), "HTTP 404: no such model"),
    ],
)
def test_an_answer_that_cannot_be_trained_on_says_what_to_do(answer: tuple[int, Any], says: str) -> None:
    with scripted(answer) as server, pytest.raises(EngineError, match=says):
        ask(server)
    assert len(server.asked) == 1


def test_no_two_episodes_after_a_seed_share_their_draws() -> None:
    """ArCHer acts in many states, some at a time, and clears in between."""
    with scripted(reply()) as server:
        engine = remote(exact_bundle(), f"http://127.0.0.1:{server.server_port}", Sampling())
        for _ in range(2):
            engine.seed(3)
            for _ in range(2):
                engine.clear()
                engine.start(0, [3, 1])
                act(engine, [0])
        engine.close()
    first, second, *again = [asked["seed"] for _, asked in server.asked]
    assert first != second
    assert again == [first, second]


def test_a_failure_that_passes_is_waited_out() -> None:
    with scripted((503, b"starting"), reply()) as server:
        assert ask(server)[0].ids == [5, 2]


def test_a_server_without_the_way_for_weights_is_reported(tmp_path: Path) -> None:
    with scripted((404, b"Not Found")) as server:
        engine = remote(exact_bundle(), f"http://127.0.0.1:{server.server_port}", Sampling(), tmp_path)
        with pytest.raises(EngineError, match="VLLM_SERVER_DEV_MODE=1"):
            engine.sync_weights(0)
        engine.close()
    assert not list(tmp_path.iterdir())


def test_closing_leaves_what_others_keep_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "weights-of-mine").mkdir()
    with serving(exact_bundle().policy) as url:
        engine = remote(exact_bundle(), url, Sampling(), tmp_path)
        for version in (0, 1):
            engine.sync_weights(version)
        engine.close()
        engine.close()
    assert [path.name for path in tmp_path.iterdir()] == ["weights-of-mine"]


def read(words: list[str]) -> TrainConfig:
    """Return the settings that `steptool train` reads."""
    found = flags(words)
    command: Command = tyro.cli(found.kind, args=found.words, default=found.default)
    return command.settings


def test_engines_are_chosen_by_file_and_flag(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("rollout: {engine: static}\n")
    config = read(["--config", str(tmp_path / "run.yaml")])
    assert config.rollout == RolloutConfig("static")
    assert type(make_engine(config.rollout, bundle("none"), config.sampling)) is StaticTokenSampler
    words = ["--rollout.engine", "http://gpu-2:8000"]
    engine = make_engine(read(words).rollout, bundle("none"), config.sampling)
    assert type(engine) is HttpEngine
    engine.close()

"""A policy server in a thread, and the models that tests of the gateway serve."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from agents.gateway.decoder import Decoder
from agents.gateway.models import Models, ServedModel
from agents.gateway.server import create_app
from agents.models.bundle import PolicyBundle
from agents.models.chat_template import ChatCodec
from agents.models.policy import Policy
from tests.agents.bandit import llama
from tests.agents.models.pretrained import chat_tokenizer


class Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(uvicorn.Config(app, port=0, log_level="warning"))
        self.listening = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}"


@contextmanager
def serving(*models: ServedModel) -> Iterator[str]:
    """The URL of a policy server, in a thread."""
    catalog = Models({model.name: lambda model=model: model for model in models}, most=len(models))  # type: ignore[misc]
    for model in models:
        model.decoder.start()
        catalog.add(model)
    server = Server(create_app(catalog))
    thread = threading.Thread(target=server.run)
    thread.start()
    assert server.listening.wait(30)
    try:
        yield server.url
    finally:
        server.should_exit = True
        thread.join()
        catalog.close()


@cache
def _chat_model() -> tuple[Policy, Any]:
    tokenizer = chat_tokenizer()
    tokens = {"pad_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    return Policy(llama(vocab=len(tokenizer), max_position_embeddings=512, **tokens).double(), "none"), tokenizer


def chat_bundle() -> PolicyBundle:
    """An untrained chat model in double precision, with a template that keeps prefixes."""
    policy, tokenizer = _chat_model()
    return PolicyBundle(policy, tokenizer, ChatCodec(tokenizer), 512)


def served(bundle: PolicyBundle, name: str = "chat", call_format: str = "hermes") -> ServedModel:
    return ServedModel(name, Decoder(bundle.policy, bundle.context), bundle.codec, call_format)


def until(holds: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.002)


ROOT = Path(__file__).parents[3]

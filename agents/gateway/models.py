"""Models of a policy server: checkpoints by name, loaded when they are first asked for."""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agents.gateway.chat import OnTokens
from agents.gateway.conversations import Conversations, Prompt, Turn
from agents.gateway.decoder import Decoder, Distribution, Generation
from agents.gateway.protocol import ApiError, ChatRequest
from agents.models.bundle import PolicyBundle
from agents.models.chat_template import Codec, PlainCodec
from agents.rollout.types import Sampled
from agents.seeding import derive
from steptool_env.formats import make_format

_TURNS, _TURN_BYTES = 4096, 256 * 2**20  # limits of the turns of conversations that a model remembers


class ServedModel:
    """Model with a running decoder. See `ChatBackend`."""

    def __init__(self, name: str, decoder: Decoder, codec: Codec, call_format: str = "react") -> None:
        self.name, self.decoder = name, decoder
        self.conversations = Conversations(codec, make_format(call_format), most=_TURNS, most_bytes=_TURN_BYTES)
        self._stop_id = codec.stop_id

    def begin(self, prompt: Prompt, request: ChatRequest, choice: int, on_tokens: OnTokens | None) -> Generation:
        """See `ChatBackend.begin`. Without a seed, the answer is drawn at random."""
        drawn = int.from_bytes(os.urandom(8), "big")
        seed = drawn if request.seed is None else derive(request.seed, "choice", choice) if choice else request.seed
        temperature, top_p = (1.0 if value is None else value for value in (request.temperature, request.top_p))
        limit = request.limit or max(1, self.decoder.context - len(prompt.ids))
        generation = Generation(prompt.ids, limit, seed, Distribution(self._stop_id, temperature, top_p), on_tokens)
        self.decoder.submit(generation)
        return generation

    def record(self, prompt: Prompt, sampled: Sampled, text: str, choice: int) -> Turn:
        """See `ChatBackend.record`."""
        return self.conversations.record(prompt, sampled, text, choice)


class Models:
    """Models by name; the first is the default one of clients that take the first of a list.

    Args:
        loaders: Function that loads each model. It may raise `CheckpointError`.
        most: Maximum number of models in memory; the one that was not used for longest is unloaded when it is idle. The
            first one stays: `/collective_rpc` may have given it other weights than those of its loader.
    """

    def __init__(self, loaders: Mapping[str, Callable[[], ServedModel]], most: int = 2) -> None:
        self.names: Sequence[str] = list(loaders)
        self._loaders, self._most = loaders, most
        self._loaded: OrderedDict[str, ServedModel] = OrderedDict()
        self._lock = asyncio.Lock()

    def add(self, model: ServedModel) -> None:
        """Add a model that is loaded, and whose decoder runs until `close`."""
        self._loaded[model.name] = model

    async def get(self, name: str) -> ServedModel:
        """Return a model. Raises `ApiError` for an unknown name."""
        if name not in self._loaders:
            known = ", ".join(self.names)
            raise ApiError(f"model={name!r} is not served; there is {known}", "model", "model_not_found", 404)
        if name not in self._loaded:
            async with self._lock:  # not held for loaded models: their clients would wait for the loading of others
                if name not in self._loaded:
                    await self._add_loaded(name)
        self._loaded.move_to_end(name)
        return self._loaded[name]

    async def _add_loaded(self, name: str) -> None:
        """Load a model, and unload idle ones beyond `most`."""
        self.add(await asyncio.to_thread(self._load, name))
        for old in [each for each in self._loaded if each not in (name, self.names[0])]:
            if len(self._loaded) > self._most and not self._loaded[old].decoder.busy:
                await asyncio.to_thread(self._loaded.pop(old).decoder.stop)

    def close(self) -> None:
        """End the decoders."""
        for model in self._loaded.values():
            model.decoder.stop()

    def _load(self, name: str) -> ServedModel:
        model = self._loaders[name]()
        model.decoder.start()
        return model


def default_format(bundle: PolicyBundle, config: Mapping[str, Any]) -> str:
    """Return the format in which a policy writes calls: that of its training, else that of its chat template."""
    env = config.get("env")
    arguments = env["args"] if isinstance(env, Mapping) else config.get("env_args") or {}
    trained = arguments.get("format")
    if trained or isinstance(bundle.codec, PlainCodec):
        return str(trained or "react")
    template = str(bundle.tokenizer.chat_template)
    return "hermes" if "<tool_call>" in template else "llama3" if "ipython" in template else "react"

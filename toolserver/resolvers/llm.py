"""Resolver that simulates APIs by a model at an OpenAI-compatible endpoint, with StableToolBench's prompts."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from toolserver.catalog.api_schema import Provenance, ToolResponse, encode_body
from toolserver.catalog.outcomes import outcome_of_error
from toolserver.resolvers.base import ValidatedCall
from toolserver.resolvers.simulators import Example, Message, mirrorapi_messages, read_answer, simulator_messages
from toolserver.resolvers.upstream import UnusableResponseError, Upstream

Simulator = Literal["gpt", "mirrorapi"]
"""Message format: of StableToolBench's GPT simulator, or of its MirrorAPI models."""


class LlmResolver:
    """Generates the answer of a documented API by a model.

    The answer must be a JSON object with `error` and `response`. After any other answer the request is repeated; it
    fails after the last retry. Requests set temperature 0 and a fixed seed, which an endpoint may ignore.

    Args:
        base_url: URL of the endpoint, without `/chat/completions`.
        model: Name of the model at the endpoint.
        key: Bearer key; empty if the endpoint needs none.
        simulator: Message format.
        timeout: Timeout of one request in seconds.
        retries: Maximum number of retries.
        examples: Function that returns recorded calls of an API, for the GPT simulator's prompt.
    """

    blocking = True

    def __init__(
        self,
        base_url: str,
        model: str,
        key: str = "",
        *,
        simulator: Simulator = "gpt",
        timeout: float = 60.0,
        retries: int = 2,
        examples: Callable[[ValidatedCall], Sequence[Example]] | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._upstream = Upstream(base_url.rstrip("/") + "/chat/completions", headers, timeout=timeout, retries=retries)
        self._model = model
        self._simulator = simulator
        self._examples = examples

    def resolve(self, call: ValidatedCall) -> ToolResponse | None:
        """Return the model's answer or a failure; `None` for an API without documentation."""
        if call.spec is None:
            return None
        payload: dict[str, Any] = {
            "model": self._model,
            "messages": self._messages(call),
            "temperature": 0,
            "seed": 42,
            "max_tokens": 1024 if self._simulator == "gpt" else 2048,
        }
        if self._simulator == "gpt":
            payload["response_format"] = {"type": "json_object"}
        return self._upstream.ask(payload, _read_completion)

    def close(self) -> None:
        """Close the connection to the endpoint."""
        self._upstream.close()

    def _messages(self, call: ValidatedCall) -> list[Message]:
        assert call.spec is not None
        if self._simulator == "mirrorapi":
            return mirrorapi_messages(call.spec, call.arguments)
        examples = self._examples(call) if self._examples else ()
        return simulator_messages(call.spec, call.arguments, examples)


def _read_completion(completion: Any) -> ToolResponse:
    try:
        text = completion["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        raise UnusableResponseError("the completion has no message") from None
    answer = read_answer(text if isinstance(text, str) else "")
    if answer is None:
        raise UnusableResponseError('the model did not write {"error": ..., "response": ...}')
    error, response = answer
    return ToolResponse(encode_body(error, response), outcome_of_error(error), Provenance.GENERATED)

"""Chat models behind an OpenAI-compatible endpoint, for judges and agents."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from steptool_env.errors import ChatError, ChatRefusedError, ChatUnreachableError, ConfigurationError
from toolserver.resolvers.upstream import UnreachableError, UnusableResponseError, Upstream, UpstreamError

T = TypeVar("T")
Message = Mapping[str, Any]
_DEFAULT_URL = "https://api.openai.com/v1"
_CONNECT_SECONDS = 4.0
_REFUSALS = frozenset({200, 400, 413, 422})
"""HTTP statuses of a conversation that the endpoint refuses, or whose answer is unusable. Others are its failures."""
_SHOWN = 300  # characters of an endpoint's message


class ChatModel:
    """Client for one model at one endpoint. Thread-safe.

    Args:
        model: Name of the model at the endpoint.
        base_url: Endpoint without `/chat/completions`; by default `OPENAI_BASE_URL`, else OpenAI's.
        api_key: Bearer key; by default `OPENAI_API_KEY`. Local endpoints need none.
        timeout: Seconds to wait for one answer.
        retries: Number of retries after a failure or an unusable answer, after 1, 2, 4, ... seconds. An endpoint that
            accepts no connection is reported within 10 seconds, whatever `timeout` and `retries`.
    """

    def __init__(
        self, model: str, *, base_url: str = "", api_key: str = "", timeout: float = 60.0, retries: int = 3
    ) -> None:
        if not model:
            raise ConfigurationError("the name of the chat model is empty: give the model's name at its endpoint")
        self.model = model
        url = (base_url or os.environ.get("OPENAI_BASE_URL") or _DEFAULT_URL).rstrip("/") + "/chat/completions"
        key = api_key or os.environ.get("OPENAI_API_KEY", "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._url, self._key = url, key
        self._upstream = Upstream(
            url, headers, timeout=timeout, retries=retries, backoff=1.0, connect_timeout=_CONNECT_SECONDS
        )

    def complete(self, messages: Sequence[Message], read: Callable[[dict[str, Any]], T], **options: Any) -> T:
        """Request one assistant message and return `read(message)`.

        Args:
            messages: Conversation so far.
            read: Parser of the message (`content`, `tool_calls`); raises `ValueError` for an unusable one, which is
                retried.
            options: Further fields of the request, such as `tools` and `temperature`.

        Raises:
            ChatError: All attempts failed. The message has the endpoint's words, without the API key.
            ChatRefusedError: The endpoint refuses the conversation, or no answer was usable.
            ChatUnreachableError: The endpoint accepts no connection.
        """
        payload = {"model": self.model, "messages": list(messages), **options}
        try:
            return self._upstream.fetch(payload, lambda completion: read(_message(completion)))
        except UnreachableError as error:
            raise ChatUnreachableError(
                f"no chat model answers at {self._url}; start one, or give its address (base_url, OPENAI_BASE_URL)"
            ) from error
        except UpstreamError as error:
            kind = ChatRefusedError if error.status in _REFUSALS else ChatError
            raise kind(f"chat model {self.model!r}: {error}{self._words(error.body)}") from error

    def close(self) -> None:
        """Close the connections."""
        self._upstream.close()

    def _words(self, body: str) -> str:
        """Return what the endpoint says in the body of a refusal, as a sentence; empty for an empty body."""
        try:
            said = json.loads(body)["error"]
            text = said["message"] if isinstance(said, dict) else str(said)
        except (ValueError, LookupError, TypeError, RecursionError):
            text = body
        text = " ".join(str(text).split())
        if self._key:
            text = text.replace(self._key, "***")
        return f" It says: {text[:_SHOWN]}" if text else ""


def _message(completion: Any) -> dict[str, Any]:
    try:
        message = completion["choices"][0]["message"]
    except (KeyError, IndexError, TypeError):
        message = None
    if not isinstance(message, dict):
        raise UnusableResponseError("the completion holds no message")
    return message

"""Chat models behind an OpenAI-compatible endpoint, for judges and agents, and a cache of their messages."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from steptool_env.client.urls import checked_url
from steptool_env.errors import ChatError, ChatRefusedError, ChatUnreachableError, ConfigurationError
from toolserver.cache import ResponseCache, canonical_key
from toolserver.catalog.api_schema import Outcome, Provenance, ToolCall, encode_body
from toolserver.resolvers.upstream import UnreachableError, UnusableResponseError, Upstream, UpstreamError

T = TypeVar("T")
Message = Mapping[str, Any]
_URL_VARIABLE = "OPENAI_BASE_URL"
_DEFAULT_URL = "https://api.openai.com/v1"
_CONNECT_SECONDS = 4.0
_REFUSALS = frozenset({400, 413, 422})
"""HTTP statuses of a conversation that the endpoint refuses. Others are its failures."""
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
        cache: Directory of a response cache, or its Redis URL, that keeps the usable messages: the same request is
            answered from it, without the endpoint. Their provenance there is `generated`, their source the endpoint.

    Raises:
        ConfigurationError: `model` is empty, or the endpoint is not an http(s) URL.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str = "",
        api_key: str = "",
        timeout: float = 60.0,
        retries: int = 3,
        cache: str = "",
    ) -> None:
        if not model:
            raise ConfigurationError("the name of the chat model is empty: give the model's name at its endpoint")
        self.model = model
        field = "base_url" if base_url else _URL_VARIABLE
        address = base_url or os.environ.get(_URL_VARIABLE) or _DEFAULT_URL
        url = checked_url(field, address, "http://127.0.0.1:8000/v1") + "/chat/completions"
        key = api_key or os.environ.get("OPENAI_API_KEY", "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._url, self._key = url, key
        self._upstream = Upstream(
            url, headers, timeout=timeout, retries=retries, backoff=1.0, connect_timeout=_CONNECT_SECONDS
        )
        self._cache = ResponseCache(cache) if cache else None

    def complete(
        self, messages: Sequence[Message], read: Callable[[dict[str, Any]], T], *, repeat: int = 0, **options: Any
    ) -> T:
        """Request one assistant message and return `read(message)`.

        Args:
            messages: Conversation so far.
            read: Parser of the message (`content`, `tool_calls`, and `usage`, the endpoint's count of tokens, if it
                has one); raises `ValueError` for an unusable one, which is
                retried.
            repeat: Number of the repeat of an equal request, which the cache keeps apart. Not sent.
            options: Further fields of the request, such as `tools` and `temperature`.

        Raises:
            ChatError: All attempts failed, or the answers were no completions. The message has the endpoint's words,
                without the API key.
            ChatRefusedError: The endpoint refuses the conversation, or `read` took none of the model's messages.
            ChatUnreachableError: The endpoint accepts no connection.
        """
        payload = {"model": self.model, "messages": list(messages), **options}
        call = ToolCall("Chat", self.model, "completions", {**payload, "repeat": repeat})
        kept = self._kept(call)
        if kept is not None:
            try:
                return read(kept)
            except ValueError:  # an earlier reader took it
                pass
        try:
            message, value = self._upstream.fetch(payload, lambda completion: _read(_message(completion), read))
        except UnreachableError as error:
            raise ChatUnreachableError(
                f"no chat model answers at {self._url}; start one, or give its address (base_url, OPENAI_BASE_URL)"
            ) from error
        except UpstreamError as error:
            is_refused = isinstance(error, _UnusableMessageError) or error.status in _REFUSALS
            kind = ChatRefusedError if is_refused else ChatError
            raise kind(f"chat model {self.model!r}: {error}{self._words(error.body)}") from error
        if self._cache is not None:
            body = encode_body("", message)
            self._cache.put(
                call, body, provenance=Provenance.GENERATED, source=self._url, on_conflict="replace" if kept else "keep"
            )
        return value

    def close(self) -> None:
        """Close the connections and the cache."""
        self._upstream.close()
        if self._cache is not None:
            self._cache.close()

    def _kept(self, call: ToolCall) -> dict[str, Any] | None:
        """Return the message of the cache, if any."""
        if self._cache is None:
            return None
        entry = self._cache.get(
            canonical_key(call.category, call.tool, call.api, cast("dict[str, Any]", call.arguments))
        )
        return None if entry is None else cast("dict[str, Any]", json.loads(entry.body)["response"])

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


class _UnusableMessageError(UpstreamError):
    """The endpoint gave a completion, and the reader does not take the model's message."""


def _read(message: dict[str, Any], read: Callable[[dict[str, Any]], T]) -> tuple[dict[str, Any], T]:
    try:
        return message, read(message)
    except ValueError as error:
        raise _UnusableMessageError(Outcome.UNAVAILABLE, f"The message is unusable: {error}") from error


def _message(completion: Any) -> dict[str, Any]:
    try:
        message = completion["choices"][0]["message"]
    except (KeyError, IndexError, TypeError):
        message = None
    if not isinstance(message, dict):
        raise UnusableResponseError("it is no completion: choices[0].message is missing")
    usage = completion.get("usage")
    return {**message, "usage": usage} if isinstance(usage, dict) else message

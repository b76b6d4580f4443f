"""Agent for a chat model behind an OpenAI-compatible endpoint."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from agents.base import AgentFailure, Info
from agents.seeding import action_seed, branch_stream, stream_of
from steptool_env.chat import ChatModel
from steptool_env.episodes.prompts import USER
from steptool_env.errors import ChatError, ChatRefusedError, ChatUnreachableError, ConfigurationError
from steptool_env.formats import Format, make_format
from steptool_env.types import FINISH, GIVE_UP

_Message = dict[str, Any]
_LONGEST = 64
_TAKEN = re.compile(rf"[a-zA-Z0-9_-]{{1,{_LONGEST}}}")
_REFUSED = re.compile(r"[^a-zA-Z0-9_-]")


class FunctionNames:
    """Aliases of function names in one conversation: at most 64 characters of `a-zA-Z0-9_-`, as OpenAI's API requires.

    A valid name is its own alias. The alias of another name is a prefix of it and a digest of the whole name, so it is
    unique, and the same in every request and run. `alias` adds names that the model invents to those that are offered.
    """

    def __init__(self, names: Iterable[str]) -> None:
        offered = list(names)
        self._names = {name: name for name in offered if _TAKEN.fullmatch(name)}
        self._aliases = dict(self._names)
        for name in offered:
            self.alias(name)

    def alias(self, name: str) -> str:
        """Return the alias of a function name."""
        if name not in self._aliases:
            alias = next(alias for alias in _aliases(name) if alias not in self._names)
            self._aliases[name], self._names[alias] = alias, name
        return self._aliases[name]

    def name(self, alias: str) -> str:
        """Return the function name of an alias; an unknown alias is returned unchanged."""
        return self._names.get(alias, alias)


def offered_tools(offered: Iterable[Mapping[str, Any]]) -> tuple[FunctionNames, list[dict[str, Any]]]:
    """Return the aliases of offered functions, and the functions as an endpoint takes them."""
    functions: dict[str, Mapping[str, Any]] = {}
    for function in offered:
        functions.setdefault(function["name"], function)  # of two with the same name the first is used
    names = FunctionNames(functions)
    tools = [
        {"type": "function", "function": {**function, "name": names.alias(name)}}
        for name, function in functions.items()
    ]
    return names, tools


def _aliases(name: str) -> Iterator[str]:
    """Yield the name if it is valid, then shortened forms."""
    if _TAKEN.fullmatch(name):
        yield name
    for attempt in range(_LONGEST):
        salt = attempt.to_bytes(1, "big")
        digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=4, salt=salt).hexdigest()
        yield f"{_REFUSED.sub('_', name)[: _LONGEST - len(digest) - 1]}_{digest}"


@dataclass
class _Episode:
    format: Format
    names: FunctionNames
    tools: list[dict[str, Any]]
    messages: list[_Message]
    stream: str
    step: int = 0
    tokens: int = 0  # of the last action, prompt included


class OpenAIAgent:
    """Agent that acts with a chat model, one conversation per episode.

    In formats that chat models support natively (`openai`, `hermes`, `llama3`) the functions are sent as `tools`, and
    the first tool call of a message is the action. Function names that endpoints refuse are sent as aliases
    (`FunctionNames`). In `react` the model reads and writes plain text.

    A conversation that the endpoint refuses (HTTP 400, 413, 422, e.g. for its length), or in which the model's call
    names no function, ends by giving up and counts as unsolved. A message without text and tool call is an empty,
    hence invalid action. A conversation that the endpoint fails to answer within the retries (other statuses, timeouts,
    an answer that is no completion) is an `AgentFailure` and does not count. More than `max_failures` of both, or an
    unreachable endpoint, end the run.

    Args:
        model: Name of the model at the endpoint.
        base_url: Endpoint, see `ChatModel`; by default `OPENAI_BASE_URL`.
        api_key: API key; by default `OPENAI_API_KEY`.
        temperature: Sampling temperature; `None` leaves it to the endpoint.
        seed: Random seed, unless `temperature` is 0: each request has a seed derived from this one, the task and the
            step. `None` sends no seed, for endpoints that refuse the field.
        max_tokens: Maximum number of tokens per action.
        concurrency: Maximum number of concurrent requests.
        timeout: Seconds to wait for one response.
        retries: Number of retries after a failure.
        max_failures: Maximum number of episodes lost to the endpoint.
    """

    def __init__(
        self,
        model: str = "",
        *,
        base_url: str = "",
        api_key: str = "",
        temperature: float | None = 0.0,
        seed: int | None = 0,
        max_tokens: int = 1024,
        concurrency: int = 16,
        timeout: float = 120.0,
        retries: int = 3,
        max_failures: int = 5,
    ) -> None:
        if not model:
            raise ConfigurationError("agent 'openai' needs the name of a model: openai:MODEL")
        self.name = model
        self._chat = ChatModel(model, base_url=base_url, api_key=api_key, timeout=timeout, retries=retries)
        self._options: dict[str, Any] = {"max_tokens": max_tokens}
        if temperature is not None:
            self._options["temperature"] = temperature
        self._seed = None if temperature == 0 else seed
        self._pool = ThreadPoolExecutor(concurrency)
        self._failures_left = max_failures
        self._episodes: dict[int, _Episode] = {}
        self.last_tokens: dict[int, int] = {}

    def reset(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> None:
        """See `Agent.reset`."""
        del observations
        for index, info in zip(indices, infos, strict=True):
            messages = [dict(message) for message in info["messages"]]
            names, tools = offered_tools(info["functions"])
            self._episodes[index] = _Episode(make_format(info["format"]), names, tools, messages, stream_of(info))

    def act(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """See `Agent.act`. Raises `ChatError` if the endpoint is unreachable or has failed too often."""
        episodes = [self._episodes[index] for index in indices]
        extra = [str(info.get("diversity", "")) for info in infos]
        for episode, observation, info in zip(episodes, observations, infos, strict=True):
            episode.tokens = 0
            if "turn" in info:
                _begin_turn(episode, observation, info)
        actions = self._allow_failures(list(self._pool.map(self._act, episodes, observations, extra)))
        self.last_tokens |= {index: episode.tokens for index, episode in zip(indices, episodes, strict=True)}
        return actions

    def fork(self, source: int, target: int, attempt: int) -> None:
        """See `ForkingAgent.fork`."""
        episode = self._episodes[source]
        self._episodes[target] = replace(
            episode, messages=list(episode.messages), stream=branch_stream(episode.stream, attempt)
        )

    def free(self, slot: int) -> None:
        """See `ForkingAgent.free`."""
        del self._episodes[slot]

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown(cancel_futures=True)
        self._chat.close()

    def _act(self, episode: _Episode, observation: str, extra: str) -> str | tuple[_Episode, ChatError]:
        if episode.messages[-1]["role"] == "assistant":
            episode.messages.append(_answer_to(episode.messages[-1], observation))
        options = dict(self._options)
        if self._seed is not None:
            options["seed"] = action_seed(self._seed, episode.stream, episode.step)
        episode.step += 1
        if episode.format.native:
            options |= {"tools": episode.tools, "parallel_tool_calls": False}
        messages = [*episode.messages, {"role": "user", "content": extra}] if extra else episode.messages
        try:
            message = self._chat.complete(messages, lambda answer: _counted(answer, episode), **options)
        except ChatError as error:
            return episode, error
        episode.messages.append(_sendable(message, episode.names, f"call-{episode.step}"))
        return _action(message, episode.format, episode.names)

    def _allow_failures(self, outcomes: Sequence[str | tuple[_Episode, ChatError]]) -> list[str]:
        actions = []
        for outcome in outcomes:
            if isinstance(outcome, str):
                actions.append(outcome)
                continue
            episode, error = outcome
            if isinstance(error, ChatUnreachableError):
                raise error
            self._failures_left -= 1
            if self._failures_left < 0:
                raise ChatError(f"too many episodes failed at the endpoint; the last error: {error}") from error
            if isinstance(error, ChatRefusedError):
                actions.append(episode.format.render(FINISH, json.dumps({"return_type": GIVE_UP}), str(error)))
            else:
                actions.append(AgentFailure(error))
        return actions


def _begin_turn(episode: _Episode, observation: str, info: Info) -> None:
    """Add the user's next message, and offer the functions that are new. In text formats the observation has both."""
    if not episode.format.native or "tool_calls" not in episode.messages[-1]:
        return
    answer = _answer_to(episode.messages[-1], observation.partition(USER)[0])
    episode.messages += [answer, *map(dict, info["messages"])]
    episode.names, episode.tools = offered_tools(info["functions"])


def _sendable(message: _Message, names: FunctionNames, call_id: str) -> _Message:
    """Return the model's message with an alias for the function name, which may be invented and refused.

    A call without an id gets `call_id`, which the tool's message refers to.
    """
    if "tool_calls" not in message:
        return message
    (call,) = message["tool_calls"]
    alias = names.alias(names.name(call["function"]["name"]))
    function = {**call["function"], "name": alias}
    return {
        **message,
        "tool_calls": [{**call, "id": call.get("id") or call_id, "type": "function", "function": function}],
    }


def _counted(message: Mapping[str, Any], episode: _Episode) -> _Message:
    """Add the tokens of a message to those of the action, then return its first call. See `_first_call`."""
    total = message.get("usage", {}).get("total_tokens")
    episode.tokens += total if isinstance(total, int) else 0
    return _first_call(message)


def _first_call(message: Mapping[str, Any]) -> _Message:
    """Return the message with its text and at most one tool call. Raises `ValueError` for an unusable message."""
    content, calls = message.get("content"), message.get("tool_calls")
    if content is not None and not isinstance(content, str):
        raise ValueError(f"the content is of type {type(content).__name__}, not text")
    kept: _Message = {"role": "assistant", "content": content}
    if isinstance(calls, list) and calls:
        function = calls[0].get("function") if isinstance(calls[0], dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise ValueError("the tool call names no function")
        kept["tool_calls"] = [calls[0]]
    elif content is None:  # the model wrote nothing; endpoints refuse a message without both when it is sent back
        kept["content"] = ""
    return kept


def _answer_to(message: _Message, observation: str) -> _Message:
    if "tool_calls" not in message:
        return {"role": "user", "content": observation}
    return {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": observation}


def _action(message: _Message, call_format: Format, names: FunctionNames) -> str:
    """Render the message in the environment's format; without a tool call, return its text."""
    thought = message["content"] or ""
    if "tool_calls" not in message:
        return str(thought)
    function = message["tool_calls"][0]["function"]
    arguments = function.get("arguments") or "{}"
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return call_format.render(names.name(function["name"]), text, thought)

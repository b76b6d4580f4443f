"""Conversations token by token: a chat that goes on extends the tokens of its earlier turns.

A message of the model is found again by the messages before it and by its calls or its text. A chat with other messages
before its last one, e.g. one whose history a client has shortened, is encoded as a whole and begins a new conversation.
"""

import re
from array import array
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from sys import getsizeof
from typing import Any, NamedTuple
from weakref import ref

from agents.errors import ModelError
from agents.gateway.protocol import ApiError, Message
from agents.models.chat_template import Codec, PlainCodec
from agents.rollout.types import Sampled
from steptool_env.episodes.prompts import describe_functions
from steptool_env.formats import Format, FunctionSchema

_TOKEN_BYTES = array("i").itemsize
_SAMPLED_BYTES = 72  # of a token and its log-probability: two objects, each of them in a list
_TURN_BYTES = 4096  # of a turn without tokens and texts: mostly of its message


@dataclass(eq=False)
class Turn:
    """Answer of the model.

    Attributes:
        number: Number of the turn, from 0, in the order in which answers were complete.
        prompt: Tokens before the answer.
        sampled: The answer.
        text: The answer as text, without a text that stopped it.
        message: The answer as message of the assistant.
        state: Text that names the state of the environment before the turn.
    """

    number: int
    prompt: Sequence[int]
    sampled: Sampled
    text: str
    message: Message
    _parent: "ref[Turn] | None" = None  # weak, so that a conversation does not keep all of its earlier prompts
    state: str = ""

    @property
    def size(self) -> int:
        """Memory of the turn in bytes: its tokens, log-probabilities and texts."""
        call = sum(getsizeof(each.function.arguments) for each in self.message.tool_calls)
        texts = getsizeof(self.text) + getsizeof(self.message.content) + call + getsizeof(self.state)
        return _TURN_BYTES + _TOKEN_BYTES * len(self.prompt) + _SAMPLED_BYTES * len(self.sampled.ids) + texts

    @property
    def parent(self) -> "Turn | None":
        """Turn whose tokens the prompt extends, while it is remembered; `None` for the first of a conversation."""
        return None if self._parent is None else self._parent()


@dataclass
class Prompt:
    """Prompt of a turn.

    Attributes:
        ids: Its tokens.
        functions: Functions that the model may call.
        key: Digest of the chat up to here.
        parent: Turn whose tokens it extends.
        state: See `Turn.state`.
        counts: False for an answer that is not the model's.
    """

    ids: list[int]
    functions: Sequence[FunctionSchema]
    key: bytes
    parent: Turn | None = None
    state: str = ""
    counts: bool = True


class EpisodePrompt(NamedTuple):
    """Prompt of an environment: its tokens for a chat that begins with these messages, unchanged."""

    messages: Sequence[Mapping[str, str]]
    observation: str
    info: Mapping[str, Any]


@dataclass
class Conversations:
    """Conversations with one model, by their messages.

    Attributes:
        codec: Codec of the model.
        format: Format in which the model writes calls.
        start: Prompt of the environment, which is encoded as in its own rollouts.
        most: Maximum number of turns that are remembered, the latest; `None` keeps all.
        most_bytes: Maximum size of them in bytes, but for the latest one; `None` keeps all.
    """

    codec: Codec
    format: Format
    start: EpisodePrompt | None = None
    most: int | None = None
    most_bytes: int | None = None
    numbers: int = 0
    _turns: OrderedDict[bytes, Turn] = field(default_factory=OrderedDict)
    _bytes: int = 0

    def prompt(self, messages: Sequence[Message], functions: Sequence[FunctionSchema]) -> Prompt:
        """Return the tokens of a chat.

        Raises:
            ApiError: The chat template of the model refuses the messages.
        """
        keys = _keys(messages, functions)
        said = [place for place, message in enumerate(messages) if message.role == "assistant"]
        turn = self._turns.get(keys[said[-1] + 1]) if said else None
        try:
            if turn is None or not _agrees(messages[said[-1]], turn.message):
                return Prompt(self._encode(messages, functions), functions, keys[-1])
            self._turns.move_to_end(keys[said[-1] + 1])
            new = [self._plain(message) for message in messages[said[-1] + 1 :]]
            closing = [] if turn.sampled.stopped else [self.codec.stop_id]
            ids = [*turn.prompt, *turn.sampled.ids, *closing, *self.codec.encode_messages(new)]
            return Prompt(ids, functions, keys[-1], turn)
        except ModelError as error:
            raise ApiError(str(error), "messages") from error

    def record(self, prompt: Prompt, sampled: Sampled, text: str, choice: int = 0) -> Turn:
        """Record the answer to a prompt. Return it with its message."""
        number, self.numbers = self.numbers, self.numbers + 1
        message = self._message(text, prompt.functions, f"call_{number}_{choice}")
        parent = None if prompt.parent is None else ref(prompt.parent)
        turn = Turn(number, array("i", prompt.ids), sampled, text, message, parent, prompt.state)
        self._remember(_extended(prompt.key, message), turn)
        return turn

    def _remember(self, key: bytes, turn: Turn) -> None:
        """Remember a turn as the latest, and forget the earliest ones beyond the limits."""
        if before := self._turns.pop(key, None):
            self._bytes -= before.size
        self._turns[key] = turn
        self._bytes += turn.size
        while len(self._turns) > 1 and (
            (self.most is not None and len(self._turns) > self.most)
            or (self.most_bytes is not None and self._bytes > self.most_bytes)
        ):
            self._bytes -= self._turns.popitem(last=False)[1].size

    def _message(self, text: str, functions: Sequence[FunctionSchema], call_id: str) -> Message:
        """Return an answer as message: with the call that it makes where functions are offered, else as text."""
        action = self.format.parse(text) if functions else None
        if action is None or action.error:
            return Message(role="assistant", content=text)
        function = {"name": _sendable(action.name), "arguments": _sendable(action.arguments or "{}")}
        call = {"id": call_id, "type": "function", "function": function}
        return Message.model_validate({"role": "assistant", "content": _sendable(action.thought), "tool_calls": [call]})

    def _encode(self, messages: Sequence[Message], functions: Sequence[FunctionSchema]) -> list[int]:
        plain = [self._plain(message) for message in messages]
        start = self.start
        if start is not None and plain == [dict(message) for message in start.messages]:
            offered = start.info.get("functions", ())
            if not functions or [each["name"] for each in functions] == [each["name"] for each in offered]:
                return self.codec.encode_prompt(start.observation, start.info)
        by_template = self.format.native and self.codec.takes_functions
        if functions and not by_template and not _are_described(functions, plain):
            style = "compact" if isinstance(self.codec, PlainCodec) else "toolbench"
            described = describe_functions(functions, self.format, style)
            plain = _with_system(plain, described)
        return self.codec.encode_chat(plain, functions if by_template else ())

    def _plain(self, message: Message) -> dict[str, str]:
        """Return a message as a chat template takes it: calls are the text that the model writes."""
        if message.role == "tool":
            return {"role": self.format.tool_role, "content": message.content}
        if message.role == "developer":
            return {"role": "system", "content": message.content}
        calls = [(call.function.name, call.function.arguments or "{}") for call in message.tool_calls]
        texts = [
            self.format.render(name, text, "" if number else message.content)
            for number, (name, text) in enumerate(calls)
        ]
        return {"role": message.role, "content": "\n".join(texts) if texts else message.content}


def _sendable(text: str) -> str:
    """Return a text with each lone surrogate as an escape of JSON, which is how the model wrote it: UTF-8 has none."""
    return text.encode("utf-8", "backslashreplace").decode()


def _agrees(shown: Message, message: Message) -> bool:
    """Return whether a client's copy of a message has its text, or leaves it out beside calls."""
    return shown.content in (("", message.content) if message.tool_calls else (message.content,))


_DESCRIBED = r"""(?<!\w){0}\(|["']name["']: ?["']{0}["']"""


def _are_described(functions: Sequence[FunctionSchema], messages: Sequence[Mapping[str, str]]) -> bool:
    """Return whether the system's messages describe every function: `name(...)`, or an entry `"name": "..."`."""
    system = "\n".join(message["content"] for message in messages if message["role"] == "system")
    return all(re.search(_DESCRIBED.format(re.escape(function["name"])), system) for function in functions)


def _with_system(messages: Sequence[dict[str, str]], text: str) -> list[dict[str, str]]:
    """Add a text to the system's message, which is the first."""
    if messages and messages[0]["role"] == "system":
        joined = "\n".join(part for part in (messages[0]["content"], text) if part)
        return [{"role": "system", "content": joined}, *messages[1:]]
    return [{"role": "system", "content": text}, *messages]


def _keys(messages: Sequence[Message], functions: Sequence[FunctionSchema]) -> list[bytes]:
    """Return digests of the chat: before the first message, and after each."""
    names = "\0".join(str(dict(function)) for function in functions)
    keys = [blake2b(names.encode("utf-8", "surrogatepass"), digest_size=16).digest()]
    for message in messages:
        keys.append(_extended(keys[-1], message))
    return keys


def _extended(key: bytes, message: Message) -> bytes:
    text = message.canonical().encode("utf-8", "surrogatepass")
    return blake2b(key + text, digest_size=16).digest()

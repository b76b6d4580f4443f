"""Codecs between an environment's text and tokens.

The tokens of an episode are `prompt action observation action observation ...`. Each piece is encoded once and
appended; sampled ids are never decoded and encoded again, so that the policy is trained on exactly the tokens that it
sampled.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

from agents.errors import ModelError
from agents.models.tokenizer import ACT
from steptool_env.formats import FunctionSchema, make_format

Message = Mapping[str, str]
"""Message of a chat: `role` and `content`."""

_USER, _ACTION, _OBSERVATION = "\u2460USER\u2460", "\u2461ACTION\u2461", '\u2462OBSERVATION"\u2462'


class Codec(Protocol):
    """Encodes the text of an episode and decodes its actions.

    Attributes:
        stop_id: Token that ends an action.
        pad_id: Token of the padding.
        takes_functions: True where `encode_chat` describes functions to the model.
    """

    stop_id: int
    pad_id: int
    takes_functions: bool

    def encode_prompt(self, observation: str, info: Mapping[str, Any]) -> list[int]:
        """Encode the tokens before the first action."""

    def encode_observation(self, observation: str, call_format: str = "") -> list[int]:
        """Encode the tokens between the stop token of an action and the next action.

        `call_format` is that of the environment (`info["format"]` of the reset), which determines the role of the
        message in a chat; by default the user's.
        """

    def encode_chat(self, messages: Sequence[Message], functions: Sequence[FunctionSchema] = ()) -> list[int]:
        """Encode a chat, up to the model's next action.

        `functions` are passed to the chat template as its tools. Messages of the assistant are actions as text.

        Raises:
            ModelError: The chat template refuses the chat.
        """

    def encode_messages(self, messages: Sequence[Message]) -> list[int]:
        """Encode the messages between the stop token of an action and the next action; none is the assistant's."""

    def decode_action(self, ids: Sequence[int]) -> str:
        """Decode sampled tokens, without the stop token."""

    def encode_action(self, text: str) -> list[int]:
        """Encode the text of an action, with the stop token."""


class PlainCodec:
    """Codec of policies from scratch: text, `<|act|>`, action, `<|end|>`, text, ..."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._act = int(cast(int, tokenizer.convert_tokens_to_ids(ACT)))
        self.stop_id = int(tokenizer.eos_token_id)
        self.pad_id = int(tokenizer.pad_token_id)
        self.takes_functions = False

    def encode_prompt(self, observation: str, info: Mapping[str, Any]) -> list[int]:  # noqa: ARG002
        """Encode the prompt, then `<|act|>`."""
        return self.encode_observation(observation)

    def encode_observation(self, observation: str, call_format: str = "") -> list[int]:  # noqa: ARG002
        """Encode the observation, then `<|act|>`."""
        return [*encode(self._tokenizer, observation), self._act]

    def encode_chat(self, messages: Sequence[Message], functions: Sequence[FunctionSchema] = ()) -> list[int]:  # noqa: ARG002
        """Encode the texts of the first messages, a line each, then `<|act|>`, actions and observations.

        Functions are not described: these policies read them in the text.
        """
        ids: list[int] = []
        texts: list[str] = []
        for message in messages:
            if message["role"] != "assistant":
                texts.append(message["content"])
                continue
            ids += [*self._encode_texts(texts, first=not ids), *self.encode_action(message["content"])]
            texts = []
        return [*ids, *self._encode_texts(texts, first=not ids)]

    def encode_messages(self, messages: Sequence[Message]) -> list[int]:
        """Encode the texts of the messages, then `<|act|>`."""
        return self._encode_texts([message["content"] for message in messages], first=False)

    def _encode_texts(self, texts: Sequence[str], *, first: bool) -> list[int]:
        """Encode texts, a line each, then `<|act|>`. The `first` ones of an episode end with a line break."""
        text = "\n".join(texts)
        return self.encode_observation(f"{text}\n" if first and not text.endswith("\n") else text)

    def decode_action(self, ids: Sequence[int]) -> str:
        """Decode sampled tokens, without the stop token."""
        return str(self._tokenizer.decode([i for i in ids if i != self.stop_id]))

    def encode_action(self, text: str) -> list[int]:
        """Encode the text of an action, with the stop token."""
        return [*encode(self._tokenizer, text), self.stop_id]


class _Between(NamedTuple):
    """Texts of a template between two turns of the model: before, between and after the messages.

    `as_json`: for each message, the template writes it as JSON text (as Llama 3.1 does for tool messages).
    """

    texts: tuple[str, ...]
    as_json: tuple[bool, ...]


class ChatCodec:
    """Codec of a pretrained chat model; the text between turns is extracted from its chat template once.

    In native formats of chat models the observation has the role of a tool message (`tool`, of Llama 3 `ipython`),
    where the template supports it; otherwise, and in other formats, the user's. Without a format it has
    `observation_role`.

    Raises:
        ModelError: The tokenizer has no chat template or no stop token, or its template rewrites
            earlier messages when later ones are added, so that prompts cannot grow by appending.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, observation_role: str = "user") -> None:
        if not tokenizer.chat_template:
            raise ModelError(
                "the tokenizer has no chat template; use an instruction-tuned model or set tokenizer.chat_template"
            )
        self._tokenizer, self._role = tokenizer, observation_role
        between = self._after_action(("user",))
        if between is None:
            raise ModelError(
                "the chat template rewrites earlier messages when later ones are added (reasoning templates do), so "
                "prompts cannot grow by appending; give the tokenizer a template that keeps prefixes"
            )
        stop, rest = self._split_stop(between.texts[0])
        self._between: dict[tuple[str, ...], _Between] = {("user",): between._replace(texts=(rest, *between.texts[1:]))}
        self.stop_id = stop
        self.takes_functions = "tools" in str(tokenizer.chat_template)
        self.pad_id = stop if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)

    def encode_prompt(self, observation: str, info: Mapping[str, Any]) -> list[int]:
        """Render `info["messages"]`, or the observation as the user's message, by the template.

        In a native format of chat models, the functions are passed to the template as its tools.
        """
        messages = info.get("messages") or [{"role": "user", "content": observation}]
        native = "format" in info and make_format(str(info["format"])).native
        return self.encode_chat(messages, info.get("functions", ()) if native else ())

    def encode_observation(self, observation: str, call_format: str = "") -> list[int]:
        """Render the observation and the text of the template between two turns of the model."""
        role = make_format(call_format).tool_role if call_format else self._role
        return self.encode_messages([{"role": role, "content": observation}])

    def encode_chat(self, messages: Sequence[Message], functions: Sequence[FunctionSchema] = ()) -> list[int]:
        """Render the messages by the template, up to the model's next action."""
        tools = [{"type": "function", "function": dict(function)} for function in functions] or None
        try:
            return self._encode(self._render(list(messages), generate=True, tools=tools))
        except TemplateError as error:
            raise ModelError(f"the chat template refuses the messages: {error}") from error

    def encode_messages(self, messages: Sequence[Message]) -> list[int]:
        """Render the messages and the text of the template between two turns of the model."""
        between = self._between_turns(tuple(str(message["role"]) for message in messages))
        ids = self._encode(between.texts[0])
        for message, as_json, after in zip(messages, between.as_json, between.texts[1:], strict=True):
            content = message["content"]
            text = json.dumps(content, ensure_ascii=False)[1:-1] if as_json else content
            ids += [*encode(self._tokenizer, text), *self._encode(after)]
        return ids

    def decode_action(self, ids: Sequence[int]) -> str:
        """Decode sampled tokens, without special tokens."""
        return str(self._tokenizer.decode([i for i in ids if i != self.stop_id], skip_special_tokens=True))

    def encode_action(self, text: str) -> list[int]:
        """Encode the text of an action, with the stop token."""
        return [*encode(self._tokenizer, text), self.stop_id]

    def _render(self, messages: list[Any], *, generate: bool, tools: Any = None) -> str:
        rendered = self._tokenizer.apply_chat_template(
            messages, tools=tools, tokenize=False, add_generation_prompt=generate
        )
        return str(rendered)

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _between_turns(self, roles: tuple[str, ...]) -> _Between:
        """The texts for roles; those for users where the template lacks a role or ends the turn in another way."""
        if roles not in self._between:
            found, stop = self._after_action(roles), str(self._tokenizer.decode([self.stop_id]))
            if found is None or not found.texts[0].startswith(stop):
                users = ("user",) * len(roles)
                if roles == users:
                    raise ModelError(f"the chat template has no place for {len(roles)} messages of the user in a row")
                self._between[roles] = self._between_turns(users)
            else:
                self._between[roles] = found._replace(texts=(found.texts[0][len(stop) :], *found.texts[1:]))
        return self._between[roles]

    def _after_action(self, roles: tuple[str, ...]) -> _Between | None:
        """The template's texts between an action and the next one.

        `None` where the template refuses a role, leaves a message out or rewrites earlier ones.
        """
        first = [{"role": "user", "content": _USER}]
        marks = [_OBSERVATION.replace("OBSERVATION", f"OBSERVATION{n}") for n in range(len(roles))]
        turn = [{"role": "assistant", "content": _ACTION}]
        turn += [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)]
        try:
            opening, whole = self._render(first, generate=True), self._render(first + turn, generate=True)
        except TemplateError:
            return None
        if not whole.startswith(opening + _ACTION):
            return None
        texts, as_json = [whole[len(opening) + len(_ACTION) :]], []
        for mark in marks:
            written = json.dumps(mark, ensure_ascii=False)[1:-1]
            shown = next((each for each in (mark, written) if texts[-1].count(each) == 1), None)
            if shown is None:
                return None
            texts[-1:] = texts[-1].split(shown)
            as_json.append(shown != mark)
        return _Between(tuple(texts), tuple(as_json))

    def _split_stop(self, text: str) -> tuple[int, str]:
        ids = self._encode(text)
        known = set(self._tokenizer.all_special_ids)
        if not ids or ids[0] not in known:
            raise ModelError("the chat template does not end the model's turn with a special token; set one")
        return ids[0], text[len(self._tokenizer.decode([ids[0]])) :]


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Tokens of plain text; the spelling of a special token in it (e.g. by a tool) is encoded as text."""
    return list(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])

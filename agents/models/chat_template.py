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
from steptool_env.formats import make_format

_USER, _ACTION, _OBSERVATION = "\u2460USER\u2460", "\u2461ACTION\u2461", '\u2462OBSERVATION"\u2462'
_AS_JSON = json.dumps(_OBSERVATION, ensure_ascii=False)[1:-1]


class Codec(Protocol):
    """Encodes the text of an episode and decodes its actions."""

    stop_id: int
    pad_id: int

    def encode_prompt(self, observation: str, info: Mapping[str, Any]) -> list[int]:
        """Encode the tokens before the first action."""

    def encode_observation(self, observation: str, call_format: str = "") -> list[int]:
        """Encode the tokens between the stop token of an action and the next action.

        `call_format` is that of the environment (`info["format"]` of the reset), which determines the role of the
        message in a chat; by default the user's.
        """

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

    def encode_prompt(self, observation: str, info: Mapping[str, Any]) -> list[int]:  # noqa: ARG002
        """Encode the prompt, then `<|act|>`."""
        return self.encode_observation(observation)

    def encode_observation(self, observation: str, call_format: str = "") -> list[int]:  # noqa: ARG002
        """Encode the observation, then `<|act|>`."""
        return [*encode(self._tokenizer, observation), self._act]

    def decode_action(self, ids: Sequence[int]) -> str:
        """Decode sampled tokens, without the stop token."""
        return str(self._tokenizer.decode([i for i in ids if i != self.stop_id]))

    def encode_action(self, text: str) -> list[int]:
        """Encode the text of an action, with the stop token."""
        return [*encode(self._tokenizer, text), self.stop_id]


class _Between(NamedTuple):
    """Text of a template between two turns of the model, before and after the observation.

    `as_json`: the template writes the observation as JSON text (as Llama 3.1 does for tool messages).
    """

    before: str
    after: str
    as_json: bool


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
        between = self._after_action("user")
        if between is None:
            raise ModelError(
                "the chat template rewrites earlier messages when later ones are added (reasoning templates do), so "
                "prompts cannot grow by appending; give the tokenizer a template that keeps prefixes"
            )
        stop, before = self._split_stop(between.before)
        self._between = {"user": between._replace(before=before)}
        self.stop_id = stop
        self.pad_id = stop if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)

    def encode_prompt(self, observation: str, info: Mapping[str, Any]) -> list[int]:
        """Render `info["messages"]`, or the observation as the user's message, by the template.

        In a native format of chat models, the functions are passed to the template as its tools.
        """
        messages = info.get("messages") or [{"role": "user", "content": observation}]
        native = "format" in info and make_format(str(info["format"])).native
        tools = [{"type": "function", "function": dict(f)} for f in info.get("functions", ())] if native else None
        return self._encode(self._render(list(messages), generate=True, tools=tools))

    def encode_observation(self, observation: str, call_format: str = "") -> list[int]:
        """Render the observation and the text of the template between two turns of the model."""
        between = self._between_turns(make_format(call_format).tool_role if call_format else self._role)
        text = json.dumps(observation, ensure_ascii=False)[1:-1] if between.as_json else observation
        return [*self._encode(between.before), *encode(self._tokenizer, text), *self._encode(between.after)]

    def decode_action(self, ids: Sequence[int]) -> str:
        """Decode sampled tokens, without special tokens."""
        return str(self._tokenizer.decode([i for i in ids if i != self.stop_id], skip_special_tokens=True))

    def encode_action(self, text: str) -> list[int]:
        """Encode the text of an action, with the stop token."""
        return [*encode(self._tokenizer, text), self.stop_id]

    def _render(self, messages: list[dict[str, str]], *, generate: bool, tools: Any = None) -> str:
        rendered = self._tokenizer.apply_chat_template(
            messages, tools=tools, tokenize=False, add_generation_prompt=generate
        )
        return str(rendered)

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _between_turns(self, role: str) -> _Between:
        """The text for a role; that for the user where the template lacks the role or ends the turn in another way."""
        if role not in self._between:
            found, stop = self._after_action(role), str(self._tokenizer.decode([self.stop_id]))
            known = found is not None and found.before.startswith(stop)
            self._between[role] = (
                found._replace(before=found.before[len(stop) :]) if found and known else self._between["user"]
            )
        return self._between[role]

    def _after_action(self, role: str) -> _Between | None:
        """The template's text between an action and the next one.

        `None` where the template refuses the role, leaves the message out or rewrites earlier ones.
        """
        first = [{"role": "user", "content": _USER}]
        turn = [{"role": "assistant", "content": _ACTION}, {"role": role, "content": _OBSERVATION}]
        try:
            opening, whole = self._render(first, generate=True), self._render(first + turn, generate=True)
        except TemplateError:
            return None
        if not whole.startswith(opening + _ACTION):
            return None
        closing = whole[len(opening) + len(_ACTION) :]
        for observation in (_OBSERVATION, _AS_JSON):
            if closing.count(observation) == 1:
                before, after = closing.split(observation)
                return _Between(before, after, as_json=observation == _AS_JSON)
        return None

    def _split_stop(self, text: str) -> tuple[int, str]:
        ids = self._encode(text)
        known = set(self._tokenizer.all_special_ids)
        if not ids or ids[0] not in known:
            raise ModelError("the chat template does not end the model's turn with a special token; set one")
        return ids[0], text[len(self._tokenizer.decode([ids[0]])) :]


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Tokens of plain text; the spelling of a special token in it (e.g. by a tool) is encoded as text."""
    return list(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])

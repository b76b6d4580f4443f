"""From an environment's text to tokens and back: how an episode grows, piece by piece.

An episode is `prompt action observation action observation ...`. Each piece is encoded once and
appended; sampled ids are never decoded and encoded again, so the policy is trained on exactly the
tokens that it sampled.
"""

from __future__ import annotations

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
    """Text <-> tokens of one episode."""

    stop_id: int
    pad_id: int

    def encode_prompt(self, observation: str, info: Mapping[str, Any]) -> list[int]:
        """Tokens before the first action."""
        ...

    def encode_observation(self, observation: str, call_format: str = "") -> list[int]:
        """Tokens between the stop token of an action and the next action.

        Args:
            observation: What the tools answered.
            call_format: The environment's format (`info["format"]` of the opening), which says whose turn it is in a
                chat; by default the user's.
        """
        ...

    def action_text(self, ids: Sequence[int]) -> str:
        """The text of sampled tokens, without the stop token."""
        ...

    def action_ids(self, text: str) -> list[int]:
        """The tokens of an action somebody else wrote (a demonstration), with the stop token."""
        ...


class PlainCodec:
    """For the project's own tokenizer: text, `<|act|>`, action, `<|end|>`, text, ..."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._act = int(cast(int, tokenizer.convert_tokens_to_ids(ACT)))
        self.stop_id = int(tokenizer.eos_token_id)
        self.pad_id = int(tokenizer.pad_token_id)

    def encode_prompt(self, observation: str, info: Mapping[str, Any]) -> list[int]:  # noqa: ARG002
        """The whole opening prompt, then `<|act|>`."""
        return self.encode_observation(observation)

    def encode_observation(self, observation: str, call_format: str = "") -> list[int]:  # noqa: ARG002
        """The observation, then `<|act|>`."""
        return [*encode(self._tokenizer, observation), self._act]

    def action_text(self, ids: Sequence[int]) -> str:
        """The text of sampled tokens, without the stop token."""
        return str(self._tokenizer.decode([i for i in ids if i != self.stop_id]))

    def action_ids(self, text: str) -> list[int]:
        """The tokens of an action somebody else wrote (a demonstration), with the stop token."""
        return [*encode(self._tokenizer, text), self.stop_id]


class _Between(NamedTuple):
    """Text of a template between two of the model's turns, before and after the observation.

    `as_json`: the template writes the observation as JSON text (Llama 3.1 does for tools' answers).
    """

    before: str
    after: str
    as_json: bool


class ChatCodec:
    """For a pretrained chat model: the pieces are cut out of its chat template once.

    In formats that chat models know natively the observation stands in the role of tools' answers (`tool`, of Llama 3
    `ipython`), if the template knows it; else, and in other formats, in the user's. Where no format is said, in
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
        """`info["messages"]` (else the observation as the user's message) through the template.

        In a format that chat models know by themselves, the functions go to the template as its tools.
        """
        messages = info.get("messages") or [{"role": "user", "content": observation}]
        native = "format" in info and make_format(str(info["format"])).native
        tools = [{"type": "function", "function": dict(f)} for f in info.get("functions", ())] if native else None
        return self._encode(self._render(list(messages), generate=True, tools=tools))

    def encode_observation(self, observation: str, call_format: str = "") -> list[int]:
        """What the template puts between two of the model's turns, with the observation in it."""
        between = self._between_turns(make_format(call_format).tool_role if call_format else self._role)
        text = json.dumps(observation, ensure_ascii=False)[1:-1] if between.as_json else observation
        return [*self._encode(between.before), *encode(self._tokenizer, text), *self._encode(between.after)]

    def action_text(self, ids: Sequence[int]) -> str:
        """The text of sampled tokens, without special tokens."""
        return str(self._tokenizer.decode([i for i in ids if i != self.stop_id], skip_special_tokens=True))

    def action_ids(self, text: str) -> list[int]:
        """The tokens of an action somebody else wrote (a demonstration), with the stop token."""
        return [*encode(self._tokenizer, text), self.stop_id]

    def _render(self, messages: list[dict[str, str]], *, generate: bool, tools: Any = None) -> str:
        rendered = self._tokenizer.apply_chat_template(
            messages, tools=tools, tokenize=False, add_generation_prompt=generate
        )
        return str(rendered)

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _between_turns(self, role: str) -> _Between:
        """The pieces of a role; those of the user's where the template does not know it, or ends the turn otherwise."""
        if role not in self._between:
            found, stop = self._after_action(role), str(self._tokenizer.decode([self.stop_id]))
            known = found is not None and found.before.startswith(stop)
            self._between[role] = (
                found._replace(before=found.before[len(stop) :]) if found and known else self._between["user"]
            )
        return self._between[role]

    def _after_action(self, role: str) -> _Between | None:
        """The template's text behind an action, up to where the next action begins.

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
    """Tokens of plain text: a special token spelt out in it (by a tool, say) stays text."""
    return list(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])

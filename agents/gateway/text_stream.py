"""Text of an answer while its tokens come, and its end at a text of the request."""

from bisect import bisect_left
from collections.abc import Sequence

from agents.models.chat_template import Codec
from agents.rollout.types import Sampled

_UNKNOWN = "\ufffd"  # in place of bytes that are no character, or not yet
_CHARACTER = 4  # bytes of the longest character in UTF-8; a token has one or more


class TextStream:
    """Text of tokens that come bit by bit. Each token is decoded a bounded number of times.

    The parts together are the text of all tokens: a part ends between two characters. Where texts end an answer, a part
    ends before what may become one of them.

    Args:
        codec: Codec of the model.
        stops: Texts that end the answer.

    Attributes:
        stopped: True after a text of `stops`.
    """

    def __init__(self, codec: Codec, stops: Sequence[str] = ()) -> None:
        self._codec, self._stops = codec, stops
        self._tokens: list[int] = []  # of the latest part, which decide how the next ones are decoded, and after it
        self._length = 0  # characters of their text
        self._known = 0  # those that are out
        self._read = 0  # number of tokens of the latest part
        self._held = ""  # text that may become one of `stops`
        self.stopped = False

    def push(self, tokens: Sequence[int]) -> str:
        """Return the text that is certain with these tokens and was not before; nothing after a text of `stops`."""
        text = self._held + "".join(map(self._decoded, tokens))
        if any(stop in text for stop in self._stops):
            self.stopped = True
            return ""
        longest = max(
            (
                length
                for stop in self._stops
                for length in range(1, min(len(stop), len(text) + 1))
                if text.endswith(stop[:length])
            ),
            default=0,
        )
        self._held = text[len(text) - longest :]
        return text[: len(text) - longest]

    def _decoded(self, token: int) -> str:
        """Return the characters that are certain with one more token and were not before."""
        self._tokens.append(token)
        text = self._codec.decode_action(self._tokens)
        new, is_shorter = text[self._known :], len(text) < self._length
        self._length = len(text)
        if not new:  # special tokens
            if self._read:
                del self._tokens[self._read :]
            return ""
        # Where tokens are bytes, each is unknown until all make characters, whose last one may be `_UNKNOWN` itself.
        if is_shorter or not text.endswith(_UNKNOWN):
            self._tokens = self._tokens[self._read :]
            self._read = len(self._tokens)
            self._known = self._length = len(self._codec.decode_action(self._tokens))
            return new
        return self._before_pending(text) if len(self._tokens) - self._read > _CHARACTER else ""

    def _before_pending(self, text: str) -> str:
        """Return the characters before the last few tokens, from which on no character is known to be complete.

        A boundary within a character changes the text of its bytes.
        """
        for place in range(len(self._tokens) - _CHARACTER, len(self._tokens)):
            before, after = (self._codec.decode_action(part) for part in (self._tokens[:place], self._tokens[place:]))
            if after and before + after == text:
                new = before[self._known :]
                self._tokens, self._read, self._known, self._length = self._tokens[place:], 0, 0, len(after)
                return new
        return ""


def cut(codec: Codec, sampled: Sampled, limit: int | None, stops: Sequence[str]) -> tuple[Sampled, str, bool]:
    """Return an answer cut to `limit` tokens, and at the first text of `stops`; its text, and whether one was found.

    The tokens end with the one that completes the text, which is left out of the text of the answer.
    """
    if limit is not None:
        sampled = _first(sampled, limit)
    text = codec.decode_action(sampled.ids)
    places = [place for place in map(text.find, stops) if place >= 0]
    if not places:
        return sampled, text, False

    def stopped(length: int) -> bool:
        part = codec.decode_action(sampled.ids[:length])
        return any(stop in part for stop in stops)

    length = bisect_left(range(len(sampled.ids)), True, key=stopped)
    return _first(sampled, length), text[: min(places)], True


def _first(sampled: Sampled, length: int) -> Sampled:
    if len(sampled.ids) <= length:
        return sampled
    hidden = None if sampled.hidden is None else sampled.hidden[:length]
    return Sampled(sampled.ids[:length], sampled.log_probs[:length], stopped=False, hidden=hidden)

"""Text of an answer while its tokens come."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models

from agents.gateway.text_stream import TextStream, cut
from agents.models.chat_template import Codec
from agents.rollout.types import Sampled
from tests.agents.bandit import bundle
from tests.agents.gateway.serving import chat_bundle

WORDS = ["You can", " call", "functions", " é", "日本", "語", "👩🏽‍🚀", " a\n", "�", '{"name": "find"}', ""]


class Counting:
    """Codec that counts the tokens that it decodes."""

    def __init__(self, codec: Codec) -> None:
        self._codec, self.decoded = codec, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codec, name)

    def decode_action(self, ids: Sequence[int]) -> str:
        self.decoded += len(ids)
        return self._codec.decode_action(ids)


class Metaspace(Counting):
    """Codec of a tokenizer in the way of SentencePiece: `▁` is a space, but for that of the first token; with bytes."""

    def __init__(self) -> None:
        pieces = ["<s>", "▁", "▁a", "b", "▁▁"] + [f"<0x{byte:02X}>" for byte in range(256)]
        self._tokenizer = Tokenizer(
            models.BPE(dict(zip(pieces, range(len(pieces)), strict=True)), [], byte_fallback=True)
        )
        steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        self._tokenizer.decoder = decoders.Sequence(steps)
        self._tokenizer.add_special_tokens(["<s>"])
        self.decoded = 0

    def decode_action(self, ids: Sequence[int]) -> str:
        self.decoded += len(ids)
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)


def as_bytes(text: str) -> list[int]:
    """Tokens of `Metaspace` for a text, one for each byte."""
    return [5 + byte for byte in text.encode()]


def written(kind: str, rng: random.Random) -> tuple[Any, list[int]]:
    """A codec, and tokens in which characters of several bytes are whole, broken and missing."""
    if kind == "metaspace":
        codec = Metaspace()
        text = [0, 1, 2, 3, 4]
        # One bad byte makes its whole run unreadable.
        runs = [as_bytes("語é👩"), as_bytes("é�語��"), [5 + 0x80]]
        parts = [[rng.choice(text)] if rng.random() < 0.6 else [*rng.choice(runs), 3] for _ in range(20)]
        return codec, [token for part in parts for token in part]
    made = chat_bundle() if kind == "byte-level" else bundle("none")
    size = len(made.tokenizer)
    if kind == "plain":
        return Counting(made.codec), [rng.randrange(size) for _ in range(30)]
    ids = [token for _ in range(12) for token in made.codec.encode_action(rng.choice(WORDS))[:-1]]
    noise = rng.choice((0.0, 0.1, 1.0))
    return Counting(made.codec), [rng.randrange(size) if rng.random() < noise else token for token in ids]


@pytest.mark.parametrize("kind", ["byte-level", "metaspace", "plain"])
def test_the_parts_are_the_text_whatever_the_tokens(kind: str) -> None:
    """For every way to cut the tokens into updates, and with texts that end the answer."""
    rng = random.Random(0)
    for _ in range(150):
        codec, ids = written(kind, rng)
        whole = codec.decode_action(ids)
        places = [rng.randrange(len(whole) + 1) for _ in range(2)]
        stops = [whole[place : place + rng.randint(1, 4)] or "?" for place in places] if rng.random() < 0.6 else []
        stops = [] if kind == "metaspace" else stops  # the text of bytes changes with later ones
        sampled, text, found = cut(codec, Sampled(ids, [0.0] * len(ids), stopped=False), None, stops)
        stream, sent, done = TextStream(codec, stops), "", 0
        while done < len(ids) and not stream.stopped:
            step = rng.randint(1, 4)
            sent += stream.push(ids[done : done + step])
            done += step
            assert text.startswith(sent)
            if stream.stopped:
                assert found
                assert done >= len(sampled.ids)
        if found and not stream.stopped:  # the stop is among characters that are not complete
            assert whole.endswith("\ufffd")
        if not stops:
            assert len(text) - len(sent) <= 12 * whole.endswith("\ufffd")


def test_characters_are_never_cut() -> None:
    codec = chat_bundle().codec
    text = "日本語 👩🏽‍🚀 é."
    ids = codec.encode_action(text)[:-1]
    assert len(ids) > 2 * len(text)  # the tokenizer has no token for these
    stream = TextStream(codec)
    parts = [stream.push([token]) for token in ids]
    assert "".join(parts) == text
    assert [part for part in parts if part] == list(text)


def test_characters_are_never_cut_where_tokens_are_bytes() -> None:
    """Bytes that do not make characters are decoded one by one, also before those of a replacement character."""
    text = "é�語�👩��"
    stream = TextStream(Metaspace())
    parts = [stream.push([token]) for token in as_bytes(text)]
    assert [part for part in parts if part] == list(text)


@pytest.mark.parametrize("noise", ["", "\x80", "é", "語"])
def test_a_token_is_decoded_a_bounded_number_of_times(noise: str) -> None:
    """Also where no character is ever complete: bytes in the middle of one, or the beginning of one again and again."""
    codec = Counting(chat_bundle().codec)
    some = codec.encode_action({"": "You can ", "\x80": "é"}.get(noise, noise))[:-1]
    ids = (some if not noise else some[-1:] if noise == "\x80" else some[:1]) * 600
    stream = TextStream(codec)
    sent = "".join(stream.push([token]) for token in ids)
    assert codec.decoded <= 16 * len(ids)
    assert len(sent) >= len(codec.decode_action(ids)) - 24


def test_the_work_for_a_token_does_not_grow_with_the_length_of_a_stop_text() -> None:
    cut_at: list[object] = []

    class Long(str):
        __slots__ = ()

        def __getitem__(self, place: Any) -> str:
            cut_at.append(place)
            return super().__getitem__(place)

    codec = chat_bundle().codec
    text = "You can call functions."
    stream = TextStream(codec, [Long("x" * 10_000)])
    assert "".join(stream.push([token]) for token in codec.encode_action(text)[:-1]) == text
    assert len(cut_at) <= len(text)

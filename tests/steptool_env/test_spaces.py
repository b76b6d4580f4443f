"""`UnicodeText` is a Gymnasium space over any text."""

import copy
import pickle

import pytest
from gymnasium.vector.utils import batch_space, create_shared_memory, read_from_shared_memory, write_to_shared_memory
from hypothesis import given
from hypothesis import strategies as st

from steptool_env.errors import ConfigurationError
from steptool_env.spaces import UnicodeText


@given(st.text(max_size=50))
def test_it_holds_every_text_that_is_short_enough(text: str) -> None:
    assert UnicodeText(50).contains(text)
    assert (text in UnicodeText(10)) == (len(text) <= 10)


@pytest.mark.parametrize("thing", [None, 1, b"bytes", ["text"]])
def test_it_holds_nothing_else(thing: object) -> None:
    assert not UnicodeText(50).contains(thing)


@pytest.mark.parametrize("max_length", [0, 1, 7, 1_000])
def test_samples_are_members_and_follow_the_seed(max_length: int) -> None:
    space, twin = UnicodeText(max_length, seed=3), UnicodeText(max_length, seed=3)
    samples = [space.sample() for _ in range(200)]
    assert samples == [twin.sample() for _ in range(200)]
    assert all(sample in space for sample in samples)
    space.seed(3)
    assert space.sample() == samples[0]


def test_samples_leave_the_basic_alphabet() -> None:
    space = UnicodeText(100, seed=0)
    samples = "".join(space.sample() for _ in range(100))
    assert any(character.isascii() for character in samples)
    assert any(ord(character) > 0xFFFF for character in samples)
    samples.encode()  # no lone surrogates


def test_equality_is_by_length_and_survives_copies() -> None:
    space = UnicodeText(5, seed=1)
    assert space == UnicodeText(5) == pickle.loads(pickle.dumps(space)) == copy.deepcopy(space)
    assert space != UnicodeText(6)
    assert len({UnicodeText(5), UnicodeText(5), UnicodeText(6)}) == 2
    assert pickle.loads(pickle.dumps(space)).sample() == space.sample()


def test_it_batches() -> None:
    batch = batch_space(UnicodeText(5), 3)
    assert ("a", "b", "c") in batch
    assert ("a", "b") not in batch


def test_wrong_use_is_named() -> None:
    with pytest.raises(ValueError, match="max_length=-1"):
        UnicodeText(-1)
    with pytest.raises(ValueError, match="no mask"):
        UnicodeText(5).sample(mask=(1, None))  # type: ignore[arg-type]


@given(texts=st.lists(st.text(st.characters(), max_size=30) | st.just("\ud800é🤖"), min_size=3, max_size=3))
def test_texts_come_back_from_shared_memory(texts: list[str]) -> None:
    space = UnicodeText(30)
    memory = create_shared_memory(space, n=3)
    shown = read_from_shared_memory(space, memory, n=3)
    assert list(shown) == [""] * 3
    for index, text in enumerate(texts):
        write_to_shared_memory(space, index, text, memory)
    copied = copy.deepcopy(shown)
    assert copied == tuple(texts)
    assert (shown[-1], shown[:2], len(shown)) == (texts[2], tuple(texts[:2]), 3)
    write_to_shared_memory(space, 1, "x" * 30, memory)
    assert (list(shown), copied) == ([texts[0], "x" * 30, texts[2]], tuple(texts))
    with pytest.raises(IndexError):
        shown[3]
    with pytest.raises(ConfigurationError, match=r"at most 30 characters.*max_observation_length"):
        write_to_shared_memory(space, 0, "🤖" * 31, memory)
    assert list(shown) == [texts[0], "x" * 30, texts[2]]  # the neighbour's text stays

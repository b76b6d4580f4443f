"""Decoder of a policy: requests together are those one by one, and no request harms another."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest

from agents.gateway.decoder import Decoder, Distribution, Generation
from agents.rollout.types import Sampled
from tests.agents.gateway.serving import chat_bundle

STOP = chat_bundle().codec.stop_id
PROMPT = chat_bundle().codec.encode_chat([{"role": "user", "content": "You can call functions."}])
PLAIN = Distribution(STOP)


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    made = Decoder(chat_bundle().policy, 512)
    made.start()
    yield made
    made.stop()


def asked(
    seed: int = 0, tokens: int = 12, kind: Distribution = PLAIN, ids: list[int] = PROMPT, **more: Any
) -> Generation:
    return Generation(ids, tokens, seed, kind, **more)


def answer(decoder: Decoder, generation: Generation) -> Sampled:
    return decoder.submit(generation).result(60)


def slots(decoder: Decoder) -> int:
    """Number of slots, all of them idle: those of requests that have ended are known to the cache of prefixes."""
    found = 0
    for sampler in decoder._samplers.values():
        assert not sampler.requests
        assert sampler._slots.keys() == sampler._prefixes._idle.keys() == sampler._prefixes._tokens.keys()
        found += len(sampler._slots)
    return found


def test_requests_of_several_distributions_together_are_those_one_by_one(decoder: Decoder) -> None:
    kinds = [Distribution(STOP, heat, top_p) for heat in (0.0, 0.3, 1.0, 1.7) for top_p in (0.2, 1.0)]
    alone = [answer(decoder, asked(seed, 5 + seed, kind)) for seed, kind in enumerate(kinds)]
    together = Decoder(chat_bundle().policy, 512)
    futures = [together.submit(asked(seed, 5 + seed, kind)) for seed, kind in enumerate(kinds)]
    together.start()  # all of them wait by now, and are one batch
    try:
        for future, one in zip(futures, alone, strict=True):
            other = future.result(60)
            assert other.ids == one.ids
            assert other.log_probs == pytest.approx(one.log_probs, abs=1e-9)
        assert len({tuple(each.ids[:5]) for each in alone}) > 4
    finally:
        together.stop()


def test_conversations_of_all_distributions_share_the_slots(decoder: Decoder) -> None:
    """A client that asks at many temperatures takes no more memory, and goes on with what is in the cache."""
    ids = PROMPT
    for number in range(24):
        generation = asked(number, 3, Distribution(STOP, number / 20, 1 - number / 100), ids)
        sampled = answer(decoder, generation)
        assert generation.cached == (len(ids) - 1 if number else 0)
        ids = [*ids, *sampled.ids, 5]
    assert slots(decoder) == 1
    for seed in range(20):
        answer(decoder, asked(seed, 2, Distribution(STOP, 1 + seed / 40), [*PROMPT[:3], seed + 3]))
    assert slots(decoder) == 16


def conversations_by_stop_token(decoder: Decoder) -> Callable[[int], bool]:
    """Go on with the conversation of a stop token. Tell whether its beginning is in the cache."""
    said: dict[int, list[int]] = {}

    def goes_on(stop: int) -> bool:
        generation = asked(0, 1, Distribution(stop), said.get(stop, PROMPT))
        said[stop] = [*generation.ids, *answer(decoder, generation).ids, 5]
        return generation.cached > 0

    return goes_on


def test_of_many_stop_tokens_the_latest_four_are_kept_idle(decoder: Decoder) -> None:
    goes_on = conversations_by_stop_token(decoder)
    stops = list(range(10, 17))
    assert [goes_on(stop) for stop in stops] == [False] * 7
    assert [goes_on(stop) for stop in stops[2:]] == [True] * 5  # that of the last request is in use when one comes
    assert len(decoder._samplers) == 5
    assert not goes_on(stops[1])
    assert [goes_on(stop) for stop in stops[3:]] == [True] * 4
    assert not goes_on(stops[2])


def test_of_many_stop_tokens_the_one_that_was_not_used_for_longest_is_dropped(decoder: Decoder) -> None:
    goes_on = conversations_by_stop_token(decoder)
    assert [goes_on(stop) for stop in range(10, 15)] == [False] * 5
    assert goes_on(10)  # the first that was asked for, and the last
    assert not goes_on(15)
    assert goes_on(10)
    assert not goes_on(11)


def test_a_request_that_cannot_begin_fails_alone(decoder: Decoder) -> None:
    wanted = answer(decoder, asked(3))
    bad = decoder.submit(asked(1, "many"))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        bad.result(60)
    assert answer(decoder, asked(3)).ids == wanted.ids
    slots(decoder)


def test_a_listener_that_raises_ends_its_own_request_alone(decoder: Decoder) -> None:
    """As when the event loop of a client's request has ended."""
    wanted = answer(decoder, asked(3, 30))

    def closed(ids: list[int], log_probs: list[float]) -> None:
        raise RuntimeError("Event loop is closed")

    started = threading.Event()
    other = decoder.submit(asked(3, 30, on_tokens=lambda ids, scores: started.set()))
    assert started.wait(60)
    with pytest.raises(RuntimeError, match="loop is closed"):
        decoder.submit(asked(4, 400, on_tokens=closed)).result(60)
    assert other.result(60).ids == wanted.ids
    slots(decoder)


def test_a_pass_that_fails_reaches_those_who_wait_and_later_requests_are_answered(decoder: Decoder) -> None:
    wanted = answer(decoder, asked(3))
    running, go_on = threading.Event(), threading.Event()

    def listen(ids: list[int], scores: list[float]) -> None:
        running.set()
        assert go_on.wait(60)

    def broken(*_: Any) -> None:
        raise RuntimeError("out of memory")

    futures = [decoder.submit(asked(seed, 400, on_tokens=listen)) for seed in range(3)]
    assert running.wait(60)
    hook = chat_bundle().policy.output_layer.register_forward_pre_hook(broken)
    go_on.set()
    try:
        for future in futures:
            with pytest.raises(RuntimeError, match="out of memory"):
                future.result(60)
    finally:
        hook.remove()
    assert answer(decoder, asked(3)).ids == wanted.ids
    slots(decoder)


def test_a_cancelled_request_frees_its_slot_and_others_go_on(decoder: Decoder) -> None:
    wanted = answer(decoder, asked(3, 60))
    before = slots(decoder)
    started, cancelled = threading.Event(), threading.Event()

    def listen(ids: list[int], scores: list[float]) -> None:
        started.set()
        assert cancelled.wait(60)  # the decoder goes on when the client has gone

    long = decoder.submit(asked(9, 450, on_tokens=listen))
    assert started.wait(60)
    other = decoder.submit(asked(3, 60))
    assert long.cancel()
    cancelled.set()
    assert other.result(60).ids == wanted.ids
    assert decoder.busy == 0
    assert slots(decoder) == before + 1
    waiting = asked(3)
    waiting.future.cancel()
    decoder.submit(waiting)
    assert answer(decoder, asked(3, 60)).ids == wanted.ids
    assert slots(decoder) == before + 2


def test_new_tokens_are_reported_once_and_in_order(decoder: Decoder) -> None:
    reported: list[tuple[list[int], list[float]]] = []
    sampled = answer(decoder, asked(3, 40, on_tokens=lambda ids, scores: reported.append((ids, scores))))
    ids = [token for some, _ in reported for token in some]
    assert len(reported) > 10
    assert all(some for some, _ in reported)
    assert ids == sampled.ids[: len(ids)]
    assert [score for _, scores in reported for score in scores] == sampled.log_probs[: len(ids)]
    assert len(ids) > 30


def test_at_the_end_requests_that_wait_are_answered_and_later_ones_cancelled() -> None:
    decoder = Decoder(chat_bundle().policy, 512)
    futures = [decoder.submit(asked(seed)) for seed in range(300)]  # more than one batch
    decoder.start()
    decoder.stop()
    assert all(len(future.result(0).ids) <= 12 for future in futures)
    with pytest.raises(CancelledError):
        decoder.submit(asked()).result(60)


def test_a_request_that_comes_while_the_decoder_ends_is_cancelled_and_those_in_progress_are_answered() -> None:
    running, go_on = threading.Event(), threading.Event()

    def listen(ids: list[int], scores: list[float]) -> None:
        running.set()
        assert go_on.wait(60)

    decoder = Decoder(chat_bundle().policy, 512)
    decoder.start()
    first = decoder.submit(asked(on_tokens=listen))
    assert running.wait(60)
    decoder._asked.put(None)  # as `stop` does
    late = decoder.submit(asked())
    go_on.set()
    decoder.stop()
    assert len(first.result(0).ids) == 12
    with pytest.raises(CancelledError):
        late.result(0)

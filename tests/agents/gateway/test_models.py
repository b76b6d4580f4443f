"""Models of a policy server, which are loaded when they are asked for and give way to others."""

import asyncio
import threading
from contextlib import closing
from typing import Any

import pytest

from agents.gateway.decoder import Generation
from agents.gateway.models import Models, ServedModel
from agents.gateway.protocol import ApiError
from agents.models.chat_template import Codec
from tests.agents.bandit import bundle
from tests.agents.gateway.serving import served, until


class _Catalog:
    """Models that are loaded from nothing, noted by name."""

    def __init__(self, names: str, most: int) -> None:
        self.loaded: list[str] = []
        self.served: dict[str, ServedModel] = {}
        self.models = Models({name: lambda name=name: self._load(name) for name in names}, most)  # type: ignore[misc]

    def _load(self, name: str) -> ServedModel:
        self.loaded.append(name)
        self.served[name] = served(bundle("none"), name, "react")
        return self.served[name]

    def running(self) -> set[str]:
        return {name for name, each in self.served.items() if each.decoder._thread.is_alive()}


def test_the_least_recently_used_model_is_unloaded() -> None:
    async def use(names: str) -> set[str]:
        for name in names:
            assert (await catalog.models.get(name)).name == name
        return catalog.running()

    catalog = _Catalog("abcd", most=3)
    with closing(catalog.models):
        assert asyncio.run(use("abc")) == set("abc")
        assert asyncio.run(use("bd")) == set("abd")  # c was not used for longest
        assert asyncio.run(use("bc")) == set("abc")
        assert "".join(catalog.loaded) == "abcdc"
        with pytest.raises(ApiError, match="model='e' is not served; there is a, b, c, d"):
            asyncio.run(use("e"))
    assert catalog.running() == set()


def test_a_model_that_answers_is_not_unloaded() -> None:
    started, go_on = threading.Event(), threading.Event()

    def listen(ids: list[int], scores: list[float]) -> None:
        started.set()
        assert go_on.wait(60)

    async def use(names: str) -> None:
        for name in names:
            await catalog.models.get(name)

    catalog = _Catalog("abc", most=2)
    with closing(catalog.models):
        asyncio.run(use("ab"))
        made = bundle("none")
        kind = Generation([3], 50, 0, _never_stops(made.codec), listen)
        future = catalog.served["b"].decoder.submit(kind)
        assert started.wait(60)
        asyncio.run(use("c"))
        assert catalog.running() == set("abc")
        go_on.set()
        assert future.result(60).ids
        until(lambda: not catalog.served["b"].decoder.busy)
        asyncio.run(use("abcb"))
        assert catalog.running() >= set("ab")
        assert "".join(catalog.loaded) == "abc"


def test_clients_of_a_loaded_model_do_not_wait_for_the_loading_of_another() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> ServedModel:
        begun.set()
        assert go_on.wait(60)
        return served(bundle("none"), "b", "react")

    async def use() -> None:
        try:
            await models.get("a")
            loading = asyncio.create_task(models.get("b"))
            await asyncio.to_thread(begun.wait, 60)
            assert (await asyncio.wait_for(models.get("a"), 20)).name == "a"
            assert not loading.done()
        finally:
            go_on.set()
        assert (await loading).name == "b"

    models = Models({"a": lambda: served(bundle("none"), "a", "react"), "b": slow})
    with closing(models):
        asyncio.run(use())


def _never_stops(codec: Codec) -> Any:
    from agents.gateway.decoder import Distribution

    return Distribution(codec.pad_id, 0.0)

"""Puts a service together from settings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import orjson

from toolserver.cache import ResponseCache
from toolserver.catalog import Catalog
from toolserver.episodes import EpisodeFaults
from toolserver.errors import ConfigurationError
from toolserver.resolvers.base import Resolver, ValidatedCall
from toolserver.resolvers.live import LiveResolver
from toolserver.resolvers.llm import LlmResolver
from toolserver.resolvers.recorded import RecordedResolver, RecordingResolver
from toolserver.resolvers.simulators import MAX_EXAMPLES, Example
from toolserver.resolvers.synthetic import SyntheticResolver
from toolserver.service import ToolService
from toolserver.settings import Settings
from toolserver.state import StateCodec


class Assembly(NamedTuple):
    """A service and what it is made of. `cache` is `None` when nothing recorded is served."""

    service: ToolService
    catalog: Catalog
    cache: ResponseCache | None


def build_service(settings: Settings) -> ToolService:
    """The service that `settings` describe. Raises `ToolServerError` when something of it cannot be had."""
    return assemble(settings).service


def assemble(settings: Settings) -> Assembly:
    """Open the cache, load the catalog and put the resolvers in order: recorded, then what answers a miss.

    Raises:
        CacheError: There is no cache at that place, or it is damaged.
        ConfigurationError: A setting is wrong.
    """
    if settings.cache is None:
        raise ConfigurationError("cache: nothing to serve; give a directory made by `toolserver import`")
    catalog = Catalog.load(settings.cache)
    cache = ResponseCache(settings.cache, read_only=settings.read_only or settings.miss in ("strict", "synthetic"))
    resolvers: list[Resolver] = [RecordedResolver(cache), *_on_a_miss(settings, cache)]
    service = ToolService(
        catalog,
        resolvers,
        strict_arguments=settings.strict_arguments,
        faults=EpisodeFaults(_codec(settings)),
        max_depth=settings.max_depth,
        upstream_workers=settings.upstream_workers,
    )
    return Assembly(service, catalog, cache)


def _codec(settings: Settings) -> StateCodec:
    return StateCodec() if settings.state_key is None else StateCodec(settings.state_key.get_secret_value().encode())


def _on_a_miss(settings: Settings, cache: ResponseCache) -> list[Resolver]:
    timeout, retries = settings.upstream_timeout, settings.upstream_retries
    match settings.miss:
        case "synthetic":
            return [SyntheticResolver()]
        case "llm":
            model = LlmResolver(
                settings.llm_url,
                settings.llm_model,
                settings.llm_key.get_secret_value(),
                simulator=settings.llm_simulator,
                timeout=timeout,
                retries=retries,
                examples=recorded_examples(cache),
            )
            return [RecordingResolver(model, cache, f"llm:{settings.llm_model}")]
        case "live":
            key = settings.live_key.get_secret_value()
            upstream = LiveResolver(settings.live_url, key, timeout=timeout, retries=retries)
            return [RecordingResolver(upstream, cache, f"live:{settings.live_url}")]
    return []


def recorded_examples(cache: ResponseCache) -> Callable[[ValidatedCall], Sequence[Example]]:
    """Gives the first recorded calls of a call's API, as they were when the server started."""
    examples: defaultdict[tuple[str, str, str], list[Example]] = defaultdict(list)
    for _, entry in cache.entries():
        call = entry.describe().call
        known = examples[call.category, call.tool, call.api]
        if len(known) < MAX_EXAMPLES and isinstance(call.arguments, dict):
            known.append(Example(call.arguments, orjson.loads(entry.body)))
    return lambda call: examples.get((call.category, call.tool, call.api), ())

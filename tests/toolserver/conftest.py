"""Places of a cache for the tests of the store: a directory, and a Redis server that they start."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.toolserver.cache.redis_process import redis_server

_numbers = count()


@pytest.fixture(scope="session")
def redis_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of a Redis server that the tests of this process share."""
    with redis_server(tmp_path_factory.mktemp("redis")) as address:
        yield address


@pytest.fixture
def redis_url(redis_address: str) -> str:
    """The URL of a cache in Redis that does not exist yet."""
    return f"redis://{redis_address}/0?prefix=test-{next(_numbers)}"


@pytest.fixture(params=["disk", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Place of a new cache: a directory, then a Redis server."""
    if request.param == "disk":
        return str(tmp_path / "place")
    url: str = request.getfixturevalue("redis_url")
    return url

"""A client of an application over a small cache."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from tests.toolserver.serving import make_cache, serving


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with serving(make_cache(tmp_path_factory.mktemp("cache"))) as client:
        yield client

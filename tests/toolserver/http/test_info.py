"""`GET /v1/info` says which tools a server has, the same on every machine, and only to those who may call."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.toolserver.apis import APIS
from tests.toolserver.serving import make_cache, serving
from toolserver.catalog.catalog import Catalog
from toolserver.http.app import create_app
from toolserver.service.info import catalog_digest, package_version, world_info
from toolserver.settings import Settings
from toolserver.world import WORLD_VERSION, VendorRegistry, make_world


def info(**settings: Any) -> dict[str, Any]:
    with TestClient(create_app(Settings(**settings))) as client:
        response = client.get("/v1/info")
        assert 'toolserver_requests_total{route="/v1/info",status="200"} 1.0' in client.get("/metrics").text
    assert response.status_code == 200
    found: dict[str, Any] = response.json()
    return found


def test_a_source_tree_that_is_not_installed_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without a network, with the tree on PYTHONPATH."""

    def not_installed(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("toolserver.service.info.version", not_installed)
    assert info(world=3, world_tools=20)["version"] == "source"


def test_a_world_names_its_seed_level_vendors_and_digest() -> None:
    found = info(world=3, world_tools=20, miss="synthetic")
    assert found == world_info(VendorRegistry(make_world(3), 20), miss="synthetic").model_dump()
    assert (found["version"], found["kind"], found["seed"]) == (package_version(), "world", 3)
    assert (found["level"], found["world_version"], found["vendors"]) == ("lite", WORLD_VERSION, 20)
    assert found["miss"] == "synthetic"


@pytest.mark.parametrize("other", [{"world": 4}, {"world_tools": 21}, {"world_level": "standard"}])
def test_another_world_has_another_digest(other: dict[str, Any]) -> None:
    settings = {"world": 3, "world_tools": 20}
    assert info(**settings)["digest"] == info(**settings)["digest"]
    assert info(**{**settings, **other})["digest"] != info(**settings)["digest"]


def test_recordings_have_the_digest_of_their_catalog(tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache")
    found = info(cache=cache, read_only=True)
    assert found == {
        "version": package_version(),
        "kind": "recorded",
        "seed": None,
        "level": None,
        "world_version": None,
        "vendors": None,
        "digest": catalog_digest(Catalog(APIS)),
        "miss": "strict",
    }
    assert catalog_digest(Catalog(APIS[1:])) != found["digest"]
    both = info(cache=cache, world=0, world_tools=20)
    assert (both["kind"], both["digest"]) == ("both", info(world=0, world_tools=20)["digest"])


def test_it_needs_a_key_where_there_are_keys(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a-key-of-the-key-file\n")
    with serving(make_cache(tmp_path / "cache"), api_key_file=tmp_path / "keys") as client:
        assert client.get("/v1/info").status_code == 401
        assert client.get("/v1/info", headers={"x-api-key": "a-key-of-the-key-file"}).status_code == 200

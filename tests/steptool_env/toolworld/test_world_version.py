"""An environment and a server have the version of the world that they are given, and refuse each other's."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from steptool_env.errors import ConfigurationError
from steptool_env.rewards import make_reward
from steptool_env.toolworld import suite as suites
from steptool_env.toolworld.suite import ToolWorldSuite, find_world_task, world_task_of
from tests.toolserver.world.test_versions import ZOOS
from toolserver.http.app import create_app
from toolserver.settings import Settings
from toolserver.world.domains import DOMAINS
from toolserver.world.versions import WORLD_VERSION, make_world

pytestmark = pytest.mark.usefixtures("second_version")


@pytest.fixture
def second_version(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A world of version 2 has one domain more."""
    monkeypatch.setattr(make_world, "__defaults__", (0, "lite", WORLD_VERSION, (*DOMAINS, ZOOS)))
    yield
    for cached in (suites._vendors, suites._service, suites._info):
        cached.cache_clear()


def test_a_suite_has_the_tools_and_tasks_of_its_version() -> None:
    first, second = ToolWorldSuite(), ToolWorldSuite(world_version=2)
    assert not first.vendors.offering("zoo.search")
    assert second.vendors.offering("zoo.search")
    assert first.task(0).id == "w0-lite-train-0"
    assert second.task(0).id != first.task(0).id
    assert find_world_task(second.task(0).id) is second.task(0).solution
    assert (first.settings["world_version"], second.settings["world_version"]) == (1, 2)


def test_an_episode_of_another_version_is_not_graded_by_the_task_that_has_its_id_now() -> None:
    task = ToolWorldSuite().task(0)
    recorded = replace(task, solution=None, state="open:seed=0")
    assert world_task_of(recorded) == task.solution
    with pytest.raises(ConfigurationError, match="'w0-lite-train-0': its query is 'How far is it"):
        make_reward("progress").start(replace(recorded, query="How far is it from Talby to Kalport?"))


@pytest.mark.parametrize(("ours", "theirs"), [(1, 2), (2, 1)])
def test_a_server_of_another_version_is_refused(ours: int, theirs: int) -> None:
    with TestClient(create_app(Settings(world=0, world_version=theirs))) as client:
        info = client.get("/v1/info").json()
    match = ToolWorldSuite(world_version=ours).server_match
    with pytest.raises(
        ConfigurationError,
        match=f"world_version is {theirs}, this environment's is {ours}; start the server with --world-version {ours}",
    ):
        match.check("http://127.0.0.1", info)
    ToolWorldSuite(world_version=theirs).server_match.check("http://127.0.0.1", info)

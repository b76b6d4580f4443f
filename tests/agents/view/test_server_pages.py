"""Pages of a running tool server: its tools, tasks, keys and rates."""

import base64
import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from steptool_env.stabletoolbench.sample import SAMPLE
from steptool_env.toolworld import read_task_id
from steptool_env.toolworld.grading.oracle import gold_answer
from steptool_env.toolworld.suite import load_suite
from tests.server_stub import upstream_stub
from tests.toolserver.serving import run
from toolserver.errors import ConfigurationError
from toolserver.http.app import create_app
from toolserver.settings import Settings
from toolserver.testing import ServerProcess

KEY = "a-key-of-the-page-tests"


def ask(url: str, path: str, headers: dict[str, str] | None = None, **query: Any) -> httpx.Response:
    return httpx.get(url + path, params=query or None, headers=headers, follow_redirects=True, timeout=60)


def get(url: str, path: str, headers: dict[str, str] | None = None, **query: Any) -> str:
    """A page, which is there."""
    answer = ask(url, path, headers, **query)
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.fixture(scope="module")
def world() -> Iterator[str]:
    """A server of a world of other than the default size."""
    settings = {"world_tools": 40}
    with ServerProcess(["--world", "1", "--ui", "--workers", "2"], settings=settings) as server:
        yield server.url


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    cache = tmp_path_factory.mktemp("recorded") / "cache"
    assert run("import", "stabletoolbench", SAMPLE, "--cache", cache) == 0
    with ServerProcess(["--cache", str(cache), "--ui"]) as server:
        yield server.url


def test_the_first_page_shows_the_tools_of_the_server(world: str) -> None:
    page = get(world, "/ui")
    total = json.loads(get(world, "/v1/apis"))["total"]
    assert f"{total:,} APIs" in page
    assert "Tasks" in page
    assert "/events" not in page  # nothing on these pages changes by itself


def test_every_link_of_the_pages_leads_to_a_page(world: str) -> None:
    seen, open_links = set[str](), ["/ui/"]
    while open_links and len(seen) < 40:
        link = open_links.pop()
        if link in seen:
            continue
        seen.add(link)
        found = re.findall(r'(?:href|src)="([^"#]+)"', get(world, link)) if "static" not in link else []
        assert all(each.startswith("/ui/") for each in found)
        get(world, link)
        open_links += [unescape(each) for each in found if "start=" not in each][:12]
    assert {"/ui/tools", "/ui/tasks", "/ui/static/view.css"} <= seen


def test_a_call_on_a_page_is_answered_as_by_the_server(world: str) -> None:
    documented = json.loads(get(world, "/v1/apis", q="search", limit=1))["apis"][0]
    place = {name: documented[f"{name}_name"] for name in ("category", "tool", "api")}
    page = get(world, "/ui/tool", source="server", **place, arguments='{"name": "Somewhere"}')
    answered = httpx.post(f"{world}/v1/call", json={**place, "arguments": {"name": "Somewhere"}}, timeout=60).json()
    assert answered["body"] in unescape(page)
    assert f">{answered['outcome']}</span>" in page


def test_a_call_on_a_page_asks_no_other_server_and_records_nothing(tmp_path: Path) -> None:
    """A page of another site can make a browser open an address of these pages."""
    cache = tmp_path / "cache"
    assert run("import", "stabletoolbench", SAMPLE, "--cache", cache) == 0
    with (
        upstream_stub(lambda request: {"error": "", "response": "from upstream"}) as stub,
        ServerProcess(
            ["--cache", str(cache), "--ui", "--miss", "live"], settings={"live_url": stub.url, "read_only": False}
        ) as server,
    ):
        documented = json.loads(get(server.url, "/v1/apis", limit=1))["apis"][0]
        place = {name: documented[f"{name}_name"] for name in ("category", "tool", "api")}
        arguments = '{"name": "of no recorded call"}'
        page = get(server.url, "/ui/tool", source="server", **place, arguments=arguments)
        assert "No recorded response for this call." in page
        assert not stub.requests
        answer = httpx.post(f"{server.url}/v1/call", json={**place, "arguments": arguments}, timeout=60).json()
        assert answer["provenance"] == "live"
        assert len(stub.requests) == 1
        assert "from upstream" in get(server.url, "/ui/tool", source="server", **place)  # recorded since the first look


def test_calls_on_pages_are_counted_and_pages_of_other_sites_may_not_make_any(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert run("import", "stabletoolbench", SAMPLE, "--cache", cache) == 0

    def counted() -> list[str]:
        text = get(server.url, "/metrics")
        return [line for line in text.splitlines() if line.startswith("toolserver_") and '="/ui"' in line]

    with ServerProcess(["--cache", str(cache), "--ui"]) as server:
        documented = json.loads(get(server.url, "/v1/apis", limit=1))["apis"][0]
        place = {name: documented[f"{name}_name"] for name in ("category", "tool", "api")}
        query = {"source": "server", **place, "arguments": '{"name": "of no recorded call"}'}
        for origin in ("http://[", "null", "http://evil.example"):
            assert ask(server.url, "/ui/tool", {"origin": origin}, **query).status_code == 403
        assert 'toolserver_requests_total{route="/ui",status="403"} 3.0' in counted()
        assert not any("calls" in line for line in counted())
        get(server.url, "/ui/tool", **query)
        get(server.url, "/ui/tool", {"origin": server.url}, **query)
        want = 'toolserver_calls_total{outcome="not_recorded",provenance="service",route="/ui"} 2.0'
        assert want in counted()


@pytest.mark.parametrize(("kind", "function"), [("bfcl", "pwd"), ("tau2", "check_sim_status")])
def test_a_simulated_api_is_tried_at_the_beginning_of_a_task(
    kind: str, function: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(kind)
    with ServerProcess([f"--{kind}", "--ui"]) as server:
        documented = json.loads(get(server.url, "/v1/apis", q=function, limit=1))["apis"][0]
        place = {name: documented[f"{name}_name"] for name in ("category", "tool", "api")}
        page = get(server.url, "/ui/tool", source="server", **place, arguments="{}")
        assert ">ok</span>" in page
        assert "state token" not in page


def test_recorded_calls_have_their_source(recorded: str) -> None:
    page = get(recorded, "/ui/tools")
    assert "Tasks" not in page
    link = unescape(re.findall(r'href="(/ui/tool\?[^"]+)"', page)[0])
    shown = get(recorded, link)
    assert "recorded call" in shown
    again = unescape(re.findall(r'href="(/ui/tool\?[^"]+arguments[^"]+)"', shown)[0])
    answer = get(recorded, again).partition("Try a call")[2].partition("</section>")[0]
    assert '<span class="chip">generated</span>' in answer  # as the sample's answers are
    assert ask(recorded, "/ui/tasks").status_code == 404


def test_tasks_of_the_servers_world_are_played_by_hand(world: str) -> None:
    suite = load_suite("depth-1", "lite", 1, tools=40)
    task = suite.task(0)
    assert read_task_id(task.id)[0] == 1
    listed = get(world, "/ui/tasks", split="depth-1")
    assert task.id in listed
    assert 'name="level"' not in listed  # a server has one world
    shown = unescape(get(world, "/ui/task", task=task.id))
    assert task.query in shown
    finish = json.dumps({"return_type": "give_answer", "final_answer": gold_answer(task.solution)})
    ended = unescape(get(world, "/ui/task", task=task.id, call=[f"Action: Finish\nAction Input: {finish}"]))
    assert "answered after 1 step" in ended
    other = load_suite("depth-1", "lite", 0).task(0)
    refused = ask(world, "/ui/task", task=other.id)
    assert refused.status_code == 404
    assert "this server has level lite of world 1" in unescape(refused.text)


def login(password: str) -> dict[str, str]:
    return {"authorization": f"Basic {base64.b64encode(f'me:{password}'.encode()).decode()}"}


def test_keys_and_rates_hold_for_pages(tmp_path: Path) -> None:
    """A browser is asked for the key; a login is good for pages alone, as a browser sends it for other sites, too."""
    (tmp_path / "keys").write_text(KEY + "\n")
    flags = ["--world", "0", "--ui", "--api-key-file", str(tmp_path / "keys"), "--rate-limit", "4"]
    with ServerProcess(flags) as server:
        refused = ask(server.url, "/ui/tools")
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic realm=")
        for wrong in (login("another-key-that-is-wrong"), {"authorization": "Basic %%"}, {"authorization": "Basic"}):
            assert ask(server.url, "/ui/tools", wrong).status_code == 401
        assert "APIs" in get(server.url, "/ui/tools", login(KEY))
        assert "APIs" in get(server.url, "/ui/tools", {"x-api-key": KEY})
        embedded = {**login(KEY), "sec-fetch-site": "cross-site", "sec-fetch-dest": "image"}
        assert ask(server.url, "/ui/tools", embedded).status_code == 403
        assert "font" in get(server.url, "/ui/static/view.css")
        assert ask(server.url, "/ui/static/%2e%2e/tools").status_code in (401, 404)
        assert httpx.post(f"{server.url}/v1/call", json={}, headers=login(KEY)).status_code == 401
        assert 429 in [ask(server.url, "/ui/tools", login(KEY)).status_code for _ in range(20)]


def test_pages_have_the_headers_of_the_other_pages(world: str) -> None:
    headers = ask(world, "/ui/tools").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_pages_of_a_package_that_is_missing_are_an_error_with_a_remedy() -> None:
    with pytest.raises(ConfigurationError, match=r"ui: cannot load 'no_such_module:pages', .*steptool-env\[view\]"):
        create_app(Settings(world=0, ui="no_such_module:pages"))


def test_a_server_without_pages_has_none() -> None:
    with ServerProcess(["--world", "0"]) as server:
        assert ask(server.url, "/ui").status_code == 404

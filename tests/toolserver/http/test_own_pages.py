"""Servers on this machine, called by web pages."""

from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.toolserver.serving import OSLO, as_request, as_virtual, make_cache, serving
from toolserver.commands.serve import checks_names
from toolserver.http.own_pages import OwnPages
from toolserver.settings import Settings
from toolserver.testing import ServerProcess


async def hello(_request: object) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def talk(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


KEY = 32 * "k"
APP = Starlette(routes=[Route("/", hello), WebSocketRoute("/ws", talk)])


@pytest.mark.parametrize(
    ("listens", "origin", "host", "taken"),
    [
        ("127.0.0.1", None, "127.0.0.1:8000", True),
        ("127.0.0.1", "http://localhost:3000", "127.0.0.1:8000", True),
        ("127.0.0.1", "https://evil.example", "127.0.0.1:8000", False),
        ("localhost", "http://evil.example:8000", "evil.example:8000", False),  # a name that was bound to this machine
        ("127.0.0.1", "null", "127.0.0.1:8000", False),  # a page without an address
        ("0.0.0.0", "http://envs.example", "envs.example", True),
        ("0.0.0.0", "http://evil.example", "envs.example", False),
        ("127.0.0.1", "http://[", "127.0.0.1:8000", False),
        ("0.0.0.0", "http://[", "envs.example", False),
        ("0.0.0.0", "null", "envs.example", False),
        ("0.0.0.0", "http://envs.example", "[", False),
        ("127.0.0.1", None, "rebound.example", False),  # a GET of such a page
        ("127.0.0.1", None, "gpu-2:8000", True),
        ("127.0.0.1", None, "", True),  # HTTP/1.0
        ("0.0.0.0", None, "envs.example", True),
    ],
)
def test_only_pages_of_the_server_and_of_this_machine_may_call(
    listens: str, origin: str | None, host: str, taken: bool
) -> None:
    headers = {"host": host} | ({} if origin is None else {"origin": origin})
    client = TestClient(OwnPages(APP, listens))
    assert client.get("/", headers=headers).status_code == (200 if taken else 403)
    if taken:
        with client.websocket_connect("/ws", headers=headers) as socket:
            assert socket.receive_text() == "hello"
    else:
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/ws", headers=headers):
            pass


@pytest.mark.parametrize(
    ("origin", "taken"),
    [
        (None, True),
        ("http://localhost:3000", True),
        ("http://[::1]:8000", True),
        ("http://evil.example", False),
        ("http://rebound.example", False),  # the name in `Host`, as after DNS rebinding
        ("null", False),
        ("http://[", False),
    ],
)
def test_pages_of_other_sites_may_not_call_tools(origin: str | None, taken: bool, tmp_path: Path) -> None:
    """They could by a POST without a preflight, and `--miss llm` pays for each call."""
    headers = {"host": "rebound.example"} | ({} if origin is None else {"origin": origin})
    with serving(make_cache(tmp_path / "cache")) as client:
        for path, body in (("/virtual", as_virtual(OSLO)), ("/v1/call", as_request(OSLO))):
            answer = client.post(path, json=body, headers=headers)
            assert answer.status_code == (200 if taken else 403)
            assert taken or "another site" in answer.json()["detail"]
        assert client.post("/v1/calls", json=[as_request(OSLO)], headers=headers).status_code == (200 if taken else 403)
        assert client.get("/v1/apis", headers=headers).status_code == (200 if taken else 403)
        assert client.get("/metrics").text.count("\ntoolserver_calls_total{") == (3 if taken else 0)


@pytest.mark.parametrize(
    ("origin", "host", "taken"),
    [
        ("http://192.0.2.7:8000", "192.0.2.7:8000", True),
        ("http://[2001:db8::7]:8000", "[2001:db8::7]:8000", True),
        ("http://gpu-2:8000", "gpu-2:8000", True),
        ("http://gpu-2:8000", "192.0.2.7:8000", False),
        ("http://tools.example:8000", "tools.example:8000", False),  # as after DNS rebinding, also into a container
        ("null", "192.0.2.7:8000", False),
    ],
)
def test_a_server_on_a_network_answers_its_own_pages(origin: str, host: str, taken: bool, tmp_path: Path) -> None:
    """Its pages `/docs` and `/ui` call it from a browser on another machine."""
    with serving(make_cache(tmp_path / "cache")) as client:
        answer = client.post("/v1/call", json=as_request(OSLO), headers={"host": host, "origin": origin})
        assert answer.status_code == (200 if taken else 403)


@pytest.mark.parametrize("listens", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize(("host", "taken"), [("a.example", True), ("127.0.0.1", True), ("rebound.example", False)])
def test_pages_have_the_names_that_are_allowed(listens: str, host: str, taken: bool) -> None:
    client = TestClient(OwnPages(APP, listens, ["a.example"]))
    answer = client.get("/", headers={"host": host})
    assert answer.status_code == (200 if taken else 403)
    assert taken or "--allowed-hosts" in answer.json()["detail"]


HOSTS = [
    (b"127.0.0.1:8000", True),
    (b"LOCALHOST:9", True),
    (b"[::1]:8000", True),
    (b"192.0.2.7", True),  # through a forwarded port
    (b"toolserver:8000", True),  # a service of docker compose
    (b"host.docker.internal:8000", True),
    (b"page.localhost", True),
    (b"", True),  # HTTP/1.0
    (b"rebound.example:8000", False),
    (b"rebound.example.", False),
    (b"127.0.0.1.rebound.example", False),
    (b"localhost.rebound.example", False),
    (b"rebound.example@127.0.0.1", True),  # no browser sends a user; this is the address
    (b"127.0.0.1@rebound.example", False),
    (b"[", False),
    (b"\xff.example", False),
]


@pytest.mark.parametrize(("host", "taken"), HOSTS)
def test_a_site_cannot_read_by_a_name_of_its_own(host: bytes, taken: bool, tmp_path: Path) -> None:
    """A GET of its page has no `Origin` after it was bound to this machine's address (DNS rebinding)."""
    with serving(make_cache(tmp_path / "cache"), allowed_hosts="") as client:
        for path in ("/v1/apis", "/docs", "/openapi.json", "/metrics", "/healthz", "/nothing"):
            for _ in range(2):
                status = client.get(path, headers=[(b"host", host)]).status_code
                assert (status != 403) == taken
        answer = client.post("/v1/call", json=as_request(OSLO), headers=[(b"host", host)])
        assert answer.status_code == (200 if taken else 403)
        assert taken or "--allowed-hosts" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("allowed", "taken"),
    [
        (None, ["tools.example", "a.tools.example", "evil.example"]),
        ("*", ["tools.example", "a.tools.example", "evil.example"]),
        ("Tools.example", ["tools.example"]),
        ("other.example,*.tools.example", ["a.tools.example"]),
    ],
)
def test_a_server_may_have_other_names(allowed: str | None, taken: list[str], tmp_path: Path) -> None:
    with serving(make_cache(tmp_path / "cache"), allowed_hosts=allowed) as client:
        for host in ("tools.example", "a.tools.example", "evil.example"):
            assert client.get("/v1/apis", headers={"host": host}).status_code == (200 if host in taken else 403)
            if allowed not in (None, "*"):  # its own pages call it by its names
                own = {"host": host, "origin": f"https://{host}"}
                answer = client.post("/v1/call", json=as_request(OSLO), headers=own)
                assert answer.status_code == (200 if host in taken else 403)


def test_many_names_take_no_memory(tmp_path: Path) -> None:
    with serving(make_cache(tmp_path / "cache"), allowed_hosts="*") as client:
        for number in range(200):
            assert client.get("/healthz", headers={"host": f"h{number}.example"}).status_code == 200
        gateway = client.app.gateway  # type: ignore[attr-defined]
        assert len(gateway._own_hosts) <= 65


@pytest.mark.parametrize("names", ["http://tools.example", "tools.example:8000", "a b", "*.*.example", "a,,b."])
def test_names_that_are_none_are_refused(names: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="is not a host name; give names without scheme, port and blanks"):
        Settings(cache=tmp_path, allowed_hosts=names)


@pytest.mark.parametrize(
    ("arguments", "settings", "status"),
    [
        ([], {}, 403),
        (["--workers", "2"], {}, 403),
        (["--host", "localhost"], {}, 403),
        (["--allowed-hosts", "a.example,rebound.example"], {}, 200),
        ([], {"allowed_hosts": "*"}, 200),
        (["--allowed-hosts", "tools.example"], {}, 403),
        (["--api-key-file", "keys"], {}, 200),  # what is secret needs a key
    ],
)
def test_a_server_on_this_machine_alone_checks_its_names(
    arguments: list[str],
    settings: dict[str, str],
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the real command. `/healthz` needs no key."""
    monkeypatch.chdir(tmp_path)
    Path("keys").write_text(KEY + "\n")
    cache = ["--cache", str(make_cache(tmp_path / "cache")), "--read-only"]
    with ServerProcess([*cache, *arguments], settings=settings) as server:
        address = f"http://127.0.0.1:{urlsplit(server.url).port}"
        for host in ("rebound.example", "toolserver:8000", "127.0.0.1"):
            found = httpx.get(f"{address}/healthz", headers={"host": host}).status_code
            assert found == (status if host == "rebound.example" else 200)


@pytest.mark.parametrize(
    ("host", "checked"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("gpu-2", False),
    ],
)
def test_a_server_on_a_network_does_not_know_its_names(host: str, checked: bool, tmp_path: Path) -> None:
    """As in a container: services call it by theirs, and a cluster's have dots."""
    assert checks_names(Settings(cache=tmp_path), host) == checked


def test_a_rate_is_no_key(tmp_path: Path) -> None:
    """A site whose name was bound to this machine's address is refused with a rate limit, too."""
    headers = {"host": "rebound.example", "origin": "http://rebound.example"}
    with serving(make_cache(tmp_path / "cache"), rate_limit=100.0) as client:
        assert client.post("/v1/call", json=as_request(OSLO), headers=headers).status_code == 403


@pytest.mark.parametrize(("origin", "status"), [("http://tools.example", 200), ("http://evil.example", 403)])
def test_with_keys_the_server_has_any_name(origin: str, status: int, tmp_path: Path) -> None:
    """A page of another site has no key."""
    (tmp_path / "keys").write_text(KEY + "\n")
    headers = {"host": "tools.example", "origin": origin, "x-api-key": KEY}
    with serving(make_cache(tmp_path / "cache"), api_key_file=tmp_path / "keys") as client:
        assert client.post("/v1/call", json=as_request(OSLO), headers=headers).status_code == status

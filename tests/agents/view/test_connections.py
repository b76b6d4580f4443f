"""Connections of the page, by the real command."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.agents.view.server import serve


def test_a_client_cannot_fill_the_memory(tmp_path: Path) -> None:
    """A head that does not end is refused, and others are answered."""
    (tmp_path / "runs").mkdir()
    with serve(tmp_path / "runs", tmp_path / "cache") as (address, _):
        place = urlsplit(address)
        endless = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + 40_000_000 * b"a"
        with (
            socket.create_connection((place.hostname, place.port), timeout=20) as sending,
            pytest.raises(OSError, match=r"reset|[Bb]roken pipe"),
        ):
            sending.sendall(endless)
        assert httpx.get(address, timeout=20).status_code == 200
        with httpx.stream("GET", f"{address}/events", timeout=20) as events:
            assert "changed" in next(events.iter_text())

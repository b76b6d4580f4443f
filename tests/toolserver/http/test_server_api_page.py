"""The example of docs/server-api.md gives the answer that the page shows."""

import json
import re
from pathlib import Path

from starlette.testclient import TestClient

from toolserver.http.app import create_app
from toolserver.settings import Settings

PAGE = Path(__file__).parents[3] / "docs" / "server-api.md"


def test_the_calls_of_the_page_have_the_answers_of_the_page() -> None:
    found = re.search(r"curl -s localhost:8000(\S+) .*?-d '(\[.*?\])'\n(\[.*?\])\n```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    route, request, answer = found.groups()
    with TestClient(create_app(Settings(world=0))) as client:
        assert client.post(route, json=json.loads(request)).json() == json.loads(answer)

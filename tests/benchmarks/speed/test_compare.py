"""Comparison of two source trees: child processes play the recorded episodes in the tree that they are given."""

import json
import os
from pathlib import Path

import httpx
import pytest

from agents.baselines.oracle import OracleAgent
from benchmarks.harness.episodes import Script, record
from benchmarks.harness.process import ROOT
from benchmarks.speed import compare

SLOTS = 4
OLDER = """
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

class Tree(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(Path.cwd()).encode())

server = HTTPServer(("127.0.0.1", 0), Tree)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""


@pytest.fixture(scope="module")
def scripts() -> list[Script]:
    return record("StepTool/ToolWorld-v0", {"level": "lite"}, OracleAgent(), 24)


def test_a_lap_in_process_plays_every_action(scripts: list[Script], tmp_path: Path) -> None:
    laps = [scripts[:3], scripts[3:5]]
    with compare._player(ROOT, written(laps, tmp_path), "") as play:
        played = [play() for _ in laps]
    assert [each["steps"] for each in played] == [sum(len(script.actions) for script in lap) for lap in laps]
    assert all(each["cpu"] > 0 for each in played)


def test_a_lap_over_http_plays_the_episodes_side_by_side(scripts: list[Script], tmp_path: Path) -> None:
    equal = [script for script in scripts if len(script.actions) == len(scripts[0].actions)][:SLOTS]
    with (
        compare._server(ROOT, "--world", "0") as server,
        compare._player(ROOT, written([equal], tmp_path), server.url) as play,
    ):
        assert play()["steps"] == len(equal) * len(equal[0].actions)


def test_children_run_in_the_given_tree(tmp_path: Path) -> None:
    before = Path.cwd(), os.environ.get("PYTHONPATH")
    (tmp_path / "steptool_env.py").write_text(f"raise SystemExit({str(tmp_path)!r})")
    with pytest.raises(json.JSONDecodeError), compare._player(tmp_path, written([[]], tmp_path), "") as play:
        play()
    assert (Path.cwd(), os.environ.get("PYTHONPATH")) == before


def test_an_older_tree_is_served_that_lacks_what_starts_its_server(tmp_path: Path) -> None:
    (tmp_path / "toolserver").mkdir()
    (tmp_path / "toolserver" / "__init__.py").write_text("")
    (tmp_path / "toolserver" / "cli.py").write_text(OLDER)
    with compare._server(tmp_path) as server:
        assert httpx.get(server.url).text == str(tmp_path)


def written(laps: list[list[Script]], folder: Path) -> Path:
    file = folder / "laps.json"
    file.write_text(json.dumps(laps))
    return file

"""100,000 episodes: time to the first paint while and after the index is built, paging, memory of the server."""

import re
import shutil
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import httpx
import pytest

from tests.agents.view.recordings import evaluate
from tests.agents.view.server import serve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EPISODES = 100_000
MEMORY = 200 * 2**20  # bytes
PAINT = 1.0  # seconds
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def peak_memory(pid: int) -> int:
    """Largest resident memory that a process has had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


def first_paint(address: str, place: str) -> float:
    """Seconds from the request to the first content that Chromium paints; of a page that it has not seen before."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(base_url=address)
        page.goto(place)
        page.get_by_text("live", exact=True).wait_for()
        paint: float = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        browser.close()
    return paint / 1000


def seconds(client: httpx.Client, place: str) -> float:
    begin = time.perf_counter()
    client.get(place).raise_for_status()
    return time.perf_counter() - begin


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux's /proc for the memory of a process")
def test_a_hundred_thousand_episodes(tmp_path: Path) -> None:
    """Pages come within a second while the index is built, which happens once, and afterwards much faster."""
    small = evaluate(tmp_path / "small", "split=validation", episodes=40)
    lines = (small / "trajectories.jsonl").read_bytes().splitlines(keepends=True)
    file = tmp_path / "runs" / "many" / "trajectories.jsonl"
    file.parent.mkdir(parents=True)
    with file.open("wb") as out:
        for number in range(EPISODES):
            out.write(lines[number % len(lines)])

    with serve(tmp_path / "runs", tmp_path / "cache") as (address, process), httpx.Client(base_url=address) as client:
        while_building = []
        while "Episodes are being added" in (text := client.get("/episodes").text):
            while_building.append(max(seconds(client, "/"), seconds(client, "/episodes")))
        assert f"{EPISODES:,} episodes" in text
        assert median(while_building) < PAINT
        for place in (
            "/",
            "/episodes",
            f"/episodes?start={EPISODES - 50}",
            "/episodes?text=hotel&ending=failed",
            f"/episode?at=runs/many:{EPISODES}",
        ):
            seconds(client, place)  # imports and worlds are loaded at the first request
            assert seconds(client, place) < PAINT, place
        if find_spec("playwright") is not None and CHROMIUM is not None:
            for place in ("/", "/episodes"):
                assert first_paint(address, place) < PAINT, place
        with file.open("ab") as out:
            out.write(lines[0])
        while f"{EPISODES + 1:,} episodes" not in client.get("/episodes").text:
            pass
        assert peak_memory(process.pid) <= MEMORY

    begin = time.perf_counter()
    with serve(tmp_path / "runs", tmp_path / "cache") as (address, process), httpx.Client(base_url=address) as client:
        assert f"{EPISODES + 1:,} episodes" in client.get("/episodes").text  # nothing is indexed again
        assert time.perf_counter() - begin < 30
        assert peak_memory(process.pid) <= MEMORY
    file.unlink()  # half a gigabyte, which pytest would keep for three runs

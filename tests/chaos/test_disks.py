"""Full and read-only disks: the reason in one line, nothing lost, and on when there is room again."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from steptool_env.trajectories.trajectories import TrajectoryWriter, read_trajectories
from tests.chaos.campaign import Campaign, Scenario
from tests.chaos.killing import run, toolserver
from tests.chaos.test_kills import bodies, episode, number_of
from tests.server_stub import upstream_stub
from tests.toolserver.numbered_calls import put_numbers, write_responses_folder
from tests.toolserver.serving import OSLO, as_request, make_cache, serving
from toolserver.cache.archive import check_archive
from toolserver.errors import DataError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

Resize = Callable[[int], Path]
ROOM = 60_000  # KiB


def refused(scenario: Scenario, done: subprocess.CompletedProcess[str]) -> None:
    """A command that fails says so in one line; one that succeeds says nothing of the kind."""
    scenario.ended(done.stderr)
    if done.returncode:
        line = done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
        scenario.expect(line, "exceptions", done.stderr)


def test_commands_on_disks_of_any_size(campaign: Campaign, tmp_path: Path, small_disk: Resize) -> None:
    """Imports and exports on a disk that is full at a random place."""
    rng = campaign.rng
    write_responses_folder(tmp_path / "source", files=8, calls=150)
    put_numbers(tmp_path / "cache", range(1500), "")
    assert (
        run(toolserver("import", "stabletoolbench", tmp_path / "source", "--cache", tmp_path / "whole")).returncode == 0
    )
    expected = bodies(tmp_path / "whole")
    with campaign.scenario("commands on a full disk") as scenario:
        for number in range(campaign.count(20, least=2)):
            scenario.trials += 1
            disk = small_disk(rng.randint(4, 900))
            if number % 2:
                target = disk / f"archive {number}"
                done = run(toolserver("export", "archive", target, "--cache", tmp_path / "cache"))
                refused(scenario, done)
                scenario.expect(done.returncode == 0 or not target.exists(), "wrong", "half an archive")
                scenario.expect(not list(disk.rglob("*.partial")), "wrong", "a partial file is left")
                small_disk(ROOM)
                done = run(toolserver("export", "archive", target, "--cache", tmp_path / "cache"))
                scenario.expect(done.returncode == 0, "lost", done.stderr)
                try:
                    check_archive(target)
                except DataError as error:
                    scenario.fail("wrong", error)
                target.unlink()
            else:
                cache = disk / f"cache {number}"
                command = toolserver("import", "stabletoolbench", tmp_path / "source", "--cache", cache)
                done = run(command)
                refused(scenario, done)
                small_disk(ROOM)
                if done.returncode:
                    found = run(toolserver("verify", "--cache", cache))
                    scenario.expect("sound" not in found.stdout, "wrong", found.stdout)
                    done = run(command)
                scenario.expect(done.returncode == 0, "lost", done.stderr)
                scenario.expect(bodies(cache) == expected, "lost", f"{len(bodies(cache))} of {len(expected)}")
                found = run(toolserver("verify", "--cache", cache))
                scenario.expect(found.returncode == 0, "wrong", found.stderr)
                subprocess.run(["rm", "-r", cache], check=True)


def test_a_recording_server_on_a_disk_that_fills_up(campaign: Campaign, small_disk: Resize) -> None:
    """Every answer that was given is recorded; the refusals (503) name the disk; later calls are answered."""
    rng = campaign.rng
    disk = small_disk(3000)
    make_cache(disk / "cache")

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        return {"error": "", "response": [request["tool_input"], "x" * rng.choice((10, 5000, 60_000))]}

    with (
        campaign.scenario("a recording server on a disk that fills up") as scenario,
        upstream_stub(answer) as stub,
    ):
        confirmed: dict[str, str] = {}
        refusals = 0
        with serving(disk / "cache", miss="live", live_url=stub.url, read_only=False) as client:
            for number in range(campaign.count(1500, least=100)):
                if number % 100 == 60:
                    small_disk(ROOM)
                    again = client.post("/v1/call", json=as_request(OSLO._replace(arguments={"city": f"{number}"})))
                    scenario.expect(again.status_code == 200, "lost", again.text)
                    small_disk(shutil.disk_usage(disk).used // 1024 + rng.randint(4, 400))
                city = f"city {rng.randrange(400)}"
                found = client.post("/v1/call", json=as_request(OSLO._replace(arguments={"city": city})))
                scenario.trials += 1
                if found.status_code == 200 and found.json()["outcome"] == "ok":
                    body = found.json()["body"]
                    scenario.expect(confirmed.setdefault(city, body) == body, "wrong", f"two answers to {city}")
                else:
                    refusals += 1
                    named = found.status_code == 503 and "disk is full" in found.json()["detail"]
                    scenario.expect(named, "errors_5xx", f"{found.status_code} {found.text}")
            small_disk(4 * ROOM)
        kept = bodies(disk / "cache")
        for city, body in confirmed.items():
            scenario.expect(body.encode() in kept, "lost", city)
        done = run(toolserver("verify", "--cache", disk / "cache"))
        scenario.expect(done.returncode == 0, "wrong", done.stderr)
        scenario.extra["calls refused (503), the disk being full"] = refusals


def test_a_writer_of_trajectories_on_a_disk_that_fills_up(campaign: Campaign, small_disk: Resize) -> None:
    """The writer raises where it cannot write, and appends whole lines when there is room."""
    rng: Random = campaign.rng
    with campaign.scenario("a writer of trajectories on a disk that fills up") as scenario:
        for trial in range(campaign.count(60, least=3)):
            disk = small_disk(rng.randint(8, 200))
            path, confirmed = disk / f"{trial}.jsonl", []
            for size in (0, ROOM):
                if size:
                    small_disk(size)
                try:
                    with TrajectoryWriter(path, append=True) as writer:
                        for number in range(100 * bool(size), 100 * bool(size) + 80):
                            writer.write(episode(number))
                            confirmed.append(number)
                except OSError as error:
                    scenario.expect(not size, "lost", error)
            content = read_trajectories(path)
            found = [number_of(each) for each in content.trajectories]
            scenario.trials += 1
            scenario.expect(set(found) >= set(confirmed), "lost", set(confirmed) - set(found))
            scenario.expect(len(content.bad_lines) <= 1, "wrong", content.bad_lines)
            path.unlink()


def test_a_disk_that_becomes_read_only(campaign: Campaign, tmp_path: Path, small_disk: Resize) -> None:
    """Reading goes on; commands that write say why not, and change nothing."""
    disk = small_disk(ROOM)
    put_numbers(disk / "cache", range(500), "")
    make_cache(disk / "served")
    write_responses_folder(tmp_path / "source", files=2, calls=20)
    before = bodies(disk / "cache")
    with campaign.scenario("a disk that becomes read-only") as scenario:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        try:
            writing = (
                ["import", "stabletoolbench", tmp_path / "source", "--cache", disk / "cache"],
                ["import", "stabletoolbench", tmp_path / "source", "--cache", disk / "new"],
                ["export", "archive", disk / "archive", "--cache", disk / "cache"],
                ["export", "stabletoolbench", disk / "folders", "--cache", disk / "cache"],
            )
            for command in writing:
                done = run(toolserver(*command))
                scenario.trials += 1
                scenario.expect(done.returncode == 2, "wrong", f"{command}: {done.stdout}")
                refused(scenario, done)
            for command in (["verify"], ["stats"], ["export", "archive", tmp_path / "archive"]):
                done = run(toolserver(*command, "--cache", disk / "cache"))
                scenario.trials += 1
                scenario.ended(done.stderr)
                scenario.expect(done.returncode == 0, "lost", done.stderr)
            scenario.expect(bodies(disk / "cache") == before, "lost", "recordings are missing")
            with serving(disk / "served", read_only=True) as client:
                found = client.post("/v1/call", json=as_request(OSLO))
                scenario.answered(found.status_code, found.text)
                scenario.expect(json.loads(found.json()["body"])["error"] == "", "wrong", found.text)
        finally:
            subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        done = run(toolserver("verify", "--cache", disk / "cache"))
        scenario.expect(done.returncode == 0, "lost", done.stderr)

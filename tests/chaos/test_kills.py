"""kill -9 of everything that writes: what was confirmed is there, and what is there is whole."""

import json
import shutil
from pathlib import Path

import pytest

from steptool_env.trajectories.trajectories import TrajectoryWriter, read_trajectories
from steptool_env.types import Trajectory
from tests.chaos.campaign import Campaign
from tests.chaos.killing import kill_within, run, script, seconds_of, toolserver
from tests.steptool_env.sample_episodes import answered, called, trajectory
from tests.toolserver.numbered_calls import put_numbers, write_responses_folder
from toolserver.cache import ResponseCache
from toolserver.cache.archive import check_archive
from toolserver.errors import CacheError, DataError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FILES, CALLS = 20, 120


def bodies(path: Path) -> set[bytes]:
    with ResponseCache(path, read_only=True, memory_entries=0) as cache:
        return {entry.body for _, entry in cache.entries()}


def problems(path: Path) -> list[str]:
    with ResponseCache(path, read_only=True, memory_entries=0) as cache:
        return [problem.reason for problem in cache.verify()]


def test_an_importer_is_killed(campaign: Campaign, tmp_path: Path) -> None:
    """A killed import is named; what it wrote is whole; repeated, it is complete."""
    source = tmp_path / "source"
    write_responses_folder(source, FILES, CALLS)
    command = ["import", "stabletoolbench", source, "--cache"]
    duration = seconds_of(toolserver(*command, tmp_path / "whole"))
    expected = bodies(tmp_path / "whole")
    with campaign.scenario("kill -9 of an importer") as scenario:
        for number in range(campaign.count(16)):
            path = tmp_path / f"cache {number}"
            for _ in range(campaign.rng.randint(1, 3)):  # killed again while it is repeated
                status, _ = kill_within(toolserver(*command, path), campaign.rng, duration)
                scenario.trials += 1
                if not (path / "cache.db").exists():
                    continue
                try:
                    scenario.expect(not problems(path), "wrong", f"{status}: {problems(path)}")
                    scenario.expect(bodies(path) <= expected, "wrong", "a recording that the source does not have")
                except CacheError as error:  # killed before the table was made
                    scenario.expect("no cache" in str(error) or "format 0" in str(error), "wrong", error)
                found = run(toolserver("verify", "--cache", path))
                scenario.ended(found.stderr)
                sound = "sound" in found.stdout
                whole = not sound or bodies(path) in (expected, set())  # nothing: killed before the import began
                scenario.expect(whole, "wrong", "half an import is called sound")
            done = run(toolserver(*command, path))
            scenario.expect(done.returncode == 0, "exceptions", done.stderr)
            scenario.expect(bodies(path) == expected, "lost", f"{len(bodies(path))} of {len(expected)} recordings")
            done = run(toolserver("verify", "--cache", path))
            scenario.expect(done.returncode == 0, "lost", done.stderr)
            shutil.rmtree(path)


def test_an_exporter_is_killed(campaign: Campaign, tmp_path: Path) -> None:
    """The file is the earlier one or the new one, whole, and nothing is left beside it after the next export."""
    put_numbers(tmp_path / "old", range(50), "old")
    put_numbers(tmp_path / "new", range(6000), "new")
    target = tmp_path / "folder" / "archive"
    target.parent.mkdir()
    assert run(toolserver("export", "archive", target, "--cache", tmp_path / "new")).returncode == 0
    new = target.read_bytes()
    command = toolserver("export", "archive", target, "--cache", tmp_path / "new")
    whole = seconds_of(command)
    assert run(toolserver("export", "archive", target, "--cache", tmp_path / "old")).returncode == 0
    old = target.read_bytes()
    with campaign.scenario("kill -9 of an exporter") as scenario:
        for _ in range(campaign.count(50)):
            target.write_bytes(old)
            kill_within(command, campaign.rng, 1.1 * whole)
            scenario.trials += 1
            scenario.expect(target.read_bytes() in (old, new), "lost", "neither the earlier archive nor the new one")
            try:
                check_archive(target)
            except DataError as error:
                scenario.fail("wrong", error)
        done = run(command)
        scenario.ended(done.stderr)
        scenario.expect(target.read_bytes() == new, "wrong", done.stderr)
        scenario.expect([each.name for each in target.parent.iterdir()] == ["archive"], "wrong", "left files")


WRITE = """
import sys
from steptool_env.trajectories.trajectories import TrajectoryWriter
from tests.chaos.test_kills import episode
with TrajectoryWriter(sys.argv[1], append=True) as writer:
    for number in range(int(sys.argv[2]), 10**9):
        writer.write(episode(number))
        print(number, flush=True)
"""


def episode(number: int) -> Trajectory:
    """A trajectory whose length differs from that of its neighbours."""
    return trajectory(called("search", "x" * (number * 37 % 5000), number=number), answered(str(number)))


def number_of(each: Trajectory) -> int:
    return int(json.loads(each.steps[0].action.arguments)["number"])


def test_a_writer_of_trajectories_is_killed(campaign: Campaign, tmp_path: Path) -> None:
    """Every episode whose writing returned is read again; at most the last line of each kill is torn."""
    path, confirmed, kills = tmp_path / "trajectories.jsonl", 0, 0
    with campaign.scenario("kill -9 of a writer of trajectories") as scenario:
        for _ in range(campaign.count(40)):
            _, output = kill_within(script(WRITE, path, confirmed), campaign.rng, 1.5)
            confirmed = max(confirmed, *(int(line) + 1 for line in output.split("\n")[:-1]), 0)
            kills += 1
            if path.exists():
                with path.open("ab") as file:  # as a kill within a write leaves it
                    file.write(b'{"task": {"id": "torn"' * campaign.rng.randrange(2))
        with TrajectoryWriter(path, append=True) as writer:
            writer.write(episode(confirmed))
        content = read_trajectories(path)
        found = {number_of(each) for each in content.trajectories}
        scenario.trials = kills
        scenario.expect(found >= set(range(confirmed + 1)), "lost", set(range(confirmed + 1)) - found)
        scenario.expect(len(content.bad_lines) <= 2 * kills, "wrong", content.bad_lines[:3])
        for each in content.trajectories:
            scenario.expect(each == episode(number_of(each)), "wrong", f"episode {number_of(each)} differs")
        scenario.extra["episodes confirmed"] = confirmed

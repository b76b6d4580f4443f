"""Damaged and hostile files: caches, archives, trajectories, checkpoints. Refused with a reason, or read as written."""

import json
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
import zstandard

from agents.errors import AgentError
from agents.models.bundle import load_policy
from agents.models.checkpoint import weights_digest
from steptool_env.trajectories.trajectories import TrajectoryWriter, read_trajectories
from tests.chaos import odd
from tests.chaos.campaign import Campaign, Scenario
from tests.chaos.test_kills import episode, number_of
from tests.toolserver.numbered_calls import answer, key_of, numbered_call, put_numbers
from tests.toolserver.serving import as_request, make_cache, serving
from toolserver.cache import ResponseCache
from toolserver.cache.archive import export_archive, import_archive
from toolserver.cache.catalog_store import load_catalog
from toolserver.catalog.catalog import Catalog
from toolserver.errors import StepToolError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ENTRIES = 40


def read_all(scenario: Scenario, path: Path, expected: dict[bytes, bytes], refused: Counter[str]) -> None:
    """Read every recording in each way: the right bytes, none, or a documented error."""
    for number in range(ENTRIES):
        try:
            with ResponseCache(path, read_only=True) as cache:
                entry = cache.get(key_of(numbered_call(number)))
                right = entry is None or entry.body == answer(number)
                scenario.expect(right, "wrong", f"another answer to {number}")
                refused["missing"] += entry is None
        except StepToolError as error:
            refused[type(error).__name__] += 1
    try:
        with ResponseCache(path, read_only=True) as cache:
            found = {key: entry.body for key, entry in cache.entries([])}
            scenario.expect(found.items() <= expected.items(), "wrong", "a scan gives other answers")
            problems = list(cache.verify())
            scenario.expect(bool(problems) or found == expected, "lost", "recordings are missing, verify finds nothing")
        load_catalog(path)
    except StepToolError as error:
        refused[type(error).__name__] += 1


def test_bits_of_a_cache_flip(campaign: Campaign, tmp_path: Path) -> None:
    rng, refused = campaign.rng, Counter[str]()
    path = make_cache(tmp_path / "sound")
    put_numbers(path, range(ENTRIES), "")
    with ResponseCache(path, read_only=True) as cache:
        expected = {key: entry.body for key, entry in cache.entries()}
    with campaign.scenario("a cache with flipped bits and lost pieces") as scenario:
        for _ in range(campaign.count(300)):
            shutil.rmtree(tmp_path / "hurt", ignore_errors=True)
            hurt = shutil.copytree(path, tmp_path / "hurt")
            victim = hurt / rng.choice(("cache.db", "cache.db", "cache.db", "cache.tally", "catalog.db"))
            victim.write_bytes(odd.damaged(rng, victim.read_bytes()))
            read_all(scenario, hurt, expected, refused)
            scenario.trials += 1
        scenario.extra["readings refused"] = refused.total() - refused["missing"]


COLUMNS = (
    "key",
    "raw",
    "store_time",
    "expire_time",
    "access_time",
    "access_count",
    "tag",
    "size",
    "mode",
    "filename",
    "value",
)
VALUES = ("NULL", "0", "-1", "1e300", "''", "'text'", "x''", "x'00ff'", "zeroblob(1000000)", "'/etc/passwd'", "9e18")
SCRIPTS = (
    "DELETE FROM Settings",
    "UPDATE Settings SET value = {value}",
    "INSERT OR REPLACE INTO Settings VALUES ('{column}', {value})",
    "DELETE FROM Cache WHERE rowid % 3 = 0",
    "UPDATE Cache SET {column} = {value} WHERE rowid % {modulus} = 0",
    "UPDATE Cache SET {column} = {value}",
    "INSERT INTO Cache ({column}) VALUES ({value})",
    "CREATE TRIGGER t AFTER INSERT ON Cache BEGIN DELETE FROM Cache; END",
    "CREATE VIEW v AS SELECT {value}",
    "DROP TABLE Cache",
    "ALTER TABLE Cache RENAME COLUMN {column} TO other",
    "PRAGMA user_version = {modulus}",
    "PRAGMA encoding = 'UTF-16'",
)


def test_rows_of_a_cache_are_changed_by_another_program(campaign: Campaign, tmp_path: Path) -> None:
    """A batch is answered, or refused with a reason: never a wrong answer, never another exception."""
    rng, refused = campaign.rng, Counter[str]()
    path = make_cache(tmp_path / "sound")
    put_numbers(path, range(ENTRIES), "")
    with ResponseCache(path, read_only=True) as cache:
        expected = {key: entry.body for key, entry in cache.entries()}
    with campaign.scenario("a cache that somebody else changed") as scenario:
        for _ in range(campaign.count(250)):
            shutil.rmtree(tmp_path / "hostile", ignore_errors=True)
            hostile = shutil.copytree(path, tmp_path / "hostile")
            with closing(sqlite3.connect(hostile / "cache.db", isolation_level=None)) as connection:
                for _ in range(rng.randint(1, 2)):
                    given = {"column": rng.choice(COLUMNS), "value": rng.choice(VALUES), "modulus": rng.randint(1, 9)}
                    try:
                        connection.execute(rng.choice(SCRIPTS).format(**given))
                    except sqlite3.Error:  # e.g. a second DROP
                        continue
            read_all(scenario, hostile, expected, refused)
            write_into(scenario, hostile, rng)
            scenario.trials += 1
        scenario.extra["readings refused"] = refused.total() - refused["missing"]


def write_into(scenario: Scenario, path: Path, rng: Random) -> None:
    """Serve a batch from the cache, and record into it."""
    try:
        with serving(path) as client:
            numbers = rng.sample(range(ENTRIES), 8)
            found = client.post("/v1/calls", json=[as_request(numbered_call(number)) for number in numbers])
            scenario.expect(found.status_code in (200, 503), "errors_5xx", f"{found.status_code} {found.text}")
            for number, each in zip(numbers, found.json() if found.status_code == 200 else [], strict=False):
                right = each["outcome"] != "ok" or each["body"].encode() == answer(number)
                scenario.expect(right, "wrong", f"another answer to {number}")
    except StepToolError:
        pass
    try:
        with ResponseCache(path) as cache:
            cache.put(numbered_call(1000), answer(1000), on_conflict=rng.choice(("keep", "replace")))
    except StepToolError:
        pass


def hostile_archive(rng: Random, lines: list[bytes]) -> bytes:
    """An archive whose lines, or whose bytes, are changed."""
    chosen = list(lines)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(chosen))
        kind = rng.randrange(4)
        if kind == 0:
            chosen[at] = odd.fields(rng, json.loads(lines[at] or b"{}")).encode("utf-8", "surrogatepass")
        elif kind == 1:
            chosen[at] = odd.changed(rng, chosen[at].decode("utf-8", "replace")).encode("utf-8", "surrogatepass")
        elif kind == 2:
            chosen.insert(at, chosen[rng.randrange(len(chosen))])
        else:
            del chosen[at]
    packed = zstandard.compress(b"\n".join(chosen) + b"\n")
    return packed if rng.random() < 0.8 else odd.damaged(rng, packed)


def test_archives_are_changed(campaign: Campaign, tmp_path: Path) -> None:
    """An archive is refused as a whole, or holds nothing but what was exported."""
    rng = campaign.rng
    with ResponseCache(tmp_path / "cache") as cache:
        for number in range(ENTRIES):
            cache.put(numbered_call(number), answer(number))
        export_archive(tmp_path / "file", cache, Catalog())
        expected = {key: entry.body for key, entry in cache.entries()}
    lines = zstandard.ZstdDecompressor().stream_reader((tmp_path / "file").read_bytes()).read().splitlines()
    with campaign.scenario("archives, changed") as scenario:
        taken = 0
        for number in range(campaign.count(300)):
            file, path = tmp_path / "hostile", tmp_path / f"cache {number}"
            file.write_bytes(hostile_archive(rng, lines))
            with ResponseCache(path) as cache:
                try:
                    import_archive(file, cache, Catalog())
                    taken += 1
                except StepToolError:
                    scenario.expect(len(cache) == 0, "wrong", "half of a refused archive was imported")
                found = {key: entry.body for key, entry in cache.entries()}
                scenario.expect(found.items() <= expected.items(), "wrong", "recordings that nobody exported")
                scenario.expect(not list(cache.verify()), "wrong", list(cache.verify()))
            shutil.rmtree(path)
            scenario.trials += 1
        scenario.extra["archives taken, equal to the exported one"] = taken


def test_trajectories_are_changed(campaign: Campaign, tmp_path: Path) -> None:
    """A changed line is reported by its number; the others are read; what is read is written as it is read."""
    rng = campaign.rng
    path = tmp_path / "sound.jsonl"
    with TrajectoryWriter(path) as writer:
        for number in range(20):
            writer.write(episode(number))
    lines = path.read_bytes().splitlines()
    with campaign.scenario("files of trajectories, changed") as scenario:
        for _ in range(campaign.count(2000)):
            at = rng.randrange(len(lines))
            line = (
                odd.damaged(rng, lines[at])
                if rng.random() < 0.5
                else odd.fields(rng, json.loads(lines[at])).encode("utf-8", "surrogatepass")
            )
            file = tmp_path / "hostile.jsonl"
            file.write_bytes(b"\n".join([*lines[:at], line.replace(b"\n", b" "), *lines[at + 1 :]]) + b"\n")
            content = read_trajectories(file)
            scenario.trials += 1
            scenario.expect({bad.number for bad in content.bad_lines} <= {at + 1}, "wrong", content.bad_lines)
            others = [each for each in content.trajectories if each == episode(number_or(each))]
            scenario.expect(len(others) >= len(lines) - 1, "lost", f"{len(others)} others of {len(lines)}")
            rewrite(scenario, tmp_path / "again.jsonl", content.trajectories)


def number_or(each: Any) -> int:
    try:
        return number_of(each)
    except (ValueError, KeyError, TypeError, IndexError):
        return -1


def rewrite(scenario: Scenario, path: Path, trajectories: list[Any]) -> None:
    """Write trajectories that were read; each is refused, or read again as it was."""
    written = []
    with TrajectoryWriter(path) as writer:
        for each in trajectories:
            try:
                writer.write(each)
                written.append(each)
            except StepToolError:
                continue
    again = read_trajectories(path)
    scenario.expect(not again.bad_lines, "wrong", again.bad_lines)
    scenario.expect(repr(again.trajectories) == repr(written), "wrong", "not the same when it is read again")


def test_checkpoints_are_changed(campaign: Campaign, tmp_path: Path, start: Path) -> None:
    """A changed checkpoint is refused, or its change is in no weight and no token."""
    rng = campaign.rng
    expected = behaviour(start)
    files = sorted(each.relative_to(start) for each in start.rglob("*") if each.is_file())
    with campaign.scenario("checkpoints, changed") as scenario:
        refused = 0
        for _ in range(campaign.count(250)):
            shutil.rmtree(tmp_path / "hurt", ignore_errors=True)
            hurt = shutil.copytree(start, tmp_path / "hurt")
            victim = hurt / rng.choice(files)
            content = victim.read_bytes()
            if rng.random() < 0.1:
                victim.unlink()
            elif content:
                victim.write_bytes(odd.damaged(rng, content))
            try:
                scenario.expect(behaviour(hurt) == expected, "wrong", f"another policy from a changed {victim.name}")
            except (AgentError, StepToolError):
                refused += 1
            except Exception as error:
                scenario.fail("exceptions", f"{victim.name}: {type(error).__name__}: {error}")
            scenario.trials += 1
        scenario.extra["checkpoints refused"] = refused


def behaviour(folder: Path) -> tuple[object, ...]:
    """Weights, tokens and chat template of a checkpoint, and its context."""
    bundle = load_policy(folder)
    tokenizer = bundle.tokenizer
    return (
        weights_digest(bundle.policy),
        tokenizer.encode("Thought: a call. Action: x\nAction Input: {}"),
        sorted(tokenizer.get_vocab().items()),
        tokenizer.chat_template,
        bundle.context,
    )

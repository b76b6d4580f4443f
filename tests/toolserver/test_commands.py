import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.toolserver.apis import api, tool_file, write_json
from tests.toolserver.numbered_calls import count, write_responses_folder
from tests.toolserver.serving import run
from toolserver.cache import ResponseCache
from toolserver.cache.catalog_store import save_catalog
from toolserver.catalog.api_schema import ApiSpec, ToolCall, encode_body
from toolserver.catalog.catalog import Catalog

OK = {"error": "", "response": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A StableToolBench folder with three recorded calls, one conflict and one damaged entry."""
    write_json(tmp_path / "data" / "tools" / "Data" / "goal_line.json", tool_file("Goal Line", api("Cards")))
    write_json(
        tmp_path / "data" / "tool_response_cache" / "Data" / "goal_line_for_Data" / "cards.json",
        {"{'a': 1, 'b': 2}": OK, "{'b': 2, 'a': 1}": OK | {"response": 2}, "{}": OK, "{broken": OK},
    )
    return tmp_path / "data"


@pytest.fixture
def cache(folder: Path, tmp_path: Path) -> Path:
    assert run("import", "stabletoolbench", folder, "--cache", tmp_path / "cache") == 0
    return tmp_path / "cache"


def test_import_reports_every_entry(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", "stabletoolbench", folder, "--cache", tmp_path / "cache") == 0
    output, errors = capsys.readouterr()
    assert "Files: 1 tools, 1 tool_response_cache" in output
    assert "APIs: 1 added" in output
    assert "Calls: 2 added, 1 kept" in output
    assert "Problems: 1 entries" in output
    assert f"Wrote {tmp_path / 'cache'}\nNext: `toolserver verify --cache {tmp_path / 'cache'}`" in output
    assert "cards.json: {broken: not a Python literal" in errors


def test_strict_import_stops(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", "stabletoolbench", folder, "--cache", tmp_path / "cache", "--strict") == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_conflicts_can_stop_an_import(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", "stabletoolbench", folder, "--cache", tmp_path / "cache", "--on-conflict", "error") == 2
    assert "another recorded answer" in capsys.readouterr().err


def test_verify_says_when_a_cache_is_sound_and_when_not(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run("verify", "--cache", cache) == 0
    assert capsys.readouterr().out == (
        "2 entries, 1 APIs: sound\n"
        f"Next: `toolserver serve --read-only --cache {cache}`, `toolserver stats --cache {cache}`\n"
    )
    with sqlite3.connect(cache / "cache.db") as connection:
        connection.execute("UPDATE Cache SET value = substr(value, 1, 30) WHERE rowid = 2")
    connection.close()
    assert run("verify", "--cache", cache) == 1
    output, errors = capsys.readouterr()
    assert output.startswith("2 entries, 1 APIs: 1 problems\nNext: import the recordings into a new directory")
    assert errors.endswith("the value does not match its hash\n")


@pytest.mark.parametrize("place", ["disk", "redis"], indirect=True)
def test_an_interrupted_import_is_said_until_it_is_repeated(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    write_json(source / "tools" / "Data" / "goal_line.json", tool_file("Goal Line", api("Cards")))
    write_responses_folder(source, files=40, calls=150)
    command = [sys.executable, "-m", "toolserver.cli", "import", "stabletoolbench", str(source), "--cache", place]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as importing:
        while importing.poll() is None and not count(place):
            pass
        importing.kill()
    assert 0 < count(place) < 6000
    capsys.readouterr()
    assert run("verify", "--cache", place) == 1
    output, errors = capsys.readouterr()
    assert f"the import of {source} is at work or was interrupted; repeat it to finish it" in errors
    assert "0 APIs: 1 problems\nNext: repeat the interrupted import" in output
    assert run("export", "archive", tmp_path / "file", "--cache", place) == 1
    assert "was interrupted" in capsys.readouterr().err
    assert run("import", "archive", tmp_path / "file", "--cache", place) == 0  # another import does not finish it
    assert run("import", "archive", tmp_path / "none", "--cache", place) == 2
    assert run("verify", "--cache", place) == 1
    assert run("import", "stabletoolbench", source, "--cache", place) == 0
    capsys.readouterr()
    assert run("verify", "--cache", place) == 0
    assert "6,000 entries, 1 APIs: sound" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["stabletoolbench", "none"], ["stabletoolbench", "empty"], ["archive", "none"]])
def test_an_import_that_stores_nothing_leaves_no_interrupted_one(
    cache: Path, tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert run("import", command[0], tmp_path / command[1], "--cache", cache) == 2
    assert run("verify", "--cache", cache) == 0


@pytest.mark.parametrize("content", [{"some": "thing"}, [{"query": 1}], "{"])
def test_a_folder_without_anything_to_import_is_an_error_and_leaves_no_cache(
    content: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(tmp_path / "wrong" / "notes.json", content)
    assert run("import", "stabletoolbench", tmp_path / "wrong", "--cache", tmp_path / "new" / "cache") == 2
    expected = "a folder with tools/, tool_response_cache/, query files or judged runs is needed"
    assert f"error: {tmp_path / 'wrong'}: holds no API and no recorded call; {expected}" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_cut_archive_leaves_no_cache(cache: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.zst", tmp_path / "cut.zst"
    assert run("export", "archive", whole, "--cache", cache) == 0
    cut.write_bytes(whole.read_bytes()[:200])
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        assert run("import", "archive", cut, "--cache", tmp_path / name) == 2
    assert not (tmp_path / "new").exists()
    assert not list((tmp_path / "empty").iterdir())
    assert run("import", "archive", cut, "--cache", whole) == 2  # a file in the place of the cache
    assert whole.is_file()
    assert run("import", "archive", cut, "--cache", cache) == 2
    assert run("verify", "--cache", cache) == 0


def test_a_catalog_of_an_earlier_version_is_read_and_written(cache: Path, folder: Path) -> None:
    with sqlite3.connect(cache / "catalog.db") as connection:
        connection.execute("DROP TABLE imports")
    connection.close()
    assert run("verify", "--cache", cache) == 0
    assert run("import", "stabletoolbench", folder, "--cache", cache) == 0
    assert run("verify", "--cache", cache) == 0


def test_an_export_leaves_a_damaged_entry_out_and_says_so(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(cache / "cache.db") as connection:
        connection.execute("UPDATE Cache SET value = substr(value, 1, 30) WHERE rowid = 2")
    connection.close()
    for kind in ("archive", "stabletoolbench"):
        capsys.readouterr()
        assert run("export", kind, tmp_path / kind, "--cache", cache) == 1
        output, errors = capsys.readouterr()
        assert ", 1 calls" in output
        assert "not exported: the entry" in errors
        assert "does not match its hash" in errors


@pytest.mark.parametrize("category", ["..", "a\\b", "x" * 300, "\ud83d"])
def test_an_export_into_folders_leaves_out_names_that_no_folder_can_have(
    category: str, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ResponseCache(cache) as responses:
        responses.put(ToolCall(category, "tool", "api", {}), encode_body("", 1))
    if category.isascii():  # the catalog holds no lone surrogates
        save_catalog(Catalog([ApiSpec(category, "tool", "api")]), cache)
    capsys.readouterr()
    assert run("export", "stabletoolbench", tmp_path / "out", "--cache", cache) == 1
    output, errors = capsys.readouterr()
    assert "1 tools, 2 calls" in output
    assert errors.count("cannot be the name of a file or folder") == 1 + category.isascii()
    assert (tmp_path / "out" / "tool_response_cache" / "Data" / "goal_line_for_Data" / "cards.json").is_file()


def counts(cache: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Counts of `toolserver stats`, without the size of the file."""
    capsys.readouterr()
    assert run("stats", "--cache", cache, "--json") == 0
    counted: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert counted.pop("bytes") == (cache / "cache.db").stat().st_size
    return counted


def test_stats_as_a_table_and_as_json(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert counts(cache, capsys) == {
        "entries": 2,
        "apis_documented": 1,
        "apis_recorded": 1,
        "provenance": {"recorded": 2},
        "outcome": {"ok": 2},
        "category": {"Data": 2},
    }
    assert run("stats", "--cache", cache) == 0
    output = capsys.readouterr().out
    assert "provenance recorded" in output
    assert f"Next: `toolserver verify --cache {cache}`" in output


def test_an_archive_copies_a_cache(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file.jsonl.zst"
    capsys.readouterr()
    assert run("export", "archive", file, "--cache", cache) == 0
    written, following = capsys.readouterr().out.splitlines()
    assert written.startswith(f"Wrote {file}: 1 APIs, 2 calls, ")
    assert following == f"Next: `toolserver import archive {file} --cache DIR`"
    assert run("import", "archive", file, "--cache", tmp_path / "copy") == 0
    assert counts(tmp_path / "copy", capsys) == counts(cache, capsys)


def test_folders_copy_a_cache(cache: Path, tmp_path: Path) -> None:
    assert run("export", "stabletoolbench", tmp_path / "out", "--cache", cache) == 0
    written = tmp_path / "out" / "tool_response_cache" / "Data" / "goal_line_for_Data" / "cards.json"
    assert json.loads(written.read_text()) == {"{'a': 1, 'b': 2}": OK, "{}": OK}
    assert (tmp_path / "out" / "tools" / "Data" / "goal_line.json").is_file()


@pytest.mark.parametrize("command", [["verify"], ["stats"], ["export", "archive", "file"]])
def test_a_missing_cache_is_said_in_one_line(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*command, "--cache", tmp_path / "none") == 2
    missing = tmp_path / "none"
    expected = f"error: no cache at {missing}; fill one with `toolserver import ... --cache {missing}`\n"
    assert capsys.readouterr().err == expected
    assert list(tmp_path.iterdir()) == []


def serve(*flags: object) -> subprocess.CompletedProcess[str]:
    """A server that is to end by itself, in a process of its own: `serve` leaves settings in the environment."""
    command = [sys.executable, "-m", "toolserver.cli", "serve", "--port", "0", *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_that_cannot_serve_does_not_say_that_it_does(workers: int, tmp_path: Path) -> None:
    ended = serve("--cache", tmp_path / "none", "--workers", workers)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: no cache at ")
    assert ended.stdout == ""


@pytest.mark.parametrize("version", [0, 9])
def test_a_server_has_no_world_of_an_unknown_version(version: int) -> None:
    ended = serve("--world", 0, "--world-version", version)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: world_version: {version} is not a version of ToolWorld; use ")


def test_a_server_needs_a_worker() -> None:
    ended = serve("--world", 0, "--workers", 0)
    assert (ended.returncode, ended.stderr) == (2, "error: workers: 0 processes cannot serve; use at least 1\n")


COMMANDS = [
    ["import", "stabletoolbench"],
    ["import", "archive"],
    ["export", "stabletoolbench"],
    ["export", "archive"],
    ["verify"],
    ["stats"],
    ["serve"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_with_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*command, "--help") == 0
    assert f"Example: `toolserver {' '.join(command)}" in capsys.readouterr().out


def test_the_command_line_runs_as_a_process() -> None:
    command = [sys.executable, "-c", "from toolserver.cli import main; main()", "--help"]
    helped = subprocess.run(command, capture_output=True, text=True, check=True)
    assert all(name in helped.stdout for name in ("serve", "import", "export", "verify", "stats"))

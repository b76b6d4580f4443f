"""Commands and a recording server on a full disk: the reason in one line, nothing lost, and on when there is room."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.server_stub import upstream_stub
from tests.toolserver.numbered_calls import answer, put_numbers, write_responses_folder
from tests.toolserver.serving import OSLO, as_request, make_cache, run, serving
from toolserver.cache import ResponseCache

ROOT = Path(__file__).resolve().parents[2]
Resize = Callable[[int], Path]


def fill_up(folder: Path) -> Path:
    """Write a file that fills the disk."""
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return folder / "filler"


def ends(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command as a process of its own, which has to end."""
    command = [sys.executable, "-m", "toolserver.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def is_one_line(errors: str, *words: str) -> bool:
    return errors.startswith("error: ") and errors.count("\n") == 1 and all(word in errors for word in words)


@pytest.mark.parametrize("kind", ["archive", "stabletoolbench"])
def test_an_export_says_that_the_disk_is_full(tmp_path: Path, small_disk: Resize, kind: str) -> None:
    put_numbers(tmp_path / "cache", range(2000), "")
    disk = small_disk(16)
    target = disk / "target"
    done = ends("export", kind, target, "--cache", tmp_path / "cache")
    assert done.returncode == 2
    assert is_one_line(done.stderr, f"cannot write {target}", "No space left on device")
    assert not list(disk.rglob("*.partial"))
    small_disk(20_000)
    assert ends("export", kind, target, "--cache", tmp_path / "cache").returncode == 0


def test_a_full_disk_leaves_the_earlier_archive(tmp_path: Path, small_disk: Resize) -> None:
    put_numbers(tmp_path / "cache", range(3), "")
    disk = small_disk(16)
    target = disk / "target"
    assert run("export", "archive", target, "--cache", tmp_path / "cache") == 0
    before = target.read_bytes()
    put_numbers(tmp_path / "cache", range(2000), "")
    assert run("export", "archive", target, "--cache", tmp_path / "cache") == 2
    assert target.read_bytes() == before
    assert [path.name for path in disk.iterdir()] == ["target"]


def test_an_import_says_that_the_disk_is_full_and_can_be_repeated(tmp_path: Path, small_disk: Resize) -> None:
    write_responses_folder(tmp_path / "source", files=10, calls=300)
    disk = small_disk(700)
    done = ends("import", "stabletoolbench", tmp_path / "source", "--cache", disk)
    assert done.returncode == 2
    assert is_one_line(done.stderr, f"cannot write to {disk}", "disk is full")
    small_disk(30_000)
    done = ends("verify", "--cache", disk)
    assert done.returncode == 1
    assert done.stderr == (
        f"{disk}: the import of {tmp_path / 'source'} is at work or was interrupted; repeat it to finish it\n"
    )
    assert ends("import", "stabletoolbench", tmp_path / "source", "--cache", disk).returncode == 0
    assert "3,000 entries, 0 APIs: sound" in ends("verify", "--cache", disk).stdout


@pytest.mark.parametrize("size", [0, 80])
def test_a_cache_cannot_be_made_on_a_full_disk(tmp_path: Path, small_disk: Resize, size: int) -> None:
    put_numbers(tmp_path / "cache", range(30), "")
    run("export", "archive", tmp_path / "archive", "--cache", tmp_path / "cache")
    disk = small_disk(size or 4)
    if not size:
        fill_up(disk)
    done = ends("import", "archive", tmp_path / "archive", "--cache", disk / "cache")
    assert done.returncode == 2
    assert is_one_line(done.stderr, "disk")
    small_disk(30_000)
    assert ends("import", "archive", tmp_path / "archive", "--cache", disk / "cache").returncode == 0
    assert ends("verify", "--cache", disk / "cache").returncode == 0


def test_a_recording_server_answers_again_when_there_is_room(small_disk: Resize) -> None:
    disk = small_disk(2000)
    make_cache(disk / "cache")
    missed = as_request(OSLO._replace(arguments={"city": "Turku"}))
    body = {"error": "", "response": "x" * 100_000}
    with (
        upstream_stub(lambda _: body) as stub,
        serving(disk / "cache", miss="live", live_url=stub.url, read_only=False) as client,
    ):
        filler = fill_up(disk)
        known = client.post("/v1/call", json=as_request(OSLO))
        refused = client.post("/v1/call", json=missed)
        assert known.status_code == 200
        assert refused.status_code == 503
        assert "disk is full" in refused.json()["detail"]
        filler.unlink()
        assert json.loads(client.post("/v1/call", json=missed).json()["body"]) == body
    with ResponseCache(disk / "cache", read_only=True) as cache:
        assert len(cache) == 4
        assert list(cache.verify()) == []


def test_a_full_disk_can_be_read(small_disk: Resize) -> None:
    disk = small_disk(2000)
    put_numbers(disk / "cache", range(30), "")
    fill_up(disk)
    done = ends("verify", "--cache", disk / "cache")
    assert done.returncode == 0, done.stderr
    with ResponseCache(disk / "cache", read_only=True) as cache:
        assert {entry.body for _, entry in cache.entries()} == {answer(number) for number in range(30)}

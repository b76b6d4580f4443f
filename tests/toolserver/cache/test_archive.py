import json
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tests.toolserver.apis import APIS
from tests.toolserver.numbered_calls import answer, key_of, numbered_call
from toolserver.cache import ResponseCache, StoreProblem
from toolserver.cache.archive import check_archive, export_archive, import_archive
from toolserver.cache.catalog_store import load_catalog, save_catalog
from toolserver.catalog.api_schema import Outcome, Provenance, ToolCall, encode_body
from toolserver.catalog.catalog import AddResult, Catalog
from toolserver.errors import CacheError, ConfigurationError, ConflictError, DataError

ROOT = Path(__file__).resolve().parents[3]
NAN_CALL = ToolCall("C\ud800", "t", "a", {"x": float("nan"), "n": 2**70, "s": "\ud800"})


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A cache with calls of every kind, and a catalog."""
    path = tmp_path / "filled"
    with ResponseCache(path) as cache:
        for number, provenance in enumerate(Provenance):
            cache.put(numbered_call(number), answer(number), provenance=provenance, source=f"file {number}")
        for number, outcome in enumerate(Outcome, 100):
            cache.put(numbered_call(number), answer(number), outcome, recorded_at="2026-01-01")
        cache.put(NAN_CALL, encode_body("\ud800", ["é", 1.5]))
    save_catalog(Catalog(APIS), path)
    return path


def export(cache_path: Path, file: Path) -> bytes:
    with ResponseCache(cache_path, read_only=True) as cache:
        export_archive(file, cache, load_catalog(cache_path))
    return file.read_bytes()


def import_into(cache_path: Path, file: Path, **options: Any) -> dict[str, int]:
    catalog = load_catalog(cache_path)
    with ResponseCache(cache_path) as cache:
        report = import_archive(file, cache, catalog, **options)
        assert list(cache.verify()) == []
    save_catalog(catalog, cache_path)
    return {**report.apis, **{f"calls {name}": count for name, count in report.calls.items()}}


def test_import_and_export_give_the_same_bytes(filled: Path, tmp_path: Path) -> None:
    first = export(filled, tmp_path / "first")
    assert import_into(tmp_path / "copy", tmp_path / "first") == {AddResult.ADDED: 3, "calls added": 21}
    assert export(tmp_path / "copy", tmp_path / "second") == first
    with ResponseCache(filled, read_only=True) as old, ResponseCache(tmp_path / "copy", read_only=True) as new:
        assert [(key, entry.response) for key, entry in new.entries()] == [
            (key, entry.response) for key, entry in old.entries()
        ]
        descriptions = [[repr(entry.describe()) for _, entry in cache.entries()] for cache in (old, new)]
        assert descriptions[0] == descriptions[1]


def test_the_real_recordings_round_trip(stabletoolbench_cache: Path, tmp_path: Path) -> None:
    with ResponseCache(stabletoolbench_cache, read_only=True) as cache:
        counts = {AddResult.ADDED: len(load_catalog(stabletoolbench_cache)), "calls added": len(cache)}
    first = export(stabletoolbench_cache, tmp_path / "first")
    assert import_into(tmp_path / "copy", tmp_path / "first") == counts
    assert export(tmp_path / "copy", tmp_path / "second") == first


def test_importing_twice_changes_nothing(filled: Path, tmp_path: Path) -> None:
    export(filled, tmp_path / "file")
    assert import_into(filled, tmp_path / "file") == {AddResult.UNCHANGED: 3, "calls unchanged": 21}


def test_conflicts_follow_the_policy(filled: Path, tmp_path: Path) -> None:
    export(filled, tmp_path / "file")
    with ResponseCache(filled) as cache:
        cache.put(numbered_call(0), answer(0, "other"), on_conflict="replace")
    assert import_into(filled, tmp_path / "file")["calls kept"] == 1
    with pytest.raises(ConflictError):
        import_into(filled, tmp_path / "file", on_conflict="error")
    assert import_into(filled, tmp_path / "file", on_conflict="replace")["calls replaced"] == 1
    with ResponseCache(filled, read_only=True) as cache:
        entry = cache.get(key_of(numbered_call(0)))
        assert entry is not None
        assert entry.body == answer(0)


def test_an_empty_cache_has_an_archive(tmp_path: Path) -> None:
    with ResponseCache(tmp_path / "empty"):
        pass
    export(tmp_path / "empty", tmp_path / "file")
    assert import_into(tmp_path / "copy", tmp_path / "file") == {}


def test_an_archive_is_lines_of_json(filled: Path, tmp_path: Path) -> None:
    content = zstandard.ZstdDecompressor().stream_reader(export(filled, tmp_path / "file")).read()
    lines = [json.loads(line) for line in content.splitlines()]
    assert lines[0] == {"format": "toolserver-archive", "version": 1}
    assert [next(iter(line)) for line in lines[1:]] == ["api"] * 3 + ["call"] * 21 + ["end"]
    assert lines[-1]["end"]["calls"] == 21


def damaged_copy(filled: Path, tmp_path: Path, change: Any) -> Path:
    content = zstandard.ZstdDecompressor().stream_reader(export(filled, tmp_path / "file")).read()
    (tmp_path / "damaged").write_bytes(zstandard.compress(change(content)))
    return tmp_path / "damaged"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: content[:-40], "not an archive"),
        (lambda content: b"\n".join(content.splitlines()[:-1]), "the end is missing"),
        (lambda content: b"\n".join(content.splitlines()[:-3] + content.splitlines()[-1:]), "checksum"),
        (lambda content: content.replace(b"Oslo", b"Rome"), "checksum"),
        (lambda content: content + content.splitlines()[5] + b"\n", "the end is missing"),
        (lambda content: content.replace(b'"version":1', b'"version":2'), "not an archive of this version"),
        (lambda content: b"", "not an archive"),
        (lambda content: b"\xff\xfe\n", "not a readable archive"),
        (lambda content: b"[]\n", "not an archive of this version"),
    ],
)
def test_a_damaged_archive_is_refused_as_a_whole(filled: Path, tmp_path: Path, change: Any, reason: str) -> None:
    file = damaged_copy(filled, tmp_path, change)
    with pytest.raises(DataError, match=f"damaged: {reason}|damaged: .*{reason}"):
        import_into(tmp_path / "copy", file)
    with ResponseCache(tmp_path / "copy", read_only=True) as cache:
        assert len(cache) == 0


def forge(file: Path, *lines: bytes) -> Path:
    """An archive of these lines, with the right checksum."""
    content = b"".join(line + b"\n" for line in (b'{"format":"toolserver-archive","version":1}', *lines))
    end = {"end": {"apis": 0, "calls": len(lines), "blake2b": blake2b(content).hexdigest()}}
    file.write_bytes(zstandard.compress(content + json.dumps(end).encode() + b"\n"))
    return file


CALL = {
    "call": ["Data", "tool", "api"], "arguments": "{}", "body": answer(0).decode(), "outcome": "ok",
    "provenance": "recorded", "source": "", "recorded_at": "",
}  # fmt: skip


def test_a_forged_archive_of_the_right_form_is_taken(tmp_path: Path) -> None:
    assert import_into(tmp_path / "copy", forge(tmp_path / "file", json.dumps(CALL).encode())) == {"calls added": 1}


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"call":' * 5000 + b"1" + b"}" * 5000,
        b'{"api": 1}',
        b'{"api": {"category_name": 1}}',
        *(
            json.dumps(CALL | {field: value}).encode()
            for field, value in [
                ("call", 1), ("call", [1, 2, 3]), ("call", ["a"]), ("arguments", 1), ("arguments", "[1]"),
                ("arguments", '{"a":' * 100_000), ("body", 1), ("body", "1"), ("body", "[" * 100_000),
                ("outcome", "bad"), ("outcome", []), ("provenance", None), ("source", {}), ("recorded_at", 1),
            ]
        ),
    ],
    ids=lambda line: line[:200].decode()[-40:],
)  # fmt: skip
def test_a_forged_line_is_an_error_of_the_archive(tmp_path: Path, line: bytes) -> None:
    with pytest.raises(DataError):
        import_into(tmp_path / "copy", forge(tmp_path / "file", line))


IMPORT = """
import re, sys
from pathlib import Path
from toolserver.cli import main
try:
    main(["import", "archive", sys.argv[1], "--cache", sys.argv[2]])
finally:  # not `ru_maxrss`, which a child inherits from a large parent
    print(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def test_a_line_without_end_takes_a_bounded_memory(tmp_path: Path) -> None:
    file = tmp_path / "bomb"
    with file.open("wb") as raw, zstandard.ZstdCompressor().stream_writer(raw) as stream:
        stream.write(b'{"format":"toolserver-archive","version":1}\n')
        for _ in range(1024):
            stream.write(b"x" * 2**20)
    assert file.stat().st_size < 100_000
    command = [sys.executable, "-c", IMPORT, str(file), str(tmp_path / "cache")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"error: {file}: not an archive: a line has more than 67,108,864 bytes\n"
    assert int(done.stdout) < 400_000  # KiB


def test_an_entry_that_is_too_large_for_an_archive_is_left_out(tmp_path: Path) -> None:
    with ResponseCache(tmp_path / "cache") as cache:
        cache.put(numbered_call(0), answer(0))
        cache.put(numbered_call(1), encode_body("", "\x01" * 12_000_000))  # six characters each in JSON, twice escaped
        with pytest.raises(CacheError, match="too large for an archive"):
            export_archive(tmp_path / "file", cache, Catalog())
        assert not (tmp_path / "file").exists()
        left_out: list[StoreProblem] = []
        assert export_archive(tmp_path / "file", cache, Catalog(), left_out) == (0, 1)
    assert [problem.key for problem in left_out] == [key_of(numbered_call(1)).hex()]
    assert import_into(tmp_path / "copy", tmp_path / "file") == {"calls added": 1}


EXPORT_AND_DIE = """
import os, signal, sys
from toolserver.new_file import new_file
from pathlib import Path
with new_file(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("ready", flush=True)
    signal.pause()
"""


def test_what_a_killed_export_leaves_is_removed_at_the_next_one(filled: Path, tmp_path: Path) -> None:
    before = export(filled, tmp_path / "file")
    command = [sys.executable, "-c", EXPORT_AND_DIE, str(tmp_path / "file")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as at_work:
        assert at_work.stdout is not None
        assert at_work.stdout.readline() == b"ready\n"
        (partial,) = tmp_path.glob("*.partial")
        assert export(filled, tmp_path / "file") == before
        assert partial.exists()  # its process is alive
        at_work.kill()
    (tmp_path / "another.1.partial").touch()
    (tmp_path / "file.partial").touch()
    assert partial.exists()
    assert export(filled, tmp_path / "file") == before
    assert sorted(path.name for path in tmp_path.glob("*.partial")) == ["another.1.partial", "file.partial"]


def test_a_target_that_cannot_be_written_is_said(filled: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for target in (tmp_path / "file" / "below", tmp_path):
        with pytest.raises(ConfigurationError, match="cannot write"):
            export(filled, target)


@given(position=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_is_always_noticed(
    stabletoolbench_archive: bytes, tmp_path_factory, position: int, bit: int
) -> None:
    damaged = bytearray(stabletoolbench_archive)
    damaged[position % len(damaged)] ^= 1 << bit
    file = tmp_path_factory.getbasetemp() / "flipped"
    file.write_bytes(damaged)
    try:
        check_archive(file)
    except DataError:
        return
    content = zstandard.ZstdDecompressor().stream_reader(bytes(damaged)).read()
    assert content == zstandard.ZstdDecompressor().stream_reader(stabletoolbench_archive).read()


@pytest.fixture(scope="module")
def stabletoolbench_archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("archive")
    with ResponseCache(folder / "cache") as cache:
        for number in range(40):
            cache.put(numbered_call(number), answer(number))
        export_archive(folder / "file", cache, Catalog(APIS))
    return (folder / "file").read_bytes()


def test_a_failed_export_leaves_the_old_file(filled: Path, tmp_path: Path) -> None:
    before = export(filled, tmp_path / "file")
    with ResponseCache(filled, read_only=True) as cache:
        damage = filled / "cache.db"
        damage.write_bytes(damage.read_bytes()[:8192])
        with pytest.raises(CacheError, match=r"cache\.db"):
            export_archive(tmp_path / "file", cache, Catalog())
    assert (tmp_path / "file").read_bytes() == before
    assert not list(tmp_path.glob("*.partial"))

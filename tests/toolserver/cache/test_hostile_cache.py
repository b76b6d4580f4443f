"""A cache directory that somebody else wrote: no pickle is loaded (CVE-2025-69872), no file deleted, no code run."""

import pickle
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diskcache
import pytest

from tests.toolserver.apis import APIS
from tests.toolserver.numbered_calls import answer, key_of, numbered_call
from tests.toolserver.serving import run
from toolserver.cache import OnConflict, ResponseCache
from toolserver.cache.catalog_store import load_catalog, save_catalog
from toolserver.catalog.catalog import Catalog
from toolserver.errors import CacheError

OURS, PICKLED, IN_A_FILE = numbered_call(0), numbered_call(1), numbered_call(2)


class Payload:
    """Its pickle creates a file when it is loaded."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return Path.touch, (self.proof,)


@pytest.fixture
def proof(tmp_path: Path) -> Path:
    """File that exists once a pickle was loaded."""
    return tmp_path / "loaded"


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A cache with one recording."""
    with ResponseCache(tmp_path / "cache") as cache:
        cache.put(OURS, answer(0))
    return tmp_path / "cache"


@pytest.fixture
def hostile(ours: Path, proof: Path) -> Iterator[Path]:
    """A cache with one recording and pickles as a value and as a key."""
    with diskcache.Cache(str(ours)) as foreign:
        foreign[key_of(PICKLED)] = Payload(proof)
        foreign[Payload(proof)] = Payload(proof)
    yield ours
    assert not proof.exists()


@pytest.fixture
def with_a_file(hostile: Path, proof: Path) -> Path:
    """The same with a pickle in a file."""
    with diskcache.Cache(str(hostile)) as foreign:
        foreign.reset("disk_min_file_size", 0)
        foreign[key_of(IN_A_FILE)] = Payload(proof)
    assert len(list(hostile.rglob("*.val"))) == 1
    return hostile


def test_the_payload_works(proof: Path) -> None:
    pickle.loads(pickle.dumps(Payload(proof)))
    assert proof.exists()


@pytest.mark.parametrize("read_only", [True, False])
def test_a_pickle_is_an_error_and_not_an_answer(hostile: Path, read_only: bool) -> None:
    with ResponseCache(hostile, read_only=read_only) as cache:
        with pytest.raises(CacheError, match="see `toolserver verify`"):
            cache.get(key_of(PICKLED))
        ours = cache.get(key_of(OURS))
        assert ours is not None
        assert ours.body == answer(0)
        assert [entry.body for _, entry in cache.entries()] == [answer(0)]


def test_writing_over_a_pickle_loads_nothing(hostile: Path) -> None:
    with ResponseCache(hostile) as cache:
        with pytest.raises(CacheError, match="not raw bytes"):
            cache.put(PICKLED, answer(1))
        with pytest.raises(CacheError, match="not raw bytes"):
            cache.put(PICKLED, answer(1), on_conflict="replace")


def test_no_command_loads_a_pickle(hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", "--cache", hostile) == 1
    assert "2 rows of another kind, which are never loaded" in capsys.readouterr().err
    assert run("stats", "--cache", hostile) == 0
    for command in (["archive", tmp_path / "archive"], ["stabletoolbench", tmp_path / "folders"]):
        assert run("export", *command, "--cache", hostile) == 1
        output, errors = capsys.readouterr()
        assert "1 calls" in output
        assert "not exported: 2 rows of another kind, which toolserver did not write" in errors
    assert run("import", "archive", tmp_path / "archive", "--cache", hostile) == 0


ROW = "INSERT INTO Cache (key, raw, mode, {}, value) VALUES (x'{}', 1, 1, {}, x'00')"
FOREIGN = {
    "an expired row with a file name": (
        ROW.format("expire_time, filename", key_of(PICKLED).hex(), "1, '{victim}'"),
        "rows that expire, rows with a file name",
    ),
    "a row that expires later": (ROW.format("expire_time", key_of(PICKLED).hex(), "9e9"), "rows that expire"),
    "a row whose expiry is text": (ROW.format("expire_time", key_of(PICKLED).hex(), "'never'"), "rows that expire"),
    "a row with a file name": (
        ROW.format("filename", key_of(PICKLED).hex(), "'{victim}'"),
        "rows with a file name",
    ),
    "a trigger": (
        "CREATE TRIGGER evil AFTER INSERT ON Cache BEGIN UPDATE Cache SET filename = '{victim}'; END",
        "the trigger evil",
    ),
    "another trigger of a known name": (
        "DROP TRIGGER Settings_size_insert;"
        " CREATE TRIGGER Settings_size_insert AFTER INSERT ON Cache FOR EACH ROW BEGIN"
        " UPDATE Cache SET filename = '{victim}'; END",
        "the trigger Settings_size_insert",
    ),
    "a view in place of the table": (
        "ALTER TABLE Cache RENAME TO Hidden; CREATE VIEW Cache AS SELECT * FROM Hidden",
        "the table Hidden",
    ),
    "a view": ("CREATE VIEW other AS SELECT * FROM Cache", "the view other"),
    "a table": ("CREATE TABLE other (a)", "the table other"),
    "a count that is a fraction": ("UPDATE Settings SET value = 1e300", "a count that is not a number"),
    "a count that is text": ("UPDATE Settings SET value = 'many'", "a count that is not a number"),
    "a count below zero": ("UPDATE Settings SET value = -7", "a count that is not a number of rows or bytes"),
    "a setting": ("INSERT INTO Settings VALUES ('sqlite_writable_schema', 1)", "the setting sqlite_writable_schema"),
}


@pytest.mark.parametrize("indexed", [True, False], ids=["", "written by an earlier version"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_database_is_refused_and_deletes_nothing(
    ours: Path, tmp_path: Path, kind: str, indexed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    run("export", "archive", tmp_path / "archive", "--cache", ours)
    victim = tmp_path / "folder" / "victim"
    victim.parent.mkdir()
    victim.touch()
    script, reason = FOREIGN[kind]
    with sqlite3.connect(ours / "cache.db") as connection:
        if not indexed:
            connection.execute("DROP INDEX IF EXISTS Cache_filename")
        connection.executescript(script.format(victim=victim))
    connection.close()
    capsys.readouterr()
    for command in (["verify"], ["stats"], ["import", "archive", tmp_path / "archive"]):
        assert run(*command, "--cache", ours) == 2
        assert reason in capsys.readouterr().err
    with pytest.raises(CacheError, match="was written by another program"), ResponseCache(ours) as cache:
        cache.put(PICKLED, answer(1), on_conflict="replace")
    assert victim.exists()


@pytest.mark.parametrize("on_conflict", ["keep", "replace"])
def test_a_file_named_after_opening_is_not_deleted(ours: Path, tmp_path: Path, on_conflict: OnConflict) -> None:
    victim = tmp_path / "folder" / "victim"
    victim.parent.mkdir()
    victim.touch()
    with ResponseCache(ours) as cache:
        with sqlite3.connect(ours / "cache.db") as connection:
            connection.execute("UPDATE Cache SET expire_time = 1, filename = ?", (str(victim),))
        connection.close()
        cache.put(OURS, answer(1), on_conflict=on_conflict)
    assert victim.exists()


def test_a_value_in_a_file_is_refused(with_a_file: Path) -> None:
    for read_only in (True, False):
        with pytest.raises(CacheError, match="rows with a file name"):
            ResponseCache(with_a_file, read_only=read_only)


def test_a_foreign_trigger_in_the_catalog_is_refused(ours: Path) -> None:
    save_catalog(Catalog(APIS), ours)
    with sqlite3.connect(ours / "catalog.db") as connection:
        connection.execute("CREATE TRIGGER evil AFTER INSERT ON apis BEGIN DELETE FROM apis; END")
    connection.close()
    for use in (lambda: load_catalog(ours), lambda: save_catalog(Catalog(), ours)):
        with pytest.raises(CacheError, match="the trigger evil"):
            use()


@pytest.mark.parametrize("row", [b"{", b"[]", b'{"category_name": 1}', b"\xff", "text", 3], ids=str)
def test_a_catalog_with_a_row_of_another_form_is_refused(ours: Path, row: object) -> None:
    save_catalog(Catalog(APIS), ours)
    with sqlite3.connect(ours / "catalog.db") as connection:
        connection.execute("UPDATE apis SET documentation = ? WHERE rowid = 2", (row,))
    connection.close()
    for use in (lambda: load_catalog(ours), lambda: save_catalog(Catalog(APIS), ours)):
        with pytest.raises(CacheError, match="an API that cannot be read"):
            use()

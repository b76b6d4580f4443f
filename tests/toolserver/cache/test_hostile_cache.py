"""A cache directory that somebody else wrote: its pickles are never loaded (CVE-2025-69872)."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diskcache
import pytest

from tests.toolserver.numbered_calls import answer, key_of, numbered_call
from tests.toolserver.serving import run
from toolserver.cache import ResponseCache
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
def hostile(tmp_path: Path, proof: Path) -> Iterator[Path]:
    """A cache with one recording and pickles as values (in the database, in a file) and as a key."""
    directory = tmp_path / "cache"
    with ResponseCache(directory) as cache:
        cache.put(OURS, answer(0))
    with diskcache.Cache(str(directory)) as foreign:
        foreign[key_of(PICKLED)] = Payload(proof)
        foreign[Payload(proof)] = Payload(proof)
        foreign.reset("disk_min_file_size", 0)
        foreign[key_of(IN_A_FILE)] = Payload(proof)
    assert len(list(directory.rglob("*.val"))) == 1
    yield directory
    assert not proof.exists()


def test_the_payload_works(tmp_path: Path, proof: Path) -> None:
    pickle.loads(pickle.dumps(Payload(proof)))
    assert proof.exists()


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("call", [PICKLED, IN_A_FILE], ids=["in the database", "in a file"])
def test_a_pickle_is_an_error_and_not_an_answer(hostile: Path, read_only: bool, call: Any) -> None:
    with ResponseCache(hostile, read_only=read_only) as cache:
        with pytest.raises(CacheError, match="see `toolserver verify`"):
            cache.get(key_of(call))
        ours = cache.get(key_of(OURS))
        assert ours is not None
        assert ours.body == answer(0)
        assert [entry.body for _, entry in cache.entries()] == [answer(0)]


@pytest.mark.parametrize("call", [PICKLED, IN_A_FILE], ids=["in the database", "in a file"])
def test_writing_over_a_pickle_loads_nothing(hostile: Path, call: Any) -> None:
    with ResponseCache(hostile) as cache:
        with pytest.raises(CacheError, match="not raw bytes"):
            cache.put(call, answer(1))
        with pytest.raises(CacheError, match="not raw bytes"):
            cache.put(call, answer(1), on_conflict="replace")


def test_no_command_loads_a_pickle(hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", "--cache", hostile) == 1
    assert "3 rows of another kind, which are never loaded" in capsys.readouterr().err
    assert run("stats", "--cache", hostile) == 0
    assert run("export", "archive", tmp_path / "archive", "--cache", hostile) == 0
    assert run("export", "stabletoolbench", tmp_path / "folders", "--cache", hostile) == 0
    assert run("import", "archive", tmp_path / "archive", "--cache", hostile) == 0

from pathlib import Path

from benchmarks.speed.store import carry, fill, numbered_call
from toolserver.cache import ResponseCache, canonical_key


def test_the_measured_cache_holds_what_is_asked_for(tmp_path: Path) -> None:
    assert fill(tmp_path / "60", 60) > 0
    with ResponseCache(tmp_path / "60", read_only=True) as cache:
        for number in range(60):
            call = numbered_call(number)
            assert cache.get(canonical_key(call.category, call.tool, call.api, call.arguments)) is not None


def test_carrying_it_loses_nothing(tmp_path: Path) -> None:
    fill(tmp_path / "60", 60)
    row = carry(tmp_path / "60", 60)
    assert (row["entries"], row["problems"]) == (60, 0)

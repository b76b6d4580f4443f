"""The index of episodes: filters, growth, broken lines, replaced files."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agents.view.episode_index import EpisodeIndex, Filter
from steptool_env.errors import ConfigurationError, DataError
from steptool_env.trajectories.trajectories import TrajectoryWriter, write_trajectories
from steptool_env.types import Trajectory
from tests.steptool_env.sample_episodes import answered, called, gave_up, malformed, task, trajectory

EPISODES = [
    trajectory(called("search", "Aurora", q="film"), answered("x"), of=task(task_id="a"), is_solved=1.0),
    trajectory(malformed("I do not know"), gave_up(), of=task("another query", task_id="b"), is_solved=0.0),
    trajectory(called("director", error="timed out"), of=task(task_id="c"), is_solved=0.0),
]


def lines(index: EpisodeIndex, file: Path, **chosen: str) -> list[int]:
    rows, total = index.page([file], Filter(**chosen))
    assert total == len(rows)
    return [row.line for row in rows]


@pytest.fixture
def index(tmp_path: Path) -> EpisodeIndex:
    return EpisodeIndex(tmp_path / "cache" / "view.sqlite")


@pytest.fixture
def file(tmp_path: Path, index: EpisodeIndex) -> Path:
    path = tmp_path / "trajectories.jsonl"
    write_trajectories(path, EPISODES)
    index.update(path)
    return path


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, [1, 2, 3]),
        ({"ending": "solved"}, [1]),
        ({"ending": "failed"}, [2, 3]),
        ({"ending": "gave_up"}, [2]),
        ({"ending": "no_calls_left"}, [3]),
        ({"tool": "search"}, [1]),
        ({"tool": "Finish"}, [1, 2]),
        ({"status": "bad input"}, [2]),
        ({"text": "aurora 1987"}, [1, 3]),
        ({"text": "timed"}, [3]),
        ({"text": "ANOTHER que"}, [2]),
        ({"text": "aurora", "ending": "solved"}, [1]),
        ({"text": '" OR x:y* NEAR('}, []),
        ({"task": "b"}, [2]),
        ({"tool": "' OR 1=1 --"}, []),
    ],
)
def test_a_filter_lets_the_right_episodes_pass(
    index: EpisodeIndex, file: Path, chosen: dict[str, str], expected: list[int]
) -> None:
    assert lines(index, file, **chosen) == expected


def test_a_term_is_found_where_a_call_earned_it(index: EpisodeIndex, tmp_path: Path) -> None:
    earned, idle = called("a"), called("a")
    earned.reward_terms, idle.reward_terms = {"progress": 0.5}, {"progress": 0.0}
    path = tmp_path / "trajectories.jsonl"
    write_trajectories(path, [trajectory(idle), trajectory(idle, earned)])
    index.update(path)
    assert lines(index, path, term="progress") == [2]
    assert index.values([path], "term") == ["progress"]


def test_every_episode_is_read_back_as_it_was_written(index: EpisodeIndex, file: Path) -> None:
    assert [index.episode(file, number) for number in (1, 2, 3)] == EPISODES


def test_new_lines_are_added_and_the_others_not_read_again(index: EpisodeIndex, file: Path) -> None:
    before = index.progress([file])[str(file)]
    assert not index.update(file).changed
    with TrajectoryWriter(file, append=True) as writer:
        writer.write(EPISODES[0])
    assert index.update(file).changed
    assert lines(index, file) == [1, 2, 3, 4]
    assert index.progress([file])[str(file)] == (before[0] + 1, file.stat().st_size)


def test_a_line_counts_once_it_is_complete(index: EpisodeIndex, file: Path) -> None:
    line = file.read_bytes().splitlines(keepends=True)[0]
    with file.open("ab") as out:
        out.write(line[:100])
        out.flush()
        index.update(file)
        assert lines(index, file) == [1, 2, 3]
        out.write(line[100:])
    index.update(file)
    assert lines(index, file) == [1, 2, 3, 4]
    assert index.episode(file, 4) == EPISODES[0]


def test_a_broken_line_is_shown_as_broken(index: EpisodeIndex, file: Path) -> None:
    with file.open("ab") as out:
        out.write(b'{"task": 1}\n\xff\xfe\n')
        out.write(json.dumps({"deep": "x"}).encode() + b"\n")
        for outcome in ("solved", {"is_solved": None}):
            record = json.loads(file.read_bytes().splitlines()[0])
            record["metadata"]["outcome"] = outcome
            out.write(json.dumps(record).encode() + b"\n")
    index.update(file)
    rows, _ = index.page([file], Filter(ending="broken"))
    assert [row.line for row in rows] == [4, 5, 6, 7, 8]
    assert all(row.problem for row in rows)
    assert index.counts(file) == (3, pytest.approx(1 / 3), 5, 5)
    with pytest.raises(DataError, match="line 4"):
        index.episode(file, 4)


@pytest.mark.parametrize("count", [1, 6])
def test_a_file_that_was_replaced_is_read_again(index: EpisodeIndex, file: Path, count: int) -> None:
    """Also by a longer one in the same place."""
    write_trajectories(file, EPISODES[1:2] * count)
    assert index.update(file).changed
    assert lines(index, file) == [*range(1, count + 1)]
    assert lines(index, file, text="aurora") == []
    assert index.episode(file, 1) == EPISODES[1]


def test_episodes_of_a_removed_file_are_forgotten(index: EpisodeIndex, file: Path) -> None:
    file.unlink()
    index.forget_missing()
    assert lines(index, file) == []


def test_two_processes_may_share_an_index(index: EpisodeIndex, file: Path, tmp_path: Path) -> None:
    other = EpisodeIndex(tmp_path / "cache" / "view.sqlite")
    assert not other.update(file).changed
    assert lines(other, file) == [1, 2, 3]


def test_lone_surrogates_are_indexed(index: EpisodeIndex, tmp_path: Path) -> None:
    odd: Trajectory = trajectory(malformed("\ud800 odd"), of=task("\udc00", task_id="s"))
    path = tmp_path / "odd.jsonl"
    write_trajectories(path, [odd])
    index.update(path)
    assert lines(index, path, text="odd") == [1]
    assert index.episode(path, 1) == odd


def test_neighbours(index: EpisodeIndex, file: Path) -> None:
    assert index.neighbours(file, 2) == {"previous": 1, "next": 3}
    assert index.neighbours(file, 1) == {"next": 2}


def test_an_index_of_another_form_is_built_again(file: Path, tmp_path: Path) -> None:
    place = tmp_path / "cache" / "view.sqlite"
    with closing(sqlite3.connect(place)) as database:
        database.execute("PRAGMA user_version=99")
        database.execute("ALTER TABLE files DROP COLUMN tail")
    index = EpisodeIndex(place)
    index.update(file)
    assert lines(index, file) == [1, 2, 3]


def test_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    text, other = tmp_path / "text", tmp_path / "other.sqlite"
    text.write_text("no database at all, but long enough to be one" * 10)
    with closing(sqlite3.connect(other)) as database:
        database.execute("CREATE TABLE files (name)")
        database.execute("INSERT INTO files VALUES ('kept')")
        database.commit()
    for place in (text, other):
        with pytest.raises(ConfigurationError, match="--index"):
            EpisodeIndex(place)
    with closing(sqlite3.connect(other)) as database:
        assert database.execute("SELECT name FROM files").fetchall() == [("kept",)]


def test_a_line_that_would_fill_the_memory_is_broken(
    index: EpisodeIndex, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.view.index_tables._LONGEST", 100_000)
    monkeypatch.setattr("agents.view.index_tables._BATCH", 300_000)
    last = file.read_bytes().splitlines()[-1]
    with file.open("ab") as out:
        out.write(b'{"task": "' + 250_000 * b"x" + b'"}\n' + last + b"\n" + 200_000 * b"y")
    while index.update(file).more:
        pass
    rows, _ = index.page([file], Filter())
    assert [row.line for row in rows if row.problem] == [4]
    assert lines(index, file) == [1, 2, 3, 4, 5]
    with file.open("ab") as out:
        out.write(b"\n")
    index.update(file)
    assert lines(index, file) == [1, 2, 3, 4, 5, 6]

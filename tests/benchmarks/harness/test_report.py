"""Results say where they come from, read the same in both files, and measure what they claim."""

import json
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from benchmarks.harness.report import Result, Row, markdown, origin, publish, shown
from benchmarks.harness.timing import Lap, Pace, growth, race


def result() -> Result:
    rows: list[Row] = [
        {"who": "ours | theirs", "steps/s": 12345, "x": 1.25},
        {"who": "nobody", "steps/s": 1, "x": None},
    ]
    return Result("sample", "A sample", {"Rates": rows}, ["one note"])


def test_a_result_says_where_and_how_it_was_measured(tmp_path: Path) -> None:
    publish(result(), origin(["pytest"]), tmp_path)
    written = json.loads((tmp_path / "sample.json").read_text())
    assert written["machine"]["cores"] >= 1
    assert {"python", "gymnasium", "pytest"} <= set(written["versions"])
    assert written["command"].startswith("python ")
    assert written["commit"]
    assert written["tables"]["Rates"][0]["steps/s"] == 12345


def test_the_page_is_the_json_in_words(tmp_path: Path) -> None:
    publish(result(), origin(["pytest"]), tmp_path)
    page = (tmp_path / "sample.md").read_text()
    assert page == markdown(json.loads((tmp_path / "sample.json").read_text()))
    assert "| ours \\| theirs | 12,345 | 1.25 |" in page
    assert "| nobody | 1 | – |" in page
    assert "- one note" in page


def test_figures_are_files_beside_the_page(tmp_path: Path) -> None:
    publish(replace(result(), figures={"One": "<svg>1</svg>", "Two": "<svg>2</svg>"}), origin(), tmp_path)
    page = (tmp_path / "sample.md").read_text()
    assert page == markdown(json.loads((tmp_path / "sample.json").read_text()))
    assert "![Two](sample-2.svg)" in page
    assert (tmp_path / "sample-2.svg").read_text() == "<svg>2</svg>"


def test_nothing_is_written_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    publish(result(), origin(), None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("value", "text"), [(0.12345, "0.123"), (1234.5, "1,234"), (0.0, "0"), ("text", "text")])
def test_numbers_are_shown_with_three_digits(value: str | float, text: str) -> None:
    assert shown(value) == text


def test_contestants_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []
    turns = count()

    def run(name: str) -> Lap:
        order.append(name)
        return Lap(10, 100.0 if next(turns) < 2 else 2.0)

    laps = race({name: partial(run, name) for name in "ab"}, rounds=3)
    paces = {name: Pace.of(own) for name, own in laps.items()}
    assert order == ["a", "b"] * 4
    assert paces["a"].rate == paces["a"].slowest == 5.0
    assert paces["b"].microseconds == pytest.approx(200_000)


@pytest.mark.parametrize("exponent", [-0.5, 0.0, 1.0, 1.7])
def test_growth_finds_the_exponent_of_a_power(exponent: float) -> None:
    sizes = [1.0, 3.0, 10.0, 300.0]
    assert growth(sizes, [7 * size**exponent for size in sizes]) == pytest.approx(exponent, abs=1e-9)

"""Measured figures in README and docs/: their section names a result file, and the file holds them."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (
    "README.md",
    *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md") if page.name != "toolworld-tasks.md"),
)
"""Pages but the one that shows tasks, whose numbers are of the world."""

SETTINGS = {
    "README.md": {"95 %"},  # of the intervals of the demonstration
    "docs/algorithms.md": {"10 %", "0.4 %"},  # a target network's step; the precision of bfloat16
    "docs/learning.md": {"95 %"},  # of the test of hypotheses
    "docs/evaluation.md": {"95 %"},  # of the intervals of metrics
    "docs/toolworld.md": {
        *("52 %", "39.5 %", "39 %", "2.9 %", "1.9 %", "1.4 %"),  # counted by test_giving_up.py
        *("0.2 %", "0.5 %", "1 %"),  # tolerances of the verifier
        *("2 %", "5 %", "10 %", "20 %"),  # rates of unsolvable tasks and of faults
        *("0.1", "0.2"),
        "1.2 x",  # 1.2 x 10^6
    },
    "docs/plug-in-your-agent.md": {"99 %", "64"},  # counted by tests/steptool_env/test_discrete.py; slots
    "docs/data.md": {"10 %", "147 us", "22 us"},  # a setting of the sample; Redis and the disk without a result file
    "docs/decisions.md": {"2 us", "78 %"},  # of the day of the decision
}
"""Numbers with a unit that stand in no result file, by page."""
TARGET_COLUMNS = frozenset({"aimed at", "what limits it"})

_UNITS = r"x|%|us|ms|(?:steps|tokens|calls|tasks|requests|episodes)/s"
FIGURE = re.compile(rf"(?<![\w.])\d+(?:,\d{{3}})*(?:\.\d+)?\s?(?:{_UNITS})(?!\w)")
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?![\w-])")
_LETTERS = " /%abcdefghijklmnopqrstuvwxyz"
RESULT = re.compile(r"benchmarks/results/(\w+?)(?:-\d+)?\.(?:md|json|svg)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


class Location(NamedTuple):
    """A section or a table row, the results that it names, and the numbers in it as printed."""

    name: str
    results: frozenset[str]
    printed: tuple[str, ...]


@cache
def measured(result: str) -> tuple[float, ...]:
    """All numbers in a result file, those inside its strings included."""
    found: list[float] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            list(map(walk, value.values()))
        elif isinstance(value, list):
            list(map(walk, value))
        elif isinstance(value, str):
            found.extend(number(each) for each in NUMBER.findall(value))
        elif isinstance(value, int | float):
            found.append(float(value))

    content = json.loads((RESULTS / f"{result}.json").read_text())
    walk([content["tables"], content.get("notes", [])])
    return tuple(found)


def number(printed: str) -> float:
    return float(printed.rstrip(_LETTERS).replace(",", ""))


def rounding(printed: str) -> float:
    """Half a unit of the last digit that counts: 0.05 of `1.5`, 500 of `274,000`."""
    whole, _, decimals = printed.rstrip(_LETTERS).lstrip("-").replace(",", "").partition(".")
    zeros = 0 if decimals else len(whole) - len(whole.rstrip("0"))
    return 0.5001 * 10.0 ** (zeros - len(decimals))


def is_measured(printed: str, results: frozenset[str]) -> bool:
    """True where a result holds the number, as it is or as a fraction of 100, within its rounding."""
    value, slack = number(printed), rounding(printed)
    return any(
        min(abs(each - value), abs(100 * each - value)) <= slack for result in results for each in measured(result)
    )


def sections(page: str) -> Iterator[tuple[str, str]]:
    """Heading and text of every section, without code."""
    for text in re.split(r"^(?=#+ )", FENCE.sub("", (ROOT / page).read_text()), flags=re.MULTILINE):
        yield text.partition("\n")[0].strip("# "), text


def places(page: str) -> Iterator[Location]:
    """Sections and table rows with figures."""
    for heading, text in sections(page):
        section = frozenset(RESULT.findall(text))
        header: list[str] = []
        prose = []
        for line in text.splitlines():
            if not line.startswith("|"):
                header = []
                prose.append(line)
                continue
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if not header:
                header = cells
                continue
            of_row = frozenset(RESULT.findall(line)) or section
            checked = [cell for name, cell in zip(header[1:], cells[1:], strict=True) if name not in TARGET_COLUMNS]
            numbers = NUMBER if of_row else FIGURE
            printed = tuple(match[0] for cell in checked for match in numbers.finditer(RESULT.sub("", cell)))
            if printed:
                yield Location(f"{page}, {heading}: {line[:60]}", of_row, printed)
        figures = tuple(match[0] for match in FIGURE.finditer("\n".join(prose)))
        if figures:
            yield Location(f"{page}, {heading}", section, figures)


@pytest.mark.parametrize("page", PAGES)
def test_figures_come_from_the_result_files_that_the_page_names(page: str) -> None:
    settings = SETTINGS.get(page, set())
    seen: set[str] = set()
    wrong = []
    for place in places(page):
        seen |= settings & set(place.printed)
        figures = [each for each in place.printed if each not in settings]
        if figures and not place.results:
            wrong.append(f"{place.name}: {figures} and no result file")
            continue
        missing = [each for each in figures if not is_measured(each, place.results)]
        if missing:
            wrong.append(f"{place.name}: {missing} not in {', '.join(sorted(place.results))}")
    assert not wrong, "\n".join(wrong)
    assert seen == settings, "SETTINGS lists figures that the page no longer has"


@pytest.mark.parametrize("page", PAGES)
def test_named_result_files_exist(page: str) -> None:
    named = set(RESULT.findall((ROOT / page).read_text()))
    assert not {each for each in named if not (RESULTS / f"{each}.json").is_file()}


def test_the_page_on_reliability_has_the_table_of_the_campaign_whose_goals_are_met() -> None:
    rows = json.loads((RESULTS / "chaos.json").read_text())["tables"]["scenarios"]
    assert rows
    for goal in ("lost", "wrong", "5xx", "exceptions"):
        assert not {row["scenario"]: row[goal] for row in rows if row[goal]}
    tables = [line for line in (RESULTS / "chaos.md").read_text().splitlines() if line.startswith("|")]
    page = (ROOT / "docs" / "reliability.md").read_text()
    assert "\n".join(tables[: len(rows) + 2]) in page


@pytest.mark.parametrize(
    ("printed", "is_there"),
    [("126", True), ("130", True), ("125", False), ("16.6", True), ("16.7", False), ("8,700", True), ("8,800", False)],
)
def test_a_number_is_found_within_its_rounding(
    printed: str, is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {"tables": {"steps": [{"us/step": 125.7, "steps/s": 8736}]}, "notes": ["missed (16.6 x)"]}
    (tmp_path / "made_up.json").write_text(json.dumps(content))
    monkeypatch.setitem(globals(), "RESULTS", tmp_path)
    measured.cache_clear()
    assert is_measured(printed, frozenset({"made_up"})) == is_there
    measured.cache_clear()

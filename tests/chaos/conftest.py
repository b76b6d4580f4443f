"""Fixture, table and result file of the campaign of faults; see docs/reliability.md."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.report import Result, changed_files, origin, publish
from tests.agents.conftest import start  # noqa: F401  a fixture
from tests.chaos.campaign import Campaign, rows

_STARTED = pytest.StashKey[dict[str, Any]]()
_COLUMNS = ("scenario", "trials", "lost", "wrong", "5xx", "exceptions", "memory, MiB")


@pytest.fixture
def campaign(request: pytest.FixtureRequest) -> Campaign:
    return Campaign(request.node)


def pytest_configure(config: pytest.Config) -> None:
    out = config.getoption("--chaos-out")
    if out is not None and (changed := changed_files(out)):
        raise pytest.UsageError(
            f"--chaos-out {out}: the source tree differs from its commit ({', '.join(changed[:5])}), so the result "
            "would name the wrong commit; commit or stash the changes"
        )
    config.stash[_STARTED] = origin()


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> Iterator[None]:
    found = rows([each for name in ("passed", "failed") for each in terminalreporter.stats.get(name, [])])
    found.sort(key=lambda row: row["scenario"])
    if found:
        out: Path | None = config.getoption("--chaos-out")
        publish(result(found, skipped(terminalreporter), config), config.stash[_STARTED], out)
    return (yield)


def result(found: list[dict[str, Any]], missing: list[str], config: pytest.Config) -> Result:
    """The table of all scenarios, and one of the figures that only some of them have."""
    seed, budget = config.getoption("--chaos-seed"), config.getoption("--chaos-budget")
    further = [
        {"scenario": row["scenario"], "figure": name, "value": value}
        for row in found
        for name, value in row.items()
        if name not in _COLUMNS
    ]
    tables = {"scenarios": [{name: row[name] for name in _COLUMNS} for row in found]}
    if further:
        tables["further figures"] = further
    notes = [f"Seed {seed}, budget {budget:g}; the goal of every column but trials and memory is 0."]
    return Result("chaos", "Campaign of faults", tables, [*notes, *missing])


def skipped(terminalreporter: Any) -> list[str]:
    reports = terminalreporter.stats.get("skipped", [])
    return [f"Skipped: {each.nodeid.partition('::')[2]}: {each.longrepr[-1]}" for each in reports]

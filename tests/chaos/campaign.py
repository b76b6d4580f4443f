"""Counts of a campaign of faults: scenarios with their trials, what was lost or wrong, and memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import psutil
import pytest

PROPERTY = "chaos"
"""Name of the property of a test's report that holds a scenario's row."""
MIB = 2**20
_SHOWN = 12  # failures of a scenario in its error


@dataclass
class Scenario:
    """Counts of one scenario. The goal for all but `trials` and `memory` is 0.

    Attributes:
        name: Description in the table.
        trials: Number of requests, actions, kills or files, as the name says.
        lost: Answers, recordings or episodes that were confirmed or expected, and are gone.
        wrong: Answers, scores or contents that differ from those without the fault.
        errors_5xx: HTTP answers with a status of 5xx that no part of the scenario calls for.
        exceptions: Errors that are not of this project's documented classes, and tracebacks of its commands.
        memory: Highest resident memory of the processes under test, in MiB; `None` if it was not sampled.
        extra: Further figures, for the table of this scenario alone.
    """

    name: str
    trials: int = 0
    lost: int = 0
    wrong: int = 0
    errors_5xx: int = 0
    exceptions: int = 0
    memory: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def fail(self, kind: str, detail: object) -> None:
        """Count a failure: `lost`, `wrong`, `errors_5xx` or `exceptions`."""
        setattr(self, kind, getattr(self, kind) + 1)
        if len(self.failures) < _SHOWN:
            self.failures.append(f"{kind}: {detail!s:.600}")

    def expect(self, holds: bool, kind: str, detail: object) -> None:
        """Count a failure unless `holds`."""
        if not holds:
            self.fail(kind, detail)

    def answered(self, status: int, detail: object = "") -> None:
        """Count an HTTP answer with an error of the server."""
        self.expect(status < 500, "errors_5xx", f"HTTP {status} {detail}")

    def ended(self, errors: str) -> None:
        """Count a traceback in the error output of a command."""
        self.expect("Traceback" not in errors, "exceptions", errors[-600:])

    def sample(self, pid: int) -> float:
        """Sample the resident memory of a process and its children, in MiB."""
        found = resident(pid)
        self.memory = max(self.memory or 0.0, found)
        return found

    def row(self) -> Mapping[str, Any]:
        """Return the row of the table."""
        return {
            "scenario": self.name,
            "trials": self.trials,
            "lost": self.lost,
            "wrong": self.wrong,
            "5xx": self.errors_5xx,
            "exceptions": self.exceptions,
            "memory, MiB": None if self.memory is None else round(self.memory),
        }


def resident(pid: int) -> float:
    """Resident memory of a process and its children, in MiB; 0 if it has ended."""
    total = 0.0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += each.memory_info().rss / MIB
    return total


class Campaign:
    """Seed and size of a test's scenario.

    Args:
        item: The running test.

    Attributes:
        seed: Seed of the campaign.
        rng: Random numbers of this test: those of another test do not depend on them.
    """

    def __init__(self, item: pytest.Item) -> None:
        self._item = item
        self.seed: int = item.config.getoption("--chaos-seed")
        self._budget: float = item.config.getoption("--chaos-budget")
        self.rng = Random(f"{self.seed} {item.name}")

    def count(self, full: int, least: int = 1) -> int:
        """Return the number of trials: `full` with the whole budget."""
        return max(least, round(full * self._budget))

    @contextmanager
    def scenario(self, name: str) -> Iterator[Scenario]:
        """Count a scenario in the context, add its row to the table, and fail if a goal is missed."""
        scenario = Scenario(name)
        try:
            yield scenario
        except Exception as error:
            scenario.fail("exceptions", f"{type(error).__name__}: {error}")
            error.add_note(f"seed {self.seed}:\n" + "\n".join(scenario.failures))
            raise
        finally:
            self._item.user_properties.append((PROPERTY, {**scenario.row(), **scenario.extra}))
        assert not scenario.failures, f"seed {self.seed}:\n" + "\n".join(scenario.failures)
        assert scenario.trials > 0


def rows(reports: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the rows of the scenarios in the reports of tests, in order."""
    return [value for report in reports for name, value in report.user_properties if name == PROPERTY]

"""Stage: the tests marked `cuda`; on another device the same tests on it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from benchmarks.harness.process import ROOT

if TYPE_CHECKING:
    import pytest

    from benchmarks.gpu.stage import Report
    from benchmarks.harness.report import Row

_TESTS = ROOT / "tests" / "agents" / "test_devices.py"


def measure(report: Report) -> None:
    """Run the tests, one row each. Raises `SystemExit` where one fails."""
    import pytest

    # Warnings of other versions of the libraries are no failures here.
    flags = ["-q", "--tb=short", "-p", "no:cacheprovider", "-o", "filterwarnings=default", str(_TESTS)]
    marked = ["-m", "cuda"] if report.device.startswith("cuda") else []
    status = pytest.main([*flags, *marked], plugins=[_Recorder(report)])
    if status:
        sys.exit(f"pytest ended with status {int(status)}: see the table of tests")


class _Recorder:
    """Plugin of pytest that reports every test."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the outcome of a test's call, or of its set-up where that is skipped or fails."""
        if report.when == "call" or (report.when == "setup" and not report.passed):
            reason = ""
            if report.failed:
                reason = (report.longreprtext.strip() or "no message").splitlines()[-1]
            elif isinstance(report.longrepr, tuple):
                reason = str(report.longrepr[2])
            name = report.nodeid.partition("::")[2]
            row: Row = {"test": name, "outcome": report.outcome, "seconds": report.duration, "reason": reason}
            self._report.add("Tests", row)
